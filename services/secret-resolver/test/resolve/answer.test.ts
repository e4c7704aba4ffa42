import { randomBytes } from 'node:crypto'
import { compactDecrypt } from 'jose'
import t from 'tap'
import { encryptAnswer, importRecipientKey, type RecipientKey } from '../../src/resolve/answer.ts'
import { recipientKey } from '../support/platform.ts'

const JTI = 'jti-0123456789abcdef'
const recipient = await recipientKey()
const key = importRecipientKey(recipient.jwk) as RecipientKey

t.test('what is encrypted here, another implementation of RFC 7516 and 7518 opens', async t => {
  // Around the block of AES, around the block of SHA-256, and the largest payload.
  for (const size of [1, 15, 16, 17, 55, 56, 63, 64, 65, 150, 4096]) {
    for (const jti of [JTI, 'j'.repeat(64), randomBytes(16).toString('base64url')]) {
      const [bytes, fresh] = [randomBytes(size), await recipientKey()]
      const jwe = encryptAnswer(bytes, importRecipientKey(fresh.jwk) as RecipientKey, jti)
      const { plaintext, protectedHeader } = await compactDecrypt(jwe, fresh.privateKey)
      t.ok(bytes.equals(plaintext), `${size} bytes`)
      t.equal(Buffer.from(protectedHeader.apv as string, 'base64url').toString(), jti)
    }
  }
})

t.test('the header is what docs/protocols/secret-sealing.md says, and nothing more', async t => {
  const [header = ''] = encryptAnswer(Buffer.from('x'), key, JTI).split('.')
  const members = JSON.parse(Buffer.from(header, 'base64url').toString())
  t.strictSame(Object.keys(members).sort(), ['alg', 'apv', 'enc', 'epk', 'typ'])
  t.strictSame(Object.keys(members.epk).sort(), ['crv', 'kty', 'x', 'y'], 'the ephemeral key is public')
})

t.test('two answers share neither ephemeral key nor nonce', async t => {
  const parts = Array.from({ length: 50 }, () => encryptAnswer(Buffer.from('same'), key, JTI).split('.'))
  for (const at of [0, 2, 3]) t.equal(new Set(parts.map(part => part[at])).size, parts.length)
})

t.test('an answer that was changed, or is for another request or key, does not open', async t => {
  const jwe = encryptAnswer(Buffer.from('secret'), key, JTI)
  const [header = '', , iv, ciphertext, tag] = jwe.split('.')
  const members = JSON.parse(Buffer.from(header, 'base64url').toString())
  const other = Buffer.from(JSON.stringify({ ...members, apv: Buffer.from('other').toString('base64url') }))
  const changed = [
    `${other.toString('base64url')}..${iv}.${ciphertext}.${tag}`,
    `${header}..${iv}.${randomBytes(6).toString('base64url')}.${tag}`,
    `${header}..${randomBytes(12).toString('base64url')}.${ciphertext}.${tag}`,
    `${header}..${iv}.${ciphertext}.${randomBytes(16).toString('base64url')}`,
  ]
  for (const text of changed) await t.rejects(compactDecrypt(text, recipient.privateKey))
  await t.rejects(compactDecrypt(jwe, (await recipientKey()).privateKey))
})

t.test('coordinates that are no point of the curve are no key', async t => {
  const text = (bytes: Buffer) => bytes.toString('base64url')
  const zero = text(Buffer.alloc(32))
  const prime = text(Buffer.from('ffffffff00000001000000000000000000000000ffffffffffffffffffffffff', 'hex'))
  const { x, y } = recipient.jwk
  const jwk = { kty: 'EC', crv: 'P-256' } as const
  for (const [name, point] of Object.entries({
    'the origin': { x: zero, y: zero },
    'x of another point': { x: text(randomBytes(32)), y },
    'y of another point': { x, y: text(randomBytes(32)) },
    'swapped coordinates': { x: y, y: x },
    'coordinates beyond the field': { x: prime, y: prime },
    'too short': { x: text(Buffer.alloc(31)), y },
    'too long': { x: text(Buffer.alloc(33)), y },
  })) {
    t.equal(importRecipientKey({ ...jwk, ...point }), undefined, name)
  }
})
