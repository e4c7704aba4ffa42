import { X509Certificate } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createCsr } from '@rap/pki'
import { waitFor } from '@rap/testkit'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { renewalTimes, retryPause } from '../../src/identity/renewal-times.ts'
import { type Opened, type OpenOptions, open, TestControlPlane, tokenFile } from './control-plane.ts'

const ID = '0b5c2f8e-7a51-4c58-9c11-2f2f5b0c1d3e'
const CERTIFICATES = '/internal/v1/identity/certificates'

interface Enrolled extends Opened {
  readonly controlPlane: TestControlPlane
}

async function enrolled(t: Test, options: OpenOptions = {}): Promise<Enrolled> {
  const controlPlane = await TestControlPlane.start(t)
  return { controlPlane, ...(await open(t, controlPlane, { token: controlPlane.joinToken('worker', ID), ...options })) }
}

const serialOf = (cert: string | Buffer): string => new X509Certificate(cert).serialNumber
const renewals = async ({ metrics }: Opened, outcome: string): Promise<number> => {
  const metric = await metrics.registry.getSingleMetric('rap_identity_renewals_total')?.get()
  return metric?.values.find(({ labels }) => labels.outcome === outcome)?.value ?? -1
}

t.test('renewal begins at two thirds of the life, give or take a tenth, and is overdue before the end', async t => {
  const hour = 3_600_000
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 4e12 }),
      fc.integer({ min: hour, max: 720 * hour }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (issuedAt, life, random) => {
        const times = { notBefore: issuedAt - 300_000, notAfter: issuedAt + life }
        const { renewAt, overdueAt } = renewalTimes(times, random)
        const part = (renewAt - issuedAt) / life
        return part > 0.599 && part < 0.734 && renewAt < overdueAt && overdueAt < times.notAfter
      },
    ),
  )
  // A life shorter than the five minutes that certificates begin before their issue.
  const { renewAt, overdueAt } = renewalTimes({ notBefore: 0, notAfter: 1000 }, 1)
  t.ok(renewAt <= 1000 && overdueAt <= 1000)
})

t.test('pauses after failures grow from five seconds to five minutes, up to a fifth shorter', async t => {
  const pause = (failures: number, random: number) => retryPause(failures, 5000, 300_000, random)
  t.same(
    [1, 2, 3, 7, 8, 10_000].map(failures => pause(failures, 0)),
    [5000, 10_000, 20_000, 300_000, 300_000, 300_000],
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), fc.double({ min: 0, max: 1, noNaN: true }), (failures, random) => {
      const ms = pause(failures, random)
      return ms >= 4000 && ms <= 300_000
    }),
  )
})

t.test('a renewal has a fresh key, replaces the file as a whole and is handed to everybody', async t => {
  const { controlPlane, identity, dir, ...rest } = await enrolled(t)
  const before = identity.material
  const seen: unknown[] = []
  const takenLate: unknown[] = []
  let isReluctant = true
  identity.onChange(material => {
    if (isReluctant) throw new Error('not now')
    takenLate.push(material)
  })
  identity.onChange(material => void seen.push(material))
  await identity.check()
  t.same(seen, [], 'nothing is due')

  controlPlane.clock.pass(15)
  await identity.check()
  t.same(controlPlane.paths(CERTIFICATES), [], 'not before its time')
  controlPlane.clock.pass(1.1)
  await identity.check()
  t.equal(controlPlane.paths(CERTIFICATES).length, 1)
  t.same(seen, [identity.material], 'one listener that fails keeps nothing from the others')
  t.not(identity.material.key, before.key)
  t.not(serialOf(identity.material.cert), serialOf(before.cert))
  t.equal(readFileSync(identity.certFile, 'utf8'), `${identity.material.key}${identity.material.cert}`)
  t.same(readdirSync(dir).sort(), ['identity.pem', 'trust-bundle.json', 'trust-bundle.pem'])
  t.equal(identity.status(), 'ok')
  t.equal(await renewals({ identity, dir, ...rest }, 'renewed'), 1)

  await identity.check()
  const polls = controlPlane.received.filter(({ path }) => path === '/internal/v1/identity')
  t.not(polls.at(-1)?.thumbprint, polls[0]?.thumbprint, 'the next call is made with the new certificate')

  t.same([takenLate, seen], [[], [identity.material]])
  isReluctant = false
  await identity.check()
  await identity.check()
  t.same([takenLate, seen], [[identity.material], [identity.material]], 'it is given again to who did not take it')
  const newcomer: unknown[] = []
  identity.onChange(material => void newcomer.push(material))
  t.same(newcomer, [identity.material], 'who comes after the change is told of it')
})

