import t from 'tap'
import { readCredentialPayload } from '../../src/credentials/payload.ts'

/** The resolver's canonical form; values are JSON text as it is written. */
function payload(
  changes: { username?: string; domain?: string | undefined; password?: string; tail?: string } = {},
): Buffer {
  const { username = '"svc"', domain, password = '"pw"', tail = ',"rotation_version":3' } = changes
  const domainMember = domain === undefined ? '' : `,"domain":${domain}`
  return Buffer.from(
    `{"version":1,"protocol":"rdp","username":${username}${domainMember},"password":${password}${tail}}`,
  )
}

function passwordOf(literal: string): string {
  return readCredentialPayload(payload({ password: literal })).password.toString('utf16le')
}

t.test('the canonical payload is read whole, with and without a domain', async t => {
  t.same(readCredentialPayload(payload({ domain: '"CORP"' })), {
    username: 'svc',
    domain: 'CORP',
    password: Buffer.from('pw', 'utf16le'),
  })
  t.match(readCredentialPayload(payload()), { username: 'svc', domain: '' })
})

t.test('every password is read as JSON.parse would read it', async t => {
  const characters = [
    'plain',
    ' spaces ',
    'quote " and backslash \\ and slash /',
    'controls \b\f\n\r\t\u0001\u001f\u007f',
    'ümläut ß é',
    '漢字 ﷽ \uffff',
    'emoji 😀 and 𝄞 at the end 𐀀',
    '\u0080\u07ff\u0800\ud7ff\ue000\u{10000}\u{10ffff}',
    '"password":"other"',
    '\\u0041 is not an escape',
    'x'.repeat(255),
    '😀'.repeat(127),
    '',
  ]
  for (const text of characters) {
    const escaped = text.replace(/[\s\S]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    for (const literal of [
      JSON.stringify(text),
      `"${escaped}"`,
      `"${escaped.replace(/[a-f]/g, hex => hex.toUpperCase())}"`.replaceAll('\\U', '\\u'),
    ]) {
      t.equal(passwordOf(literal), JSON.parse(literal), JSON.stringify(text).slice(0, 40))
    }
  }
  t.equal(passwordOf('"\\/\\b\\f\\n\\r\\t\\"\\\\"'), '/\b\f\n\r\t"\\')
})

t.test('text that looks like the password inside another value is not taken for it', async t => {
  const decoy = '"password":"decoy","'
  for (const [username, domain] of [
    [JSON.stringify(decoy), undefined],
    [JSON.stringify('svc'), JSON.stringify(decoy)],
    [JSON.stringify('","password":"decoy'), JSON.stringify('\\')],
    [`"${[...decoy].map(c => `\\u00${c.charCodeAt(0).toString(16)}`).join('')}"`, undefined],
  ] as const) {
    const read = readCredentialPayload(payload({ username, domain, password: '"real"' }))
    t.equal(read.password.toString('utf16le'), 'real')
    t.equal(read.username, JSON.parse(username))
  }
})

t.test('the password is a Buffer of its own, and the payload can be zeroed behind it', async t => {
  const bytes = payload({ password: '"canary-password"' })
  const { password } = readCredentialPayload(bytes)
  bytes.fill(0)
  t.equal(password.toString('utf16le'), 'canary-password')
  t.equal(password.buffer.byteLength, password.byteLength, 'not a view of a larger one')
})

t.test('a payload in a larger buffer is read within its bounds', async t => {
  const inner = payload({ password: '"pw"' })
  const outer = Buffer.concat([Buffer.from('{"password":"outside"}'), inner, Buffer.from('"password":"behind"')])
  const view = new Uint8Array(outer.buffer, outer.byteOffset + 22, inner.length)
  t.equal(readCredentialPayload(view).password.toString('utf16le'), 'pw')
})

t.test('a payload that is cut at any byte is refused', async t => {
  const whole = payload({ username: '"s\\"vc"', domain: '"CÖRP"', password: '"p\\u0041ß😀\\n"' })
  for (let size = 0; size < whole.length; size++) {
    t.throws(() => readCredentialPayload(whole.subarray(0, size)), RangeError, `${size} bytes`)
  }
  t.ok(readCredentialPayload(whole))
})

t.test('whatever is not of version 1 is refused', async t => {
  const refused: readonly (readonly [string, Buffer])[] = [
    ['another version', Buffer.from('{"version":2,"protocol":"rdp","username":"u","password":"p"}')],
    ['no version', Buffer.from('{"protocol":"rdp","username":"u","password":"p"}')],
    ['another protocol', Buffer.from('{"version":1,"protocol":"ssh","username":"u","password":"p"}')],
    ['no username', Buffer.from('{"version":1,"protocol":"rdp","password":"p"}')],
    ['an empty username', payload({ username: '""' })],
    ['a username that is a number', payload({ username: '7' })],
    ['a username of 256 units', payload({ username: JSON.stringify('u'.repeat(256)) })],
    ['half a character as username', payload({ username: '"\\ud800"' })],
    ['NUL in the username', payload({ username: '"a\\u0000b"' })],
    ['a domain that is null', payload({ domain: 'null' })],
    ['a domain of 256 units', payload({ domain: JSON.stringify('d'.repeat(256)) })],
    ['no password', Buffer.from('{"version":1,"protocol":"rdp","username":"u"}')],
    ['a password that is a number', payload({ password: '7' })],
    ['a password of 256 units', payload({ password: JSON.stringify('x'.repeat(256)) })],
    ['a password of 255 units and a pair', payload({ password: JSON.stringify(`${'x'.repeat(254)}😀`) })],
    ['NUL in the password', payload({ password: '"a\\u0000b"' })],
    ['two passwords', Buffer.from('{"version":1,"protocol":"rdp","username":"u","password":"a","password":"b"}')],
    [
      'a password deeper inside',
      Buffer.from('{"version":1,"protocol":"rdp","username":"u","domain":{"password":"p"}}'),
    ],
    ['an unknown member', payload({ tail: ',"extra":1' })],
    ['an array', Buffer.from('[{"password":"p"}]')],
    ['more behind it', Buffer.concat([payload(), Buffer.from('x')])],
    ['a bare control character', payload({ password: '"a\nb"' })],
    ['an unknown escape', payload({ password: '"\\x41"' })],
    ['an escape of three digits', payload({ password: '"\\u041"' })],
    ['an escape with a sign', payload({ password: '"\\u+041"' })],
    ['bytes that are not UTF-8', Buffer.concat([Buffer.from('{"password":"'), Buffer.of(0xc3), Buffer.from('"}')])],
    ['an overlong slash', Buffer.concat([Buffer.from('{"password":"'), Buffer.of(0xc0, 0xaf), Buffer.from('"}')])],
    ['nothing', Buffer.alloc(0)],
  ]
  for (const [name, bytes] of refused) t.throws(() => readCredentialPayload(bytes), RangeError, name)
})

t.test('no refusal holds a part of the payload', async t => {
  const canary = 'canary'
  for (const bytes of [
    payload({ username: `"${canary}`, password: `"${canary}"` }),
    payload({ username: `"${canary}"`, password: `"${canary}\\x"` }),
    payload({ username: `"${canary}"`, tail: `,"${canary}":"${canary}"` }),
    Buffer.from(`{"password":"${canary}"${canary}`),
    Buffer.from(`"password":"${canary}`),
  ]) {
    try {
      readCredentialPayload(bytes)
      t.fail('is refused')
    } catch (error) {
      t.notMatch(`${(error as Error).stack} ${JSON.stringify(error)}`, canary)
      t.equal((error as Error).cause, undefined)
    }
  }
})
