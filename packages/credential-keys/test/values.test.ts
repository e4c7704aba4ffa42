import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { isCredentialValue, MAX_VALUE_CHARACTERS } from '../src/values.ts'

const base64 = (text: string | Buffer) => Buffer.from(text as string).toString('base64')
const base64url = (text: string) => Buffer.from(text).toString('base64url')
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const ed = generateKeyPairSync('ed25519')
const pem = rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const der = (key: KeyObject, type: 'pkcs1' | 'pkcs8' | 'sec1') =>
  base64(key.export({ type, format: 'der' } as never) as unknown as Buffer)
const jwt = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url('{"sub":"x"}')}.${base64url('signature')}`

const REFUSED: Readonly<Record<string, readonly string[]>> = {
  private_key: [
    pem,
    pem.replaceAll('\n', '\\n'),
    pem.replaceAll('\n', ' '),
    pem.slice(0, 40),
    base64(pem),
    base64(pem).replaceAll(/(.{76})/g, '$1\n'),
    base64(base64(pem)),
    `x/${base64(pem)}`,
    Buffer.from(pem).toString('hex'),
    encodeURIComponent(pem),
    ec.privateKey.export({ type: 'sec1', format: 'pem' }).toString(),
    der(rsa.privateKey, 'pkcs1'),
    der(rsa.privateKey, 'pkcs8'),
    der(ec.privateKey, 'sec1'),
    der(ed.privateKey, 'pkcs8'),
    JSON.stringify(rsa.privateKey.export({ format: 'jwk' })),
    '-----BEGIN OPENSSH PRIVATE KEY-----',
    '-----BEGIN ENCRYPTED PRIVATE KEY-----',
    '-----BEGIN PGP PRIVATE KEY BLOCK-----',
    '---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----',
    'PuTTY-User-Key-File-3: ssh-ed25519',
    base64('openssh-key-v1\0\0\0\0\u0004none'),
    'AGE-SECRET-KEY-1QQQQ',
  ],
  jwt: [
    jwt,
    `token ${jwt}`,
    `aaaaaaaa.${jwt}`,
    `${base64url('{"alg":"dir","enc":"A256GCM"}')}..aXY.Y2lwaGVy.dGFn`,
    `${base64url('{ "typ" : "JWT" }')}.e30.`,
    base64(jwt),
  ],
  url_credentials: [
    'postgres://user:secretly@db/x',
    'redis://:p@cache',
    'https://u:p@h',
    'https%3A%2F%2Fu%3Ap%40h',
    'https:\\/\\/u:p@h',
    'https://u:p\\u0040h',
    '//u:p@h',
    'user:pass@host',
    'user:pass@host:3389',
    'DOMAIN\\user:pass@[2001:db8::1]',
    base64('postgres://user:secretly@db/x'),
  ],
  assignment: [
    'Server=db;User Id=sa;Password=x;',
    'a;pwd = x',
    'DefaultEndpointsProtocol=https;AccountKey=abc==',
    'Endpoint=sb://x/;SharedAccessKey=abc',
    '{"password":"x"}',
    "{'token': 'x'}",
    'password: hunter2',
    'the password: hunter2',
    `Password${' '.repeat(50)}= x`,
    `${'x'.repeat(300)}_password=1`,
    'https://host/?id=1&access_token=abc',
    '<password>x</password>',
    '<Password encoding="plain">x</Password>',
    'ｐassword=x',
    'pass\u200bword=x',
    'user_password=x',
    base64('{"username":"bob","password":"hunter2"}'),
    'a=1,'.repeat(300),
  ],
  command_line: [
    'xfreerdp /u:bob /p:hunter2',
    'mysql --password hunter2',
    'curl -u bob:x',
    'password 51:b:01000000',
    'machine h login l password p',
  ],
  vendor_token: [
    'AKIAIOSFODNN7EXAMPLE',
    'ASIAIOSFODNN7EXAMPLE',
    `ghp_${'a'.repeat(36)}`,
    `github_pat_${'1'.repeat(30)}`,
    `glpat-${'x'.repeat(20)}`,
    'xoxb-1234567890-abc',
    `sk_live_${'a'.repeat(24)}`,
    `hvs.${'a'.repeat(30)}`,
    `s.${'aB3'.repeat(8)}`,
    'ya29.abcdefghij',
    `npm_${'a'.repeat(36)}`,
    `rap_at_${'a'.repeat(20)}`,
  ],
  authorization_header: [
    `Basic ${base64('user:pass')}`,
    `basic ${base64('a:b')}`,
    'Bearer abcdef1234567890',
    'DPoP abcdef1234567890',
  ],
  password_hash: [
    'aad3b435b51404eeaad3b435b51404ee:31d6cfe0d16ae931b73c59d7e0c089c0',
    '$6$salt$hash',
    '$2b$10$abcdefghijk$',
    '$argon2id$v=19$m=1$x',
    '{SSHA}abcdefghijk',
  ],
}

const ALLOWED: readonly string[] = [
  '',
  'strict',
  'Rack A7, floor 3',
  'ab'.repeat(32),
  Array.from({ length: 32 }, () => 'AB').join(':'),
  `pin-sha256="${base64(Buffer.alloc(32, 7))}"`,
  'SHA256:abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ',
  '4f2b1c1e-6b7d-4b1e-9d50-0c5f1d2f3a4b',
  'https://wiki.example/page?id=5#part',
  'https://host:8443/@scope/package',
  `https://registry:5000/image@sha256:${'a'.repeat(64)}`,
  `nginx:1.25@sha256:${'a'.repeat(64)}`,
  'ssh://git@host/repository',
  'host:3389',
  '[2001:db8::1]:3389',
  '10.0.0.1:3389',
  'desktop-17.site-north.example.com',
  'bob@example.com',
  'mailto:bob@example.com',
  'sip:bob@example.com',
  'Basic Configuration of the lab',
  'bearer of good news',
  rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  base64(rsa.publicKey.export({ type: 'spki', format: 'der' })),
  `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'a'.repeat(43)}`,
  'rap-secret://org/4f2b1c1e-6b7d-4b1e-9d50-0c5f1d2f3a4b/resources/4f2b1c1e-6b7d-4b1e-9d50-0c5f1d2f3a4b/rdp-primary',
  'spiffe://rap.example/worker/w1',
  '2026-01-01T10:00:00Z',
  'C:\\Program Files\\Tool',
  'CN=desktop,OU=lab,DC=example,DC=com',
  'Windows Server 2022 Datacenter',
  'image 9f86d081884c7d659a2feaa0c55ad015',
]

