import { exportJWK } from 'jose'
import t from 'tap'
import { jwkThumbprint, TokenError, verifyDpopProof } from '../src/index.ts'
import { JTI, makeProof, NOW, proofKey } from './helper.ts'

const pair = await proofKey()
const { kty, crv, x, y, d } = await exportJWK(pair.privateKey)
const jkt = await jwkThumbprint({ kty, crv, x, y } as never)
const token = 'header.payload.signature'
const url = 'wss://w.example/data-plane/v1'
const options = { token, jkt, urls: [url], nowSeconds: NOW }

t.test('a proof by the key that the token names verifies', async t => {
  t.same(await verifyDpopProof(await makeProof(pair, token), options), { jti: JTI, htu: url })
})

t.test('each bent proof is refused for its own reason', async t => {
  const cases: [string, Promise<string>, string][] = [
    ['another key: a stolen token without its key', makeProof(await proofKey(), token), 'ERR_PROOF_KEY_MISMATCH'],
    ['another token', makeProof(pair, 'other.token.x'), 'ERR_PROOF_TOKEN_MISMATCH'],
    [
      'another place',
      makeProof(pair, token, { claims: { htu: 'wss://evil.example/data-plane/v1' } }),
      'ERR_PROOF_URL_MISMATCH',
    ],
    ['too old', makeProof(pair, token, { claims: { iat: NOW - 61 } }), 'ERR_PROOF_STALE'],
    ['too new', makeProof(pair, token, { claims: { iat: NOW + 61 } }), 'ERR_PROOF_STALE'],
    ['another method', makeProof(pair, token, { claims: { htm: 'POST' } }), 'ERR_TOKEN_CLAIMS'],
    ['an unknown claim', makeProof(pair, token, { claims: { nonce: 'x' } }), 'ERR_TOKEN_CLAIMS'],
    ['another typ', makeProof(pair, token, { header: { typ: 'JWT' } }), 'ERR_TOKEN_HEADER'],
    [
      'a private key in the header',
      makeProof(pair, token, { header: { jwk: { kty, crv, x, y, d } } }),
      'ERR_TOKEN_HEADER',
    ],
    ['a kid beside the key', makeProof(pair, token, { header: { kid: 'a' } }), 'ERR_TOKEN_HEADER'],
  ]
  for (const [name, proof, code] of cases) await t.rejects(verifyDpopProof(await proof, options), { code }, name)
})

t.test('a proof at the edge of the window verifies', async t => {
  await t.resolves(verifyDpopProof(await makeProof(pair, token, { claims: { iat: NOW - 60 } }), options))
  await t.resolves(verifyDpopProof(await makeProof(pair, token, { claims: { iat: NOW + 60 } }), options))
})

t.test('a proof cut at any character, or over the bound, is refused', async t => {
  const proof = await makeProof(pair, token)
  for (let size = 0; size < proof.length; size++) {
    await verifyDpopProof(proof.slice(0, size), options).then(
      () => t.fail(`${size} characters verified`),
      error => error instanceof TokenError || t.fail(`${size}: ${String(error)}`),
    )
  }
  await t.rejects(verifyDpopProof('a'.repeat(2049), options), { code: 'ERR_TOKEN_TOO_LARGE' })
})
