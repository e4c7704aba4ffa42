import t, { type Test } from 'tap'
import { canonicalPayload, MAX_PAYLOAD_BYTES, MAX_TEXT_UNITS, PayloadError } from '../../src/secrets/payload.ts'

const RIGHT = { version: 1, protocol: 'rdp', username: 'operator', domain: 'CORP', password: 'correct horse' }

const bytesOf = (payload: unknown) => Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
const canonical = (payload: unknown, version = 1) => canonicalPayload(bytesOf(payload), version).toString('utf8')
const refuses = (t: Test, payload: unknown, rule: string, field?: string) =>
  t.throws(() => canonicalPayload(Buffer.isBuffer(payload) ? payload : bytesOf(payload), 1), {
    code: 'ERR_SECRET_PAYLOAD_INVALID',
    rule,
    ...(field !== undefined && { field }),
  })

t.test('a payload becomes the canonical fields in their order, with the rotation version', async t => {
  t.equal(
    canonical(' { "password" : "p" ,\n\t"username":"u", "protocol":"rdp","version":1 } ', 7),
    '{"version":1,"protocol":"rdp","username":"u","password":"p","rotation_version":7}',
  )
  t.equal(
    canonical(RIGHT, 3),
    '{"version":1,"protocol":"rdp","username":"operator","domain":"CORP","password":"correct horse","rotation_version":3}',
  )
})

t.test('an empty domain is no domain', async t => {
  t.notMatch(canonical({ ...RIGHT, domain: '' }), /domain/)
})

t.test('the values that a JSON parser reads from the canonical bytes are those that were sent', async t => {
  const texts = [
    'plain',
    ' quotation " backslash \\ slash / ',
    'Zażółć gęślą jaźń',
    '\u{1f511}\u{1f512}',
    '\t\n\r\b\f\u0001\u007f',
    '\u2028\u2029\ufeff',
    "'; drop table secrets; --",
  ]
  for (const password of texts) {
    t.equal(JSON.parse(canonical({ ...RIGHT, password })).password, password)
    const escaped = [...password].map(c =>
      [...c.split('')].map(u => `\\u${u.charCodeAt(0).toString(16).padStart(4, '0')}`),
    )
    const written = `{"version":1,"protocol":"rdp","username":"u","password":"${escaped.flat().join('')}"}`
    t.equal(JSON.parse(canonical(written)).password, password, 'also where every character is an escape')
  }
})

t.test('every truncated prefix is refused', async t => {
  const whole = bytesOf(RIGHT)
  for (let size = 0; size < whole.length; size++) {
    t.throws(
      () => canonicalPayload(whole.subarray(0, size), 1),
      { code: 'ERR_SECRET_PAYLOAD_INVALID' },
      `${size} bytes`,
    )
  }
})

t.test('anything but one flat object is refused', async t => {
  const whole = JSON.stringify(RIGHT)
  for (const text of [
    '',
    ' ',
    'null',
    '[]',
    '"text"',
    '1',
    '{}}',
    `${whole}x`,
    `${whole}{}`,
    `[${whole}]`,
    `${whole},`,
  ]) {
    t.throws(() => canonicalPayload(bytesOf(text), 1), { code: 'ERR_SECRET_PAYLOAD_INVALID' }, text.slice(-20))
  }
  refuses(t, '{"version":1,}', 'malformed')
  refuses(t, "{'version':1}", 'malformed')
  refuses(t, '{"version" 1}', 'malformed')
  refuses(t, '{"version":1 "protocol":"rdp"}', 'malformed')
  refuses(t, '{"username":"a\nb"}', 'malformed', 'username')
  refuses(t, '{"username":"\\x41"}', 'malformed', 'username')
  refuses(t, '{"username":"\\u00g0"}', 'malformed', 'username')
  refuses(t, '{"username":{"a":1}}', 'malformed', 'username')
  refuses(t, '{"password":12345678}', 'malformed', 'password')
})

t.test('version is exactly 1 and protocol exactly rdp', async t => {
  for (const version of ['2', '0', '-1', '"1"', 'null', 'true', '1.0', '10', '1e0', '01']) {
    const text = `{"version":${version},"protocol":"rdp","username":"u","password":"p"}`
    t.throws(() => canonicalPayload(bytesOf(text), 1), { code: 'ERR_SECRET_PAYLOAD_INVALID' }, version)
  }
  for (const protocol of ['vnc', 'RDP', '', 'rdp ', 'rd']) refuses(t, { ...RIGHT, protocol }, 'wrong_value', 'protocol')
  refuses(t, '{"version":1,"protocol":"\\u0072dp","username":"u","password":"p"}', 'wrong_value', 'protocol')
})