t.test('polls and renewals happen by themselves', async t => {
  const { controlPlane, identity } = await enrolled(t, { env: { RAP_IDENTITY_POLL_SECONDS: 1 } })
  const before = identity.material
  controlPlane.clock.pass(17)
  const keepAlive = setInterval(() => {}, 1000)
  await waitFor(() => identity.material !== before, { what: 'renewal' })
  clearInterval(keepAlive)
  identity.close()
  t.equal(controlPlane.paths(CERTIFICATES).length, 1)
})

t.test('a control plane that is dead for hours costs nothing but a late renewal', async t => {
  const { controlPlane, identity, log, ...rest } = await enrolled(t)
  const { clock } = controlPlane
  const before = identity.material
  await controlPlane.stop()
  clock.pass(17)
  await identity.check()
  t.equal(identity.status(), 'ok', 'a third of the life is left')
  clock.pass(2)
  await identity.check()
  t.match(identity.status(), /^renewal overdue since 20.*Z \(ERR_UPSTREAM_UNAVAILABLE\); certificate ends at 20.*Z$/)
  t.equal(identity.material, before)
  t.equal(await renewals({ identity, log, ...rest }, 'failed'), 2)
  await controlPlane.listen()
  await identity.check()
  t.equal(identity.status(), 'ok')
  t.not(identity.material, before)
})

t.test('tries after a failure are spaced, and a look in between makes none', async t => {
  const { controlPlane, identity } = await enrolled(t, {
    times: { retryMs: 3_600_000, maxRetryMs: 3_600_000 },
    env: { RAP_IDENTITY_POLL_SECONDS: 1 },
  })
  controlPlane.clock.pass(17)
  let calls = 0
  controlPlane.before = path => {
    if (path !== CERTIFICATES) return
    calls += 1
    throw new Error('out of order')
  }
  const polls = () => controlPlane.paths('/internal/v1/identity').length
  await identity.check()
  t.equal(calls, 1)
  const before = polls()
  const keepAlive = setInterval(() => {}, 1000)
  await waitFor(() => polls() >= before + 2, { what: 'two more polls' })
  clearInterval(keepAlive)
  t.equal(calls, 1)
})

t.test('with a certificate that has ended nothing is asked for until a new join token is there', async t => {
  const { controlPlane, identity, dir, log } = await enrolled(t)
  const before = identity.material
  await controlPlane.stop()
  controlPlane.clock.pass(25)
  await identity.check()
  t.match(identity.status(), /^the certificate ended at 20.*Z.*; put a new join token into RAP_JOIN_TOKEN_FILE$/)
  t.equal(log.lines().filter(line => line.event === 'identity_ended').length, 1)
  await controlPlane.listen()
  const enrolments = () => controlPlane.paths('/v1/enroll').length
  await identity.check()
  t.equal(enrolments(), 2, 'the used token is tried once')
  await identity.check()
  await identity.check()
  t.equal(enrolments(), 2)
  t.equal(identity.material, before)

  writeFileSync(tokenFile(dir), controlPlane.joinToken('worker', 'another-worker'))
  await identity.check()
  t.equal(identity.material, before, 'a token of somebody else makes nobody somebody else')

  writeFileSync(tokenFile(dir), controlPlane.joinToken('worker', ID))
  const changed: unknown[] = []
  identity.onChange(material => void changed.push(material))
  await identity.check()
  t.equal(identity.status(), 'ok')
  t.same(changed, [identity.material])
  t.equal(identity.id, ID)
})

