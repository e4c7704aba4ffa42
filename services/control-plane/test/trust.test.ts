import { keyLookupOf, publicJwkOf, verifyToken } from '@rap/token-claims'
import { generateKeyPair } from 'jose'
import t from 'tap'
import { SigningKeys } from '../src/trust/signing-keys.ts'
import { newJkt, newWrapping, startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const platformOwner = await stand.user({ platformRole: 'owner' })
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const resourceId = await stand.resource(organizationId)
const worker = (await instance.worker()).start()

async function jwks(on = instance) {
  const answer = await on.call(undefined, 'GET', '/.well-known/jwks.json')
  return { ...answer, kids: answer.body.keys.map((key: { kid: string }) => key.kid) as string[] }
}

const rotate = () => instance.call(platformOwner, 'POST', '/v1/signing-keys/rotate')

t.test('two keys are there after the first start, however many instances start at once', async t => {
  const fresh = await stand.freshDatabase()
  await Promise.all([1, 2, 3].map(() => fresh.build()))
  const rows = await fresh.sql`select state from rap.signing_keys order by state`
  t.same(
    rows.map(row => row.state),
    ['active', 'next'],
  )
})

t.test('the key set holds public halves of at least 2048 bits, and may be kept for minutes', async t => {
  const { status, body, headers } = await jwks()
  t.equal(status, 200)
  t.equal(body.keys.length, 2)
  for (const key of body.keys) {
    t.same(Object.keys(key).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
    t.ok(Buffer.from(key.n, 'base64url').length >= 256)
    t.match(key, { kty: 'RSA', alg: 'RS256', use: 'sig' })
  }
  t.equal(headers['cache-control'], 'public, max-age=300')
})

t.test('a rotation signs with the key that was published before, and old tokens stay good', async t => {
  const begin = async () =>
    (
      await instance.call(operator, 'POST', '/v1/sessions', {
        body: { resource_id: resourceId, dpop_jkt: await newJkt() },
      })
    ).body
  const before = await jwks()
  const started = await begin()
  const { body } = await rotate()
  t.ok(before.kids.includes(body.active_kid), 'it was published before it signs')
  const after = await jwks()
  t.same(new Set(after.kids), new Set([...before.kids, body.next_kid]))
  t.equal((await worker.bind(started.data_plane.token)).status, 200)
  const next = await begin()
  const header = JSON.parse(Buffer.from(next.data_plane.token.split('.')[0], 'base64url').toString())
  t.equal(header.kid, body.active_kid)
  t.equal((await worker.bind(next.data_plane.token)).status, 200)
  t.ok(
    (await stand.audit(null)).some(
      event => event.event === 'signing_keys_rotated' && event.actor_id === platformOwner.id,
    ),
  )
})

t.test('another instance signs with the new key at once', async t => {
  const second = await stand.build()
  const { body } = await rotate()
  t.equal((await second.controlPlane.context.signing.active()).kid, body.active_kid)
})

t.test('parallel rotations leave one key that signs and one that waits', async t => {
  const answers = await Promise.all([rotate(), rotate(), rotate()])
  t.ok(answers.every(answer => answer.status === 200))
  const rows = await stand.sql`select state, count(*)::int as count from rap.signing_keys group by state`
  const count = Object.fromEntries(rows.map(row => [row.state, row.count]))
  t.match(count, { active: 1, next: 1 })
})

t.test('a retired key has no private half, is not published and verifies nothing', async t => {
  const { signing, config } = instance.controlPlane.context
  const { kid } = await signing.active()
  await rotate()
  await signing.retire()
  t.ok((await jwks()).kids.includes(kid), 'not yet')
  await stand.sql`update rap.signing_keys set retiring_at = now() - interval '1 hour' where kid = ${kid}`
  await signing.retire()
  t.notOk((await jwks()).kids.includes(kid))
  t.equal(await signing.lookup(kid), undefined)
  const [row] = await stand.sql`select state, wrapped_private_key from rap.signing_keys where kid = ${kid}`
  t.match(row, { state: 'retired', wrapped_private_key: null })
  t.ok(config)
})

t.test('a private key is in the database only wrapped, and bound to its row', async t => {
  const rows = await stand.sql`select kid, wrapped_private_key from rap.signing_keys where state in ('active', 'next')`
  const [active, next] = rows
  for (const row of rows) {
    const wrapped = Buffer.from(row.wrapped_private_key.wrapped, 'base64')
    t.notOk(wrapped.includes(Buffer.from('2a864886f70d010101', 'hex')), 'no PKCS#8 of an RSA key')
  }
  await t.rejects(new SigningKeys(stand.sql, newWrapping()).active(), 'another wrapping key')
  const swapped = await stand.freshDatabase()
  const keys = new SigningKeys(swapped.sql, stand.keys)
  await keys.ensure()
  await swapped.sql`
    update rap.signing_keys set wrapped_private_key = ${swapped.sql.json((next ?? active)!.wrapped_private_key)} where state = 'active'`
  await t.rejects(new SigningKeys(swapped.sql, stand.keys).active(), 'the wrapped key of another row')
})

t.test('a key that is not in the set verifies nothing', async t => {
  const { publicKey } = await generateKeyPair('RS256', { extractable: true })
  const foreign = await keyLookupOf({ keys: [await publicJwkOf(publicKey)] })
  const { body } = await instance.call(operator, 'POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: await newJkt() },
  })
  await t.rejects(
    verifyToken('data_plane', body.data_plane.token, {
      keys: foreign,
      issuer: instance.controlPlane.context.config.DATA_PLANE_ISSUER,
      nowSeconds: Math.floor(Date.now() / 1000),
    }),
    { code: 'ERR_TOKEN_UNKNOWN_KEY' },
  )
})

t.test('the trust bundle is served by name and version', async t => {
  const { status, body } = await instance.call(undefined, 'GET', '/v1/trust-bundle')
  t.equal(status, 200)
  t.match(body, { ref: 'rap-platform-ca:v1', format: 'pem', certificates: /BEGIN CERTIFICATE/ })
})