t.test('an unknown, a repeated and a missing field is refused', async t => {
  refuses(t, { ...RIGHT, note: 'x' }, 'unknown_field')
  refuses(t, { ...RIGHT, rotation_version: 9 }, 'unknown_field')
  refuses(t, '{"__proto__":{"version":1}}', 'unknown_field')
  refuses(t, '{"pass\\u0077ord":"p"}', 'unknown_field')
  refuses(t, '{"password":"a","password":"b"}', 'duplicate_field', 'password')
  refuses(t, '{"domain":"","domain":""}', 'duplicate_field', 'domain')
  for (const field of ['version', 'protocol', 'username', 'password'] as const) {
    refuses(t, { ...RIGHT, [field]: undefined }, 'missing_field', field)
  }
})

t.test('a text is bounded by what an RDP client info packet can carry, in UTF-16 units', async t => {
  for (const field of ['username', 'domain', 'password'] as const) {
    for (const [unit, width] of [
      ['a', 1],
      ['ż', 1],
      ['€', 1],
      ['\u{1f511}', 2],
    ] as const) {
      const most = Math.floor(MAX_TEXT_UNITS / width)
      t.ok(canonical({ ...RIGHT, [field]: unit.repeat(most) }))
      refuses(t, { ...RIGHT, [field]: unit.repeat(most + 1) }, 'too_long', field)
    }
    refuses(t, { ...RIGHT, [field]: 'a'.repeat(MAX_TEXT_UNITS + 1) }, 'too_long', field)
  }
  refuses(t, { ...RIGHT, username: '' }, 'empty', 'username')
  refuses(t, { ...RIGHT, password: '' }, 'empty', 'password')
})

t.test('a NUL is refused everywhere, another control character in names', async t => {
  for (const field of ['username', 'domain', 'password'])
    refuses(t, { ...RIGHT, [field]: 'a\0b' }, 'forbidden_character', field)
  for (const character of ['\n', '\t', '\u001f', '\u007f']) {
    refuses(t, { ...RIGHT, username: character }, 'forbidden_character', 'username')
    refuses(t, { ...RIGHT, domain: character }, 'forbidden_character', 'domain')
    t.ok(canonical({ ...RIGHT, password: character }))
  }
  refuses(t, bytesOf('{"username":"a\x7f"}'), 'forbidden_character', 'username')
})

t.test('text that is not UTF-8, or half a character, is refused', async t => {
  for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xe2, 0x82]]) {
    refuses(t, Buffer.concat([bytesOf('{"password":"'), Buffer.from(bad), bytesOf('"}')]), 'not_utf8')
  }
  for (const half of ['\\ud83d', '\\ud83dx', '\\ud83d\\n', '\\udd11', '\\udd11\\ud83d', '\\ud83d\\ud83d']) {
    refuses(t, `{"password":"${half}"}`, 'lone_surrogate', 'password')
  }
})

t.test('a payload over the bound is refused before it is read', async t => {
  refuses(t, Buffer.alloc(MAX_PAYLOAD_BYTES + 1, 0xff), 'too_large')
  const padded = `${' '.repeat(MAX_PAYLOAD_BYTES - JSON.stringify(RIGHT).length)}${JSON.stringify(RIGHT)}`
  t.equal(padded.length, MAX_PAYLOAD_BYTES)
  t.ok(canonical(padded))
})

t.test('a refusal holds no part of the payload', async t => {
  const canary = 'canary-7Jq2-value'
  const attempts = [
    { ...RIGHT, [canary]: canary },
    { ...RIGHT, password: canary.repeat(40) },
    { ...RIGHT, username: `${canary}\0` },
    { ...RIGHT, protocol: canary },
  ]
  for (const attempt of attempts) {
    try {
      canonical(attempt)
      t.fail('is refused')
    } catch (err) {
      t.ok(err instanceof PayloadError)
      const error = err as PayloadError
      t.notMatch(`${JSON.stringify({ ...error })} ${error.message} ${error.stack} ${error.cause}`, canary)
    }
  }
})

t.test('random bytes never pass where a JSON parser and the schema refuse them', async t => {
  // A fixed generator, so that a failure can be repeated.
  let state = 20261121
  const next = (bound: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state % bound
  }
  const whole = bytesOf({ ...RIGHT, password: 'a\\"\u{1f511}é' })
  let accepted = 0
  for (let round = 0; round < 20_000; round++) {
    const mutated = Buffer.from(whole)
    for (let edits = 1 + next(3); edits > 0; edits--)
      mutated[next(mutated.length)] = next(2) ? next(256) : (whole[next(whole.length)] as number)
    let result: Buffer
    try {
      result = canonicalPayload(mutated, 1)
    } catch (err) {
      if (!(err instanceof PayloadError)) throw err
      continue
    }
    accepted += 1
    const parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(mutated))
    t.strictSame(JSON.parse(result.toString()), { ...parsed, rotation_version: 1 }) ||
      t.comment(mutated.toString('hex'))
  }
  t.ok(accepted > 100, 'some mutations are harmless')
})
