import { ProblemError } from '@rap/service-kit'
import { CompactEncrypt, generateKeyPair } from 'jose'
import t from 'tap'
import { startStand } from './helper.ts'

const CANARY = 'canary-password-5513'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })
const auditor = await stand.user({ organizationId, role: 'auditor' })
const { publicKey } = await generateKeyPair('ECDH-ES+A256KW', { crv: 'P-256' })

async function seal(place: { organization_id: string; resource_id: string }, header: Record<string, unknown> = {}) {
  return await new CompactEncrypt(new TextEncoder().encode(JSON.stringify({ version: 1, password: CANARY })))
    .setProtectedHeader({
      alg: 'ECDH-ES+A256KW',
      enc: 'A256GCM',
      kid: 'kid-1',
      typ: 'rap-secret+jwe',
      ...place,
      ...header,
    })
    .encrypt(publicKey)
}

async function resource() {
  const id = await stand.resource(organizationId, { secret: false })
  return { id, url: `/v1/resources/${id}/secret`, place: { organization_id: organizationId, resource_id: id } }
}

t.test('a sealed secret is passed on as it is, and the resource refers to it from then on', async t => {
  const { id, url, place } = await resource()
  const sealed = await seal(place)
  const { status, body } = await instance.call(admin, 'PUT', url, { body: { sealed } })
  t.equal(status, 200)
  const secretRef = `rap-secret://org/${organizationId}/resources/${id}/rdp-primary`
  t.match(body, { secret_ref: secretRef, version: 1, created_by: admin.id })
  t.equal(stand.resolver.stored.get(id)!.sealed, sealed)
  t.equal((await instance.call(admin, 'GET', `/v1/resources/${id}`)).body.secret_ref, secretRef)
  t.equal((await instance.call(admin, 'PUT', url, { body: { sealed: await seal(place) } })).body.version, 2)
})

t.test('metadata is what anybody can read of a secret', async t => {
  const { url, place } = await resource()
  t.equal((await instance.call(admin, 'GET', url)).body.code, 'ERR_SECRET_NOT_FOUND')
  await instance.call(admin, 'PUT', url, { body: { sealed: await seal(place) } })
  const { body } = await instance.call(auditor, 'GET', url)
  t.same(Object.keys(body).sort(), [
    'algorithm',
    'created_at',
    'created_by',
    'key_id',
    'payload_sha256',
    'secret_ref',
    'version',
  ])
})

t.test('a deleted secret leaves no reference', async t => {
  const { id, url, place } = await resource()
  await instance.call(admin, 'PUT', url, { body: { sealed: await seal(place) } })
  t.equal((await instance.call(admin, 'DELETE', url)).status, 204)
  t.equal((await instance.call(admin, 'GET', `/v1/resources/${id}`)).body.secret_ref, null)
  t.equal((await instance.call(admin, 'DELETE', url)).body.code, 'ERR_SECRET_NOT_FOUND')
})

t.test('what is not sealed for this resource is refused before the resolver hears of it', async t => {
  const { id, url, place } = await resource()
  const elsewhere = await resource()
  const cases: Record<string, string> = {
    'a plain password': CANARY,
    'plain JSON': JSON.stringify({ version: 1, protocol: 'rdp', username: 'u', password: CANARY }),
    'another resource': await seal(elsewhere.place),
    'another organization': await seal({ ...place, organization_id: id }),
    'another type': await seal(place, { typ: 'JWE' }),
    'a header that is no JSON': `AAAA.${'A'.repeat(20)}.A.A.A`,
  }
  for (const [name, sealed] of Object.entries(cases)) {
    const { status, body } = await instance.call(admin, 'PUT', url, { body: { sealed } })
    t.equal(status, 422, name)
    t.equal(body.code, 'ERR_SECRET_SEAL_INVALID', name)
  }
  t.notOk(stand.resolver.stored.has(id))
  t.notMatch(stand.log, CANARY)
})

t.test('a payload over the bound is refused', async t => {
  const { url } = await resource()
  t.equal((await instance.call(admin, 'PUT', url, { body: { sealed: 'A'.repeat(13_000) } })).status, 400)
  t.equal((await instance.call(admin, 'PUT', url, { body: { sealed: 'A'.repeat(40_000) } })).status, 413)
})

t.test('a resolver that refuses is quoted, one that fails is not', async t => {
  const { url, place } = await resource()
  const put = async () => await instance.call(admin, 'PUT', url, { body: { sealed: await seal(place) } })
  stand.resolver.failure = new ProblemError({ code: 'ERR_SECRET_VERSION_CONFLICT', status: 409, title: 'Conflict' })
  t.match(await put(), { status: 409, body: { code: 'ERR_SECRET_VERSION_CONFLICT' } })
  const [row] = await stand.sql`select secret_ref from rap.resources where id = ${place.resource_id}`
  t.equal(row!.secret_ref, null, 'nothing was stored, so nothing is referred to')
})

t.test('the sealing key is for people who are logged in', async t => {
  const { status, body } = await instance.call(auditor, 'GET', '/v1/secret-sealing-key')
  t.equal(status, 200)
  t.match(body, { kty: 'EC', crv: 'P-256', alg: 'ECDH-ES+A256KW', use: 'enc' })
  t.equal((await instance.call(undefined, 'GET', '/v1/secret-sealing-key')).status, 401)
})

t.test('no sealed byte is in the database of the control plane or in its log', async t => {
  const dump = await stand.postgres.dump(stand.superuserUrl)
  for (const { sealed } of stand.resolver.stored.values()) {
    const ciphertext = sealed.split('.')[3]!
    t.notOk(dump.includes(ciphertext))
    t.notOk(stand.log.includes(ciphertext))
  }
  t.notOk(dump.includes(CANARY))
})
