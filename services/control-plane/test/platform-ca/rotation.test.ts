import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { createAuthority } from '@rap/pki'
import type { ProblemError } from '@rap/service-kit'
import { firstTrustBundle, followTrustBundles } from '@rap/trust-bundle'
import t from 'tap'
import { auditSystem } from '../../src/audit/write.ts'
import type { PlatformCa } from '../../src/platform-ca/platform-ca.ts'
import {
  activateGeneration,
  foundPlatformCa,
  importPlatformCa,
  renewIntermediate,
  retireGeneration,
  rollBackGeneration,
  stageGeneration,
} from '../../src/platform-ca/rotation.ts'
import { listAuthorities, listBundles, newestBundle } from '../../src/platform-ca/store.ts'
import { type Stand, startStand } from '../helper.ts'
import { enrolWorker } from './enrolled.ts'

const stand = await startStand(t)

const stepsOf = (ca: PlatformCa) => ca.steps(auditSystem)
const states = async (at: Stand) => (await listAuthorities(at.sql)).map(row => `${row.generation} ${row.state}`)
/** What a client that began with v1 holds in the end. */
async function followed(at: Stand) {
  const bundles = (await listBundles(at.sql)).toReversed()
  const first = await firstTrustBundle(bundles[0]!.signed, { trustDomain: 'rap.test' })
  return await followTrustBundles(first, bundles.length, async version => bundles[version - 1]!.signed)
}

t.test('a rotation goes from v1 over both roots to v3, and a client that holds v1 follows every step', async t => {
  const at = await stand.freshDatabase()
  const ca = at.platformCa()
  const steps = stepsOf(ca)
  await t.rejects(stageGeneration(steps), { code: 'ERR_PLATFORM_CA_UNMANAGED' })
  await foundPlatformCa(steps)
  t.equal((await newestBundle(at.sql))?.ref, 'rap-platform-ca:v1')
  await t.rejects(foundPlatformCa(steps), { code: 'ERR_PLATFORM_CA_EXISTS' })
  await t.rejects(activateGeneration(steps), { code: 'ERR_PLATFORM_CA_STEP' })
  await t.rejects(retireGeneration(steps), { code: 'ERR_PLATFORM_CA_STEP' })
  await t.rejects(rollBackGeneration(steps), { code: 'ERR_PLATFORM_CA_STEP' })

  await stageGeneration(steps)
  t.strictSame(await states(at), ['1 active', '2 staged'])
  t.equal((await followed(at)).bundle.certificates.length, 2)
  await t.rejects(stageGeneration(steps), { code: 'ERR_PLATFORM_CA_STEP' })
  await t.rejects(activateGeneration(steps), { code: 'ERR_PLATFORM_CA_OVERLAP' })

  await activateGeneration(steps, { force: true })
  t.strictSame(await states(at), ['1 superseded', '2 active'])
  t.equal((await newestBundle(at.sql))?.version, 2, 'issuing changes, what is trusted does not')

  await retireGeneration(steps)
  t.strictSame(await states(at), ['1 retired', '2 active'])
  const held = await followed(at)
  t.equal(held.bundle.ref, 'rap-platform-ca:v3')
  const [old, active] = await listAuthorities(at.sql)
  t.strictSame(
    held.bundle.certificates.map(pem => pem.trim()),
    [active!.root_certificate.trim()],
  )
  t.match(old, { root_wrapped_key: null, intermediate_wrapped_key: null }, 'the keys of the older one are gone')
  const events = (await at.audit(null)).map(({ event }) => event)
  t.strictSame(events, ['platform_ca_created', 'platform_ca_staged', 'platform_ca_activated', 'platform_ca_retired'])
})

t.test('a rotation can be taken back before and after the new generation issues', async t => {
  const at = await stand.freshDatabase()
  const steps = stepsOf(at.platformCa())
  await foundPlatformCa(steps)
  await stageGeneration(steps)
  await rollBackGeneration(steps)
  t.strictSame(await states(at), ['1 active', '2 retired'])
  t.equal((await followed(at)).bundle.certificates.length, 1)

  await stageGeneration(steps)
  await activateGeneration(steps, { force: true })
  await rollBackGeneration(steps)
  t.strictSame(await states(at), ['1 active', '2 retired', '3 staged'])
  await activateGeneration(steps, { force: true })
  await retireGeneration(steps)
  t.strictSame(await states(at), ['1 retired', '2 retired', '3 active'])
  t.equal((await followed(at)).bundle.version, 5)
})

t.test('the overlap is over when its minutes are', async t => {
  const at = await stand.freshDatabase()
  const now = new Date()
  const steps = stepsOf(at.platformCa(at.sql, { now: () => now, overlapMinutes: 60 }))
  await foundPlatformCa(steps)
  await stageGeneration(steps)
  now.setMinutes(now.getMinutes() + 59)
  const early: ProblemError = await activateGeneration(steps).catch(error => error)
  t.match({ ...early.extras }, { retry_after_seconds: Number })
  t.equal(early.code, 'ERR_PLATFORM_CA_OVERLAP')
  now.setMinutes(now.getMinutes() + 2)
  await activateGeneration(steps)
  t.strictSame(await states(at), ['1 superseded', '2 active'])
})

