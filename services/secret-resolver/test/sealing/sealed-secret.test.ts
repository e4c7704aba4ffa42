import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { exportJWK } from 'jose'
import t from 'tap'
import { MAX_SEALED_CHARACTERS, openSealedSecret } from '../../src/sealing/sealed-secret.ts'
import { createSealingKey, openSealingKey } from '../../src/sealing/sealing-key.ts'
import { MAX_PAYLOAD_BYTES } from '../../src/secrets/payload.ts'
import { ACTIVE_KEY, testKeys } from '../support/keys.ts'
import { RDP_PAYLOAD, seal, sealByHand } from '../support/seal.ts'

const PLACE = { organization_id: randomUUID(), resource_id: randomUUID() }
const keys = testKeys()
const { privateKey, jwk } = await openSealingKey(await createSealingKey(keys, ACTIVE_KEY), keys)

const open = (sealed: string, place = PLACE) =>
  openSealedSecret(sealed, {
    organizationId: place.organization_id,
    resourceId: place.resource_id,
    privateKeyOf: async kid => (kid === jwk.kid ? privateKey : undefined),
  })
const refused = (rule: string) => ({ code: 'ERR_SEALED_SECRET_REFUSED', rule })
const headerOf = (sealed: string) => JSON.parse(Buffer.from(sealed.split('.')[0]!, 'base64url').toString())
const withHeader = (sealed: string, header: unknown) =>
  [Buffer.from(JSON.stringify(header)).toString('base64url'), ...sealed.split('.').slice(1)].join('.')

t.test('a sealed secret opens for its organization and resource', async t => {
  t.equal(Buffer.from(await open(await seal(jwk, PLACE))).toString(), JSON.stringify(RDP_PAYLOAD))
})

t.test('a client written from the protocol page with nothing but WebCrypto is understood', async t => {
  const payload = Buffer.from(JSON.stringify(RDP_PAYLOAD))
  t.strictSame(Buffer.from(await open(await sealByHand(jwk, PLACE, payload))), payload)
})

t.test('a sealed secret does not open for another organization or resource', async t => {
  const sealed = await seal(jwk, PLACE)
  await t.rejects(open(sealed, { ...PLACE, organization_id: randomUUID() }), refused('misdirected'))
  await t.rejects(open(sealed, { ...PLACE, resource_id: randomUUID() }), refused('misdirected'))
  const elsewhere = { ...PLACE, resource_id: randomUUID() }
  const moved = withHeader(sealed, { ...headerOf(sealed), resource_id: elsewhere.resource_id })
  await t.rejects(open(moved, elsewhere), refused('does_not_open'), 'also where the header is rewritten')
})

t.test('a sealed secret to an unknown key is refused as such', async t => {
  await t.rejects(open(await seal(jwk, PLACE, { header: { kid: 'A'.repeat(43) } })), refused('unknown_key'))
})

t.test('a sealed secret to another key under the right kid does not open', async t => {
  const other = await exportJWK(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)
  await t.rejects(open(await seal({ ...other, kid: jwk.kid }, PLACE)), refused('does_not_open'))
})

t.test('a header with another algorithm, another type or anything more is refused', async t => {
  const sealed = await seal(jwk, PLACE)
  const header = headerOf(sealed)
  const changes: Record<string, unknown>[] = [
    { alg: 'ECDH-ES' },
    { alg: 'ECDH-ES+A128KW' },
    { alg: 'dir' },
    { alg: 'RSA-OAEP' },
    { alg: 'none' },
    { alg: undefined },
    { enc: 'A128GCM' },
    { enc: 'A256CBC-HS512' },
    { enc: undefined },
    { typ: 'rap-credential+jwe' },
    { typ: 'JWT' },
    { typ: undefined },
    { kid: undefined },
    { kid: '../../key' },
    { zip: 'DEF' },
    { crit: ['exp'] },
    { apu: 'AA' },
    { apv: 'AA' },
    { jku: 'https://attacker.example' },
    { x5u: 'https://attacker.example' },
    { organization_id: undefined },
    { resource_id: PLACE.resource_id.toUpperCase() },
    { epk: undefined },
    { epk: { ...header.epk, d: header.epk.x } },
    { epk: { ...header.epk, crv: 'P-384' } },
    { epk: { kty: 'OKP', crv: 'X25519', x: header.epk.x } },
  ]
  for (const change of changes) {
    await t.rejects(open(withHeader(sealed, { ...header, ...change })), refused('header'), JSON.stringify(change))
  }
  for (const whole of ['null', '[]', '1', '"x"', '{', '']) {
    const [, ...rest] = sealed.split('.')
    const broken = [Buffer.from(whole).toString('base64url'), ...rest].join('.')
    await t.rejects(open(broken), { code: 'ERR_SEALED_SECRET_REFUSED' }, whole)
  }
})

t.test('a point off the curve is refused', async t => {
  const sealed = await seal(jwk, PLACE)
  const header = headerOf(sealed)
  const off = { ...header, epk: { ...header.epk, y: header.epk.x } }
  await t.rejects(open(withHeader(sealed, off)), refused('does_not_open'))
})

t.test('a compressed sealed secret is refused, so that no bomb is unpacked', async t => {
  const bomb = await seal(jwk, PLACE, { payload: Buffer.alloc(8_000_000, 0x20), header: { zip: 'DEF' } })
  t.ok(bomb.length <= MAX_SEALED_CHARACTERS, `${bomb.length} characters`)
  await t.rejects(open(bomb), refused('header'))
})

t.test('a sealed secret cut at any place, or with any character changed, does not open', async t => {
  const sealed = await seal(jwk, PLACE)
  for (let size = 0; size < sealed.length; size++) {
    await t.rejects(open(sealed.slice(0, size)), { code: 'ERR_SEALED_SECRET_REFUSED' })
  }
  for (let at = 0; at < sealed.length; at += 3) {
    const changed = `${sealed.slice(0, at)}${sealed[at] === 'A' ? 'B' : 'A'}${sealed.slice(at + 1)}`
    await t.rejects(open(changed), { code: 'ERR_SEALED_SECRET_REFUSED' })
  }
  for (const more of [`${sealed}.`, `${sealed}.AA`, `${sealed}A`, `.${sealed}`, `${sealed} `, `${sealed}=`]) {
    await t.rejects(open(more), { code: 'ERR_SEALED_SECRET_REFUSED' })
  }
})

t.test('the largest payload fits the bound of a sealed secret', async t => {
  const sealed = await seal(jwk, PLACE, { payload: Buffer.alloc(MAX_PAYLOAD_BYTES, 0x20) })
  t.ok(sealed.length <= MAX_SEALED_CHARACTERS, `${sealed.length} characters`)
  t.equal((await open(sealed)).length, MAX_PAYLOAD_BYTES)
  await t.rejects(open('A'.repeat(MAX_SEALED_CHARACTERS + 1)), refused('too_large'))
})