for (const [rule, values] of Object.entries(REFUSED)) {
  t.test(`a text that holds a secret by its shape is refused: ${rule}`, async t => {
    for (const value of values) {
      t.equal(isCredentialValue(value), rule, value.slice(0, 60))
      t.ok(isCredentialValue(`see ${value} there`), `inside a sentence: ${value.slice(0, 60)}`)
    }
  })
}

t.test('fingerprints, ids, addresses, public keys and sentences pass', async t => {
  for (const value of ALLOWED) t.equal(isCredentialValue(value), undefined, value.slice(0, 60))
})

t.test('a text over the bound is refused unread', async t => {
  t.equal(isCredentialValue('x '.repeat(MAX_VALUE_CHARACTERS / 2)), undefined)
  t.equal(isCredentialValue(`${'x '.repeat(MAX_VALUE_CHARACTERS / 2)}x`), 'value_too_long')
})

t.test('any user and password in a URL are found', async t => {
  const part = fc.string({ unit: fc.constantFrom(...'abcXYZ019-._~!$&*+'), minLength: 1, maxLength: 40 })
  fc.assert(
    fc.property(
      part,
      fc.string({ unit: fc.constantFrom(...'abcXYZ-._~!$&*+/?#:'), minLength: 1, maxLength: 40 }),
      (user, password) => {
        return isCredentialValue(`amqp://${user}:${password}@host/x`) !== undefined
      },
    ),
  )
  t.pass()
})

t.test('time is linear: a text twice as long takes about twice as long, whatever it is made of', async t => {
  const UNITS = [
    ...[
      'a',
      'a:',
      '//',
      '//a:',
      'a=',
      'a =',
      '-----BEGIN ',
      '"kty"',
      '"d":"',
      'eyJ',
      'eyJ.',
      'a.',
      '.',
      '-',
      '/',
      '%25',
      '%',
      '\\u0041',
      '\\',
    ],
    ...[
      'basic ',
      'bearer ',
      ' ',
      '\n',
      '<a ',
      '<',
      'xox',
      's.',
      '$1$',
      '-u ',
      'login ',
      'login a ',
      'a@',
      '1',
      '12345678:AA',
      'é',
      '𝐚',
      '\u200b',
    ],
    ...['aaaaaaaaaaaaaaaaaaaa+', `${'p'.repeat(64)} `, 'ab ', 'MII', 'LS0t', '{SHA}', 'key-', 'dapi'],
  ]
  for (const unit of UNITS) {
    const text = unit.repeat(Math.floor(MAX_VALUE_CHARACTERS / unit.length))
    const began = process.cpuUsage()
    isCredentialValue(text)
    // Ordinary is 1 to 10 ms of this process, however busy the machine is; a quadratic step over 16384 characters takes seconds.
    t.ok(process.cpuUsage(began).user < 500_000, JSON.stringify(unit))
  }
})
