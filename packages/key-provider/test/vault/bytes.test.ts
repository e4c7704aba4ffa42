import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { decodeBase64, encodeBase64 } from '../../src/vault/base64.ts'
import { ciphertextVersion } from '../../src/vault/ciphertext.ts'
import { decoded, jsonObject, memberOf } from '../../src/vault/json-bytes.ts'

t.test('base64 is what Buffer writes, and reads back', async t => {
  for (let size = 0; size < 70; size++) {
    const bytes = randomBytes(size)
    t.equal(encodeBase64(bytes).toString(), bytes.toString('base64'))
    t.same(decodeBase64(encodeBase64(bytes)), bytes)
  }
})

t.test('text is base64 when encoding what it decodes to gives it again, and then alone', async t => {
  const character = fc.constantFrom(...'ABab01+/=-_ \n*')
  fc.assert(
    fc.property(fc.array(character, { maxLength: 12 }), characters => {
      const text = characters.join('')
      const bytes = Buffer.from(text, 'base64')
      const isCanonical = bytes.toString('base64') === text
      const own = decodeBase64(Buffer.from(text))
      return isCanonical ? own?.equals(bytes) === true : own === undefined
    }),
    { numRuns: 3000 },
  )
  t.pass()
})

t.test('a member is what JSON.parse finds, for any JSON and any spacing', async t => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })),
      fc.integer({ min: 0, max: 4 }),
      (object, spaces) => {
        const text = Buffer.from(JSON.stringify(object, null, spaces))
        return Object.keys(object).every(name => {
          const expected = JSON.stringify(object[name])
          return JSON.stringify(decoded(memberOf(text, name))) === expected
        })
      },
    ),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('the reader ends for any bytes, and finds nothing in text that is cut or has a member twice', async t => {
  const piece = fc.constantFrom('{', '}', '[', ']', '"a"', '"', ':', ',', '1', 'null', ' ', '\\', '"a":"b"', '\u0000')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), pieces => {
      const text = pieces.join('')
      const found = memberOf(Buffer.from(text), 'a')
      return found === undefined || text.includes(found.toString())
    }),
    { numRuns: 3000 },
  )
  for (const text of [
    '',
    '{',
    '{}',
    '[]',
    '{"a"}',
    '{"a":}',
    '{"a":"b"',
    '{"a":"b"}x',
    '{"a":"b","a":"b"}',
    '{"a":"b\\',
    '"a"',
    '{"a":"b"}{}',
  ]) {
    t.equal(memberOf(Buffer.from(text), 'a'), undefined, text)
  }
})

t.test('a request body is the JSON of its members, with Buffers as they are', async t => {
  const body = jsonObject({ plaintext: Buffer.from('QUJD'), key_version: 3, derived: true, role: 'a"b' })
  t.same(JSON.parse(body.toString()), { plaintext: 'QUJD', key_version: 3, derived: true, role: 'a"b' })
  t.equal(jsonObject({}).toString(), '{}')
})

t.test('a ciphertext names its version, and any other text names none', async t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 999_999_999 }), fc.uint8Array({ maxLength: 100 }), (version, bytes) => {
      return ciphertextVersion(Buffer.from(`vault:v${version}:${Buffer.from(bytes).toString('base64')}`)) === version
    }),
  )
  fc.assert(fc.property(fc.string(), text => ciphertextVersion(Buffer.from(text)) === undefined))
  t.pass()
})
