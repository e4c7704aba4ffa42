import { X509Certificate } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createCsr, identityOfCertificate, readCsr } from '@rap/pki'
import t from 'tap'
import { open, place, refusedOpen, TestClock, TestControlPlane, tokenFile } from './control-plane.ts'

const ID = '0b5c2f8e-7a51-4c58-9c11-2f2f5b0c1d3e'

t.test('a service enrols with a join token: the key is made here, stays here, and nobody else may read it', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const token = controlPlane.joinToken('worker', ID)
  const { identity, dir, log, metrics } = await open(t, controlPlane, { token })
  t.equal(identity.id, ID, 'the id comes from the certificate')
  t.equal(identity.status(), 'ok')
  t.match(identity, { kind: 'worker', certFile: join(dir, 'identity.pem'), keyFile: join(dir, 'identity.pem') })
  t.same(readdirSync(dir).sort(), ['identity.pem', 'trust-bundle.json', 'trust-bundle.pem'])
  t.equal(statSync(dir).mode & 0o777, 0o700)
  for (const file of readdirSync(dir)) t.equal(statSync(join(dir, file)).mode & 0o777, 0o600, file)

  const pem = readFileSync(identity.certFile, 'utf8')
  t.match(pem, /^-----BEGIN PRIVATE KEY-----/, 'the key comes first')
  t.equal(pem, `${identity.material.key}${identity.material.cert}`)
  t.equal(identityOfCertificate(new X509Certificate(identity.material.cert)), `spiffe://rap.test/worker/${ID}`)
  t.equal(readFileSync(identity.caFile, 'utf8'), identity.material.ca)
  const sent = JSON.stringify(controlPlane.received)
  t.notMatch(sent, /PRIVATE KEY/)
  t.notOk(log.text().includes(token), 'the token is in no log line')
  t.match(await metrics.registry.metrics(), /rap_identity_not_after_seconds\{.*\} \d{10}/)
})

t.test('what is stored is used at the next start, without the control plane and without the token', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const { identity, dir } = await open(t, controlPlane, { token: controlPlane.joinToken('worker', ID) })
  identity.close()
  await controlPlane.stop()
  const again = await open(t, controlPlane, { dir, token: 'no token at all' })
  t.same(again.identity.material, identity.material)
  t.equal(again.identity.status(), 'ok')
})

t.test('an answer that was lost is asked for again with the same key', async t => {
  const controlPlane = await TestControlPlane.start(t)
  controlPlane.losesAnswer = true
  const { identity } = await open(t, controlPlane, { token: controlPlane.joinToken('worker', ID) })
  t.equal(identity.status(), 'ok')
  const requests = controlPlane.paths('/v1/enroll') as { body: { csr: string } }[]
  t.equal(requests.length, 2)
  t.equal(requests[0]?.body.csr, requests[1]?.body.csr)
})

t.test('a process that ended before the answer came asks again with the key that is on the disk', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const token = controlPlane.joinToken('worker', ID)
  const dir = join(place(t), 'identity')
  controlPlane.issue = { id: 'somebody-else' }
  await refusedOpen(t, controlPlane, { dir, token, id: ID })
  t.ok(readdirSync(dir).includes('identity.next.pem'))
  controlPlane.issue = {}
  const { identity } = await open(t, controlPlane, { dir, token })
  t.equal(identity.id, ID)
  t.notOk(readdirSync(dir).includes('identity.next.pem'))
})

t.test('a control plane that is away is waited for', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const token = controlPlane.joinToken('worker', ID)
  await controlPlane.stop()
  const opening = open(t, controlPlane, { token })
  await new Promise(resolve => setTimeout(resolve, 100))
  await controlPlane.listen()
  t.equal((await opening).identity.status(), 'ok')
})

t.test('the wait for the control plane ends when the process is told to stop', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const token = controlPlane.joinToken('worker', ID)
  await controlPlane.stop()
  const { openPlatformIdentity } = await import('../../src/index.ts')
  const { silentLogger } = await import('../helper.ts')
  const dir = join(place(t), 'identity')
  writeFileSync(tokenFile(dir), token)
  const stop = new AbortController()
  const opening = openPlatformIdentity({
    config: {
      RAP_TRUST_DOMAIN: 'rap.test',
      RAP_IDENTITY_DIR: dir,
      RAP_JOIN_TOKEN_FILE: tokenFile(dir),
      CONTROL_PLANE_URL: controlPlane.url,
      CONTROL_PLANE_INTERNAL_URL: controlPlane.internalUrl,
      RAP_IDENTITY_POLL_SECONDS: 60,
    },
    kind: 'worker',
    logger: silentLogger,
    signal: stop.signal,
  })
  setTimeout(() => stop.abort(), 50)
  await t.rejects(opening, { name: 'AbortError' })
})