t.test('a clock that is put back says what is wrong, and one that is put right is enough', async t => {
  const { controlPlane, identity } = await enrolled(t)
  controlPlane.clock.pass(-2)
  await identity.check()
  t.match(identity.status(), /certificate begins at .* is the clock of this machine right/)
  controlPlane.clock.pass(2)
  t.equal(identity.status(), 'ok')
  controlPlane.clock.pass(48)
  t.match(identity.status(), /ended/)
  controlPlane.clock.pass(-48)
  await identity.check()
  t.equal(identity.status(), 'ok')
})

t.test('no answer of the control plane is believed blindly', async t => {
  const other = await TestControlPlane.start(t)
  const { csrPem: foreign } = await createCsr()
  const all = await enrolled(t)
  const { controlPlane, identity, dir } = all
  const before = identity.material
  controlPlane.clock.pass(17)
  let failures = 0
  for (const [title, issue, expected] of [
    ['another key', { csr: foreign }, /the key is not the one of the certificate/],
    ['another id', { id: 'another' }, /carries the identity/],
    ['another kind', { kind: 'service' }, /carries the identity/],
    ['another trust domain', { trustDomain: 'rap.elsewhere' }, /carries the identity/],
    [
      'two identities',
      { uris: [`spiffe://rap.test/worker/${ID}`, 'spiffe://rap.test/service/gateway'] },
      /identity none/,
    ],
    ['another CA', { by: other }, /no peer would take/],
    ['no intermediate', { isUnchained: true }, /no peer would take/],
    ['not for clients', { usages: ['server'] }, /no peer would take/],
    ['a life of months', { hours: 24 * 40 }, /lives too long/],
    ['ended already', { hours: -1 }, /of no use now/],
  ] as const) {
    controlPlane.issue = issue as never
    await identity.check()
    failures += 1
    t.equal(identity.material, before, title)
    const line = all.log.lines().findLast(({ event }) => event === 'identity_not_renewed')
    t.match((line?.err as { message: string } | undefined)?.message, expected, title)
    t.equal(await renewals(all, 'failed'), failures, title)
    t.equal(readFileSync(identity.certFile, 'utf8'), `${before.key}${before.cert}`, title)
  }
  t.ok(readdirSync(dir).includes('identity.next.pem'))
  controlPlane.issue = {}
  controlPlane.before = path => {
    if (path !== CERTIFICATES) return
    controlPlane.before = () => {}
  }
  await identity.check()
  t.equal(identity.status(), 'ok')
  t.not(identity.material, before)
})

t.test('files that break while the service runs harm nothing, and the next renewal writes them anew', async t => {
  const { controlPlane, identity, dir } = await enrolled(t)
  for (const name of readdirSync(dir)) writeFileSync(join(dir, name), 'broken')
  writeFileSync(join(dir, 'identity.next.pem'), 'broken too')
  await identity.check()
  t.equal(identity.status(), 'ok')
  await controlPlane.stage()
  controlPlane.clock.pass(17)
  await identity.check()
  identity.close()
  await controlPlane.stop()
  const again = await open(t, controlPlane, { dir })
  t.same(again.identity.material, identity.material)
})

t.test('a certificate that the disk does not take is used all the same, and stored later', async t => {
  const { controlPlane, identity, dir } = await enrolled(t)
  const before = identity.material
  const file = join(dir, 'identity.pem')
  controlPlane.before = path => {
    if (path !== CERTIFICATES) return
    renameSync(file, join(dir, 'aside'))
    mkdirSync(file)
    writeFileSync(join(file, 'in-the-way'), '')
  }
  controlPlane.clock.pass(17)
  await identity.check()
  t.not(identity.material, before)
  t.equal(identity.status(), 'not stored in RAP_IDENTITY_DIR: identity')
  rmSync(join(file, 'in-the-way'))
  rmdirSync(file)
  await identity.check()
  t.equal(identity.status(), 'ok')
  t.equal(readFileSync(file, 'utf8'), `${identity.material.key}${identity.material.cert}`)
})

t.test('who is told to renew does so at once, and once', async t => {
  const { controlPlane, identity } = await enrolled(t)
  const before = identity.material
  await controlPlane.stage()
  await identity.check()
  t.equal(identity.material.cert, before.cert)
  t.equal(identity.material.ca, controlPlane.newest.pem, 'both roots, from now on')
  await controlPlane.activate()
  await identity.check()
  t.not(identity.material.cert, before.cert)
  await identity.check()
  await identity.check()
  t.equal(controlPlane.paths(CERTIFICATES).length, 1)
  await controlPlane.retire()
  await identity.check()
  t.equal(identity.material.ca, controlPlane.newest.pem)
  t.equal(controlPlane.bundles.length, 3)
  t.equal(identity.status(), 'ok')
})

