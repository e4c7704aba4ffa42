import { exportSPKI } from 'jose'
import t from 'tap'
import { keyLookupOf, keyLookupOfPem, publicJwkOf, signToken, verifyToken } from '../src/index.ts'
import { dataPlaneClaims, ISSUER, JTI, NOW, signer } from './helper.ts'

const key = await signer()
const jwk = await publicJwkOf(key.publicKey)

t.test('a published key holds no private member and is named by its thumbprint', async t => {
  t.same(Object.keys(jwk).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
  t.equal(jwk.kid, key.kid)
})

t.test('a key set is turned into a lookup that leaves foreign keys out', async t => {
  const lookup = await keyLookupOf({
    keys: [
      jwk,
      { kty: 'oct', k: 'AAAA', kid: 'hmac', alg: 'RS256', use: 'sig' },
      { ...jwk, kid: 'enc', use: 'enc' },
      { ...jwk, kid: 'other-alg', alg: 'RS512' },
      { ...jwk, kid: 'small', n: 'AQAB' },
      { ...jwk, kid: 'private', d: 'AQAB' },
    ],
  })
  t.same(lookup.kids, [key.kid])
  t.equal(await lookup('enc'), undefined)
})

t.test('what is not a key set is refused', async t => {
  for (const document of [null, 'x', [], {}, { keys: 'x' }, { keys: Array.from({ length: 17 }, () => jwk) }]) {
    await t.rejects(keyLookupOf(document), { code: 'ERR_TOKEN_MALFORMED' })
  }
})

t.test('a worker with a PEM file alone verifies the tokens of that key', async t => {
  const keys = await keyLookupOfPem(await exportSPKI(key.publicKey))
  const token = await signToken('data_plane', dataPlaneClaims(), {
    key,
    issuer: ISSUER,
    jti: JTI,
    nowSeconds: NOW,
    lifetimeSeconds: 60,
  })
  await t.resolves(verifyToken('data_plane', token, { keys, issuer: ISSUER, nowSeconds: NOW }))
})
