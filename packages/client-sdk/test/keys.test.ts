import { jwkThumbprint, verifyDpopProof } from '@rap/token-claims'
import { compactDecrypt, exportJWK, generateKeyPair } from 'jose'
import t from 'tap'
import { generateSessionKey, makeProof } from '../src/dpop.ts'
import { sealSecret } from '../src/sealing.ts'
import { ORGANIZATION_ID, RESOURCE_ID } from './helper.ts'

const PLACE = { organizationId: ORGANIZATION_ID, resourceId: RESOURCE_ID }
const SECRET = { username: 'operator', domain: 'CORP', password: 'pä$$ "word"' }

t.test('a proof is what the servers take: for its token, its URL and now', async t => {
  const key = await generateSessionKey()
  const nowSeconds = Math.floor(Date.now() / 1000)
  const input = { token: 'a.b.c', url: 'wss://worker.example/data-plane/v1', nowSeconds }
  const proof = await makeProof(key, input)
  const options = { token: input.token, jkt: key.thumbprint, urls: [input.url], nowSeconds }
  t.match(await verifyDpopProof(proof, options), { htu: input.url, jti: /^[\w-]{22}$/ })
  t.equal(key.thumbprint, await jwkThumbprint({ ...key.publicJwk }))
  await t.rejects(verifyDpopProof(proof, { ...options, jkt: (await generateSessionKey()).thumbprint }), {
    code: 'ERR_PROOF_KEY_MISMATCH',
  })
  t.not(await makeProof(key, input), proof, 'every proof has a jti of its own')
})

t.test('the private half of a session key cannot be exported', async t => {
  const { privateKey } = await generateSessionKey()
  t.equal(privateKey.extractable, false)
  for (const format of ['jwk', 'pkcs8'] as const) await t.rejects(crypto.subtle.exportKey(format, privateKey))
  t.not(JSON.stringify(await generateSessionKey()).includes('"d"'), true)
})

async function resolver() {
  const { publicKey, privateKey } = await generateKeyPair('ECDH-ES+A256KW', { extractable: true })
  const { kty, crv, x, y } = await exportJWK(publicKey)
  return { jwk: { kty, crv, x, y, kid: 'seal-1', alg: 'ECDH-ES+A256KW', use: 'enc' }, privateKey }
}

t.test('a sealed secret opens for the resolver alone, and says where it belongs', async t => {
  const { jwk, privateKey } = await resolver()
  const sealed = await sealSecret(jwk, PLACE, SECRET)
  const { plaintext, protectedHeader } = await compactDecrypt(sealed, privateKey)
  t.same(JSON.parse(new TextDecoder().decode(plaintext)), { version: 1, protocol: 'rdp', ...SECRET })
  const { epk, ...header } = protectedHeader
  t.same(header, {
    alg: 'ECDH-ES+A256KW',
    enc: 'A256GCM',
    kid: 'seal-1',
    typ: 'rap-secret+jwe',
    organization_id: ORGANIZATION_ID,
    resource_id: RESOURCE_ID,
  })
  t.same(Object.keys(epk as object).sort(), ['crv', 'kty', 'x', 'y'])
  t.notMatch(Buffer.from(sealed).toString('latin1'), /operator|CORP/)
  const other = await resolver()
  await t.rejects(compactDecrypt(sealed, other.privateKey))
})

t.test('an empty domain is the same as none', async t => {
  const { jwk, privateKey } = await resolver()
  for (const domain of [undefined, '']) {
    const sealed = await sealSecret(jwk, PLACE, { ...SECRET, domain })
    const { plaintext } = await compactDecrypt(sealed, privateKey)
    t.notOk('domain' in JSON.parse(new TextDecoder().decode(plaintext)))
  }
})

t.test('nothing is sealed to a key of another kind, and nothing over the bound', async t => {
  const { jwk } = await resolver()
  for (const bad of [
    undefined,
    {},
    { ...jwk, crv: 'P-384' },
    { ...jwk, alg: 'RSA-OAEP' },
    { ...jwk, x: 'AA' },
    { ...jwk, use: 'sig' },
  ]) {
    await t.rejects(sealSecret(bad, PLACE, SECRET), { code: 'ERR_RESPONSE_INVALID' })
  }
  await t.rejects(sealSecret(jwk, PLACE, { ...SECRET, password: 'x'.repeat(9000) }), { code: 'ERR_OPTION_INVALID' })
})