t.test('those who are told to renew together spread over the seconds after', async t => {
  const { controlPlane, identity } = await enrolled(t, { times: { renewNowSpreadMs: 3_600_000 } })
  await controlPlane.stage()
  await controlPlane.activate()
  await identity.check()
  await identity.check()
  t.same(controlPlane.paths(CERTIFICATES), [])
})

t.test('a trust bundle that does not follow from the held one is not taken', async t => {
  const [{ controlPlane, identity, dir }, other] = [await enrolled(t), await TestControlPlane.start(t)]
  await other.stage()
  const before = readFileSync(join(dir, 'trust-bundle.json'), 'utf8')
  controlPlane.bundles.push(other.newest)
  await identity.check()
  controlPlane.bundles.pop()
  t.equal(readFileSync(join(dir, 'trust-bundle.json'), 'utf8'), before)
  t.equal(identity.material.ca, controlPlane.newest.pem)
  t.equal(identity.status(), 'ok')
})

t.test(
  'a service that sleeps through the steps of two rotations finds back while one of its roots is published',
  async t => {
    const { controlPlane, identity, dir } = await enrolled(t)
    identity.close()
    await controlPlane.stage()
    await controlPlane.activate()
    const { identity: again } = await open(t, controlPlane, { dir })
    t.equal(controlPlane.paths(CERTIFICATES).length, 1)
    again.close()
    await controlPlane.retire()
    await controlPlane.stage()
    await controlPlane.activate()
    const late = await open(t, controlPlane, { dir })
    await late.identity.check()
    t.equal(late.identity.material.ca, controlPlane.newest.pem)
    t.equal(late.identity.status(), 'ok')
  },
)

t.test('a root that is retired before its time leaves a clear word, and a join token helps', async t => {
  const { controlPlane, identity, dir } = await enrolled(t)
  await controlPlane.stage()
  await identity.check()
  controlPlane.before = path => {
    if (path === CERTIFICATES) throw new Error('not now')
  }
  await controlPlane.activate()
  await identity.check()
  await controlPlane.retire()
  for (let look = 0; look < 3; look++) await identity.check()
  t.match(identity.status(), /^no root of test-ca:v3 stands above the certificate; put a new join token/)
  writeFileSync(tokenFile(dir), controlPlane.joinToken('worker', ID))
  await identity.check()
  t.equal(identity.status(), 'ok')
})

t.test('a revoked identity is told to whoever listens, stays revoked, and asks for nothing more', async t => {
  for (const isRenewing of [false, true]) {
    const { controlPlane, identity } = await enrolled(t)
    let told = 0
    identity.onRevoked(() => {
      throw new Error('a listener that fails')
    })
    identity.onRevoked(() => {
      told += 1
    })
    if (isRenewing) {
      controlPlane.clock.pass(17)
      controlPlane.before = path => void (path === CERTIFICATES && controlPlane.revoked.add(ID))
    } else controlPlane.revoked.add(ID)
    await identity.check()
    t.match(identity.status(), /^revoked by the control plane/)
    t.equal(identity.isRevoked, true)
    const requests = controlPlane.received.length
    controlPlane.revoked.clear()
    await identity.check()
    t.equal(controlPlane.received.length, requests)
    identity.onRevoked(() => {
      told += 1
    })
    t.equal(told, 2)
  }
})

t.test('a stranger who answers 403 without being the control plane revokes nobody', async t => {
  const { controlPlane, identity, log } = await enrolled(t)
  const impostor = await TestControlPlane.start(t)
  impostor.revoked.add(ID)
  await controlPlane.stop()
  await impostor.takePlaceOf(controlPlane)
  await identity.check()
  t.equal(identity.isRevoked, false)
  t.equal(identity.status(), 'ok')
  t.match(log.text(), /SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT|UNABLE_TO_VERIFY/)
})