t.test('of parallel steps one is taken', async t => {
  const at = await stand.freshDatabase()
  const steps = stepsOf(at.platformCa())
  const founded = await Promise.allSettled([1, 2, 3].map(() => foundPlatformCa(steps)))
  t.equal(founded.filter(({ status }) => status === 'fulfilled').length, 1)
  const staged = await Promise.allSettled([1, 2, 3].map(() => stageGeneration(steps)))
  t.equal(staged.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('the root of an offline key signs nothing without it', async t => {
  const at = await stand.freshDatabase()
  const steps = stepsOf(at.platformCa())
  let kept = ''
  await foundPlatformCa(steps, {
    keepRootKey: async pem => {
      kept = pem
    },
  })
  t.match(kept, /BEGIN PRIVATE KEY/)
  t.equal((await listAuthorities(at.sql))[0]?.root_wrapped_key, null)
  await t.rejects(stageGeneration(steps), { code: 'ERR_PLATFORM_CA_ROOT_KEY_ELSEWHERE' })
  const der = createPrivateKey(kept).export({ type: 'pkcs8', format: 'der' })
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ type: 'pkcs8', format: 'der' })
  await t.rejects(stageGeneration(steps, { rootKey: foreign }), { code: 'ERR_PKI_INVALID_KEY' })
  await stageGeneration(steps, { rootKey: der })
  t.strictSame(await states(at), ['1 active', '2 staged'])
})

t.test('an imported root without room for a cross-certificate is rotated without one', async t => {
  const at = await stand.freshDatabase()
  const steps = stepsOf(at.platformCa())
  const root = await createAuthority({ name: 'path length 1', days: 100, now: new Date() })
  const rootKey = createPrivateKey(root.keyPem).export({ type: 'pkcs8', format: 'der' })
  await importPlatformCa(steps, { rootPem: root.certificatePem, rootKey, storeRootKey: true })
  await stageGeneration(steps)
  t.equal((await listAuthorities(at.sql))[1]?.cross_certificate, null)
  t.match((await at.audit(null)).at(-1)?.details, { cross_certificate: false, bundle_ref: 'rap-platform-ca:v2' })
})

t.test('a step that cannot keep the key of its root is undone', async t => {
  const at = await stand.freshDatabase()
  const steps = stepsOf(at.platformCa())
  const failing = { keepRootKey: () => Promise.reject(new Error('no room')) }
  await t.rejects(foundPlatformCa(steps, failing), { message: 'no room' })
  t.strictSame(await states(at), [])
  t.equal((await at.audit(null)).length, 0)
})

t.test('the keys of authorities are in the database only wrapped, each for its own place', async t => {
  const at = await stand.freshDatabase()
  const ca = at.platformCa()
  await foundPlatformCa(stepsOf(ca))
  const [row] = await listAuthorities(at.sql)
  for (const { wrapped } of [row!.root_wrapped_key!, row!.intermediate_wrapped_key!]) {
    t.notOk(Buffer.from(wrapped, 'base64').includes(Buffer.from('2a8648ce3d0201', 'hex')), 'no PKCS#8 of an EC key')
  }
  await at.sql`update rap.platform_authorities set intermediate_wrapped_key = root_wrapped_key`
  await t.rejects(ca.issuing.intermediates.open((await listAuthorities(at.sql))[0]!), { code: 'ERR_KEY_UNWRAP_FAILED' })
})

t.test('an intermediate is replaced below the same root, and what it issues verifies with the same bundle', async t => {
  const at = await stand.freshDatabase()
  const ca = at.platformCa()
  await foundPlatformCa(stepsOf(ca))
  const [before] = await listAuthorities(at.sql)
  await renewIntermediate(stepsOf(ca))
  const [after] = await listAuthorities(at.sql)
  t.not(after!.intermediate_certificate, before!.intermediate_certificate)
  t.equal(after!.root_certificate, before!.root_certificate)
  t.equal((await newestBundle(at.sql))?.version, 1)
  t.ok(
    new X509Certificate(after!.intermediate_certificate).verify(new X509Certificate(after!.root_certificate).publicKey),
  )
})

t.test('a generation is not retired while somebody stands on it', async t => {
  const at = await stand.freshDatabase()
  const instance = await at.build()
  const owner = await at.user({ platformRole: 'owner' })
  await foundPlatformCa(stepsOf(at.platformCa()))
  const worker = await enrolWorker(instance, owner)
  await instance.call(owner, 'POST', '/v1/platform-ca/stage', { body: {} })
  const activated = await instance.call(owner, 'POST', '/v1/platform-ca/activate', { body: { force: true } })
  t.match(activated.body.generations, [
    { state: 'superseded', certificates_in_force: 1 },
    { state: 'active', certificates_in_force: 0 },
  ])
  const refused = await instance.call(owner, 'POST', '/v1/platform-ca/retire', { body: {} })
  t.match(refused, { status: 409, body: { code: 'ERR_PLATFORM_CA_IN_USE', certificates_in_force: 1 } })
  t.match((await worker.status()).body, { renew_now: true, trust_bundle_version: 2 })
  const renewed = await worker.renew()
  t.equal(renewed.body.certificate.match(/BEGIN CERTIFICATE/g)?.length, 3, 'leaf, intermediate, cross-certificate')
  t.match((await worker.status()).body, { renew_now: false })
  t.equal((await instance.call(owner, 'POST', '/v1/platform-ca/retire', { body: {} })).status, 200)
  const last = await worker.renew()
  t.equal(last.body.certificate.match(/BEGIN CERTIFICATE/g)?.length, 2, 'without the cross-certificate')
})