t.test('a control plane with another trust bundle than the token names is never shown the token', async t => {
  const [ours, impostor] = [await TestControlPlane.start(t), await TestControlPlane.start(t)]
  const token = ours.joinToken('worker', ID)
  const error = await refusedOpen(t, impostor, { token })
  t.match(error, { code: 'ERR_IDENTITY_TRUST_BUNDLE', isLasting: true })
  t.same(impostor.paths('/v1/enroll'), [])
})

t.test('whoever repeats the public trust bundle, and has no certificate below it, is not shown the token', async t => {
  const [ours, impostor] = [await TestControlPlane.start(t), await TestControlPlane.start(t)]
  const token = ours.joinToken('worker', ID)
  impostor.bundles.splice(0, 1, ours.newest)
  let attempts = 0
  const stop = new Error('enough')
  const times = {
    random: () => {
      attempts += 1
      if (attempts > 3) throw stop
      return 0
    },
  }
  await t.rejects(open(t, impostor, { token, times }), stop)
  t.same(impostor.paths('/v1/enroll'), [])
})

t.test('a token that is older than a rotation leads to the newest bundle, step by step', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const token = controlPlane.joinToken('service', 'gateway')
  await controlPlane.stage()
  await controlPlane.activate()
  await controlPlane.retire()
  const { identity, dir } = await open(t, controlPlane, { token, kind: 'service', id: 'gateway' })
  t.equal(identity.material.ca, controlPlane.newest.pem)
  t.equal(controlPlane.bundles.length, 3)
  t.match(JSON.parse(readFileSync(join(dir, 'trust-bundle.json'), 'utf8')), controlPlane.newest.signed)
})

t.test('without a usable token there is a clear end, which names file and remedy', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const dir = join(place(t), 'identity')
  t.match(await refusedOpen(t, controlPlane, { dir }), {
    code: 'ERR_IDENTITY_ENDED',
    isLasting: true,
    message: /identity\.pem is not there yet: put a new join token into RAP_JOIN_TOKEN_FILE/,
  })
  const secret = 'rapjoin.not-a-token-but-secret'
  const malformed = await refusedOpen(t, controlPlane, { dir, token: secret })
  t.match(malformed, { code: 'ERR_IDENTITY_JOIN_TOKEN', isLasting: true })
  t.notOk(`${malformed.message}${JSON.stringify(malformed.facts)}`.includes('secret'))
  const foreign = controlPlane.joinToken('worker', ID).replace(/^(rapjoin\.).{8}/, '$1ffffffff')
  const refused = await refusedOpen(t, controlPlane, { dir, token: foreign })
  t.match(refused, { code: 'ERR_IDENTITY_ENROLMENT_REFUSED', isLasting: true, message: /new join token/ })
})

t.test('a clock that is more than five minutes off is named with both times, and no token is shown', async t => {
  for (const minutes of [-6, 6]) {
    const controlPlane = await TestControlPlane.start(t)
    controlPlane.dateOffsetMs = minutes * 60_000
    const error = await refusedOpen(t, controlPlane, { token: controlPlane.joinToken('worker', ID) })
    t.match(error, { code: 'ERR_IDENTITY_CLOCK', isLasting: false })
    t.match(error.message, /this machine says 20\d\d-.*Z, and that of the control plane 20\d\d-.*Z/)
    t.same(controlPlane.paths('/v1/enroll'), [])
  }
  const controlPlane = await TestControlPlane.start(t)
  controlPlane.dateOffsetMs = 4 * 60_000
  t.ok(await open(t, controlPlane, { token: controlPlane.joinToken('worker', ID) }), 'less is no harm')
})

t.test('the first certificate is looked through as later ones are', async t => {
  const other = await TestControlPlane.start(t)
  const somebodysKey = (await createCsr()).csrPem
  t.ok(await readCsr(somebodysKey))
  for (const [title, issue, expected] of [
    ['another key', { csr: somebodysKey }, /the key is not the one of the certificate/],
    ['another id', { id: 'somebody-else' }, /carries the identity/],
    ['another kind', { kind: 'service' }, /carries the identity/],
    ['another trust domain', { trustDomain: 'rap.elsewhere' }, /carries the identity/],
    ['no identity', { uris: [] }, /carries the identity none/],
    ['another CA', { by: other }, /no peer would take/],
    ['no intermediate', { isUnchained: true }, /no peer would take/],
    ['not for clients', { usages: ['server'] }, /no peer would take.*PURPOSE/],
    ['not for servers', { usages: ['client'] }, /no peer would take.*PURPOSE/],
  ] as const) {
    const controlPlane = await TestControlPlane.start(t)
    controlPlane.issue = issue as never
    const token = controlPlane.joinToken('worker', ID)
    const dir = join(place(t), 'identity')
    const error = await refusedOpen(t, controlPlane, { dir, token, id: ID })
    t.match(error, { code: 'ERR_IDENTITY_CERTIFICATE', message: expected }, title)
    t.notOk(readdirSync(dir).includes('identity.pem'), title)
  }
})

t.test('files that are out of order end a start, with their name and the remedy', async t => {
  const controlPlane = await TestControlPlane.start(t)
  const other = await TestControlPlane.start(t)
  const { identity, dir } = await open(t, controlPlane, { token: controlPlane.joinToken('worker', ID) })
  identity.close()
  const stranger = await open(t, other, { token: other.joinToken('worker', ID) })
  stranger.identity.close()
  const { key, cert } = identity.material
  const file = (name: string) => readFileSync(join(dir, name), 'utf8')
  const [pem, bundle] = [file('identity.pem'), file('trust-bundle.json')]
  const { keyPem } = await createCsr()
  for (const [title, name, content] of [
    ['empty', 'identity.pem', ''],
    ['truncated in the key', 'identity.pem', pem.slice(0, 100)],
    ['truncated after the key', 'identity.pem', String(key)],
    ['truncated in the certificate', 'identity.pem', pem.slice(0, String(key).length + 300)],
    ['the key of another certificate', 'identity.pem', `${keyPem}${cert}`],
    ['a flipped byte in the key', 'identity.pem', pem.replace(/(?<=KEY-----\n.{20})./, x => (x === 'A' ? 'B' : 'A'))],
    ['two keys', 'identity.pem', `${key}${keyPem}${cert}`],
    ['zeros, as after a crash of the machine', 'identity.pem', '\0'.repeat(4096)],
    ['too large', 'identity.pem', `${pem}${' '.repeat(1024 * 1024)}`],
    ['no bundle', 'trust-bundle.json', undefined],
    ['a truncated bundle', 'trust-bundle.json', bundle.slice(0, 200)],
    ['a bundle that nobody signed', 'trust-bundle.json', bundle.replace(/"signature":".{8}/, '"signature":"AAAAAAAA')],
  ] as const) {
    const broken = join(dirname(dir), `broken-${title.replaceAll(' ', '-')}`)
    mkdirSync(broken)
    for (const each of ['identity.pem', 'trust-bundle.json']) {
      const text = each === name ? content : file(each)
      if (text !== undefined) writeFileSync(join(broken, each), text)
    }
    const error = await refusedOpen(t, controlPlane, { dir: broken, token: controlPlane.joinToken('worker', ID) })
    t.match(error, { code: 'ERR_IDENTITY_FILE', isLasting: true }, title)
    t.ok(error.message.includes(join(broken, name)), `${title}: ${error.message}`)
    t.notMatch(`${error.message} ${error.cause}`, /PRIVATE KEY|MIG/, 'no key material')
    if (title !== 'too large') t.match(error.message, /new join token|RAP_JOIN_TOKEN_FILE/, title)
  }
  const wrongId = await refusedOpen(t, controlPlane, { dir, id: 'another-worker' })
  t.match(wrongId, { code: 'ERR_IDENTITY_FILE', message: /carries the identity/ })
  writeFileSync(join(dir, 'trust-bundle.json'), readFileSync(join(stranger.dir, 'trust-bundle.json')))
  rmSync(tokenFile(dir))
  t.match(await refusedOpen(t, controlPlane, { dir }), { code: 'ERR_IDENTITY_ENDED', message: /no root of/ })
})

t.test('a certificate that ended while the service was away is replaced with a new token, and only so', async t => {
  const clock = new TestClock()
  const controlPlane = await TestControlPlane.start(t, clock)
  const { identity, dir } = await open(t, controlPlane, { token: controlPlane.joinToken('worker', ID) })
  identity.close()
  clock.pass(25)
  const used = await refusedOpen(t, controlPlane, { dir })
  t.match(used, { code: 'ERR_IDENTITY_ENROLMENT_REFUSED', isLasting: true })
  const again = await open(t, controlPlane, { dir, token: controlPlane.joinToken('worker', ID) })
  t.equal(again.identity.status(), 'ok')
  t.not(again.identity.material.cert, identity.material.cert)
})
