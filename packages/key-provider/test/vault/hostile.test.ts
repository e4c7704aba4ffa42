import { randomBytes } from 'node:crypto'
import t from 'tap'
import { CONTEXT, contractDesk, errorOf, under } from './helper.ts'

type Change = (data: Readonly<Record<string, unknown>>) => Record<string, unknown>

const set =
  (members: Record<string, unknown>): Change =>
  data => ({ ...data, ...members })
const without =
  (name: string): Change =>
  data =>
    Object.fromEntries(Object.entries(data).filter(([member]) => member !== name))
const ciphertextOf = (version: number) => `vault:v${version}:${randomBytes(60).toString('base64')}`

const NO_CIPHERTEXT: readonly Change[] = [
  without('ciphertext'),
  set({ ciphertext: null }),
  set({ ciphertext: 7 }),
  set({ ciphertext: '' }),
  set({ ciphertext: `vault:v1:${'*'.repeat(20)}` }),
  set({ ciphertext: 'vault:v01:AAAA' }),
  set({ ciphertext: 'vault:v-1:AAAA' }),
  set({ ciphertext: 'vault:v1:AAAA\n' }),
  set({ ciphertext: `vault:v1:${'A'.repeat(8000)}` }),
  set({ key_version: 3 }),
]
const NO_DATA_KEY: readonly Change[] = [
  without('plaintext'),
  set({ plaintext: null }),
  set({ plaintext: '' }),
  set({ plaintext: randomBytes(31).toString('base64') }),
  set({ plaintext: randomBytes(33).toString('base64') }),
  set({ plaintext: randomBytes(16).toString('base64') }),
  set({ plaintext: `${randomBytes(32).toString('base64')}\n` }),
  set({ plaintext: randomBytes(32).toString('hex') }),
  set({ plaintext: 'é'.repeat(22) }),
]
const NO_PLAINTEXT: readonly Change[] = [
  without('plaintext'),
  set({ plaintext: '' }),
  set({ plaintext: 'A' }),
  set({ plaintext: 'AB==' }),
  set({ plaintext: ['AAAA'] }),
  set({ plaintext: randomBytes(4097).toString('base64') }),
]
const NO_KEY: readonly Change[] = [
  without('derived'),
  without('type'),
  without('latest_version'),
  without('exportable'),
  set({ derived: 'true' }),
  set({ latest_version: '2' }),
  set({ latest_version: 1.5 }),
  set({ latest_version: -1 }),
  set({ min_decryption_version: null }),
]

t.test('an answer that is not what was asked for is taken from no server', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  const tables: readonly (readonly [string, readonly Change[], () => Promise<unknown>])[] = [
    [
      'encrypt',
      [...NO_CIPHERTEXT, set({ ciphertext: ciphertextOf(2), key_version: 2 })],
      () => key.wrap(randomBytes(32), CONTEXT),
    ],
    [
      'rewrap',
      [...NO_CIPHERTEXT, set({ ciphertext: ciphertextOf(2), key_version: 2 })],
      () => key.rewrap!(under(wrapped), CONTEXT),
    ],
    ['datakey', [...NO_CIPHERTEXT, ...NO_DATA_KEY], () => key.generateDataKey!(CONTEXT)],
    ['decrypt', NO_PLAINTEXT, () => key.unwrap(wrapped, CONTEXT)],
    ['keys', NO_KEY, async () => (await desk.source()).newestKeyId()],
  ]
  for (const [operation, changes, call] of tables) {
    for (const [index, change] of changes.entries()) {
      const off = desk.server.inject(
        { kind: 'change', section: 'data', change },
        { path: `${desk.mount}/${operation}` },
      )
      const error = await errorOf(call())
      off()
      t.match(error, { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'answer' } }, `${operation} ${index}`)
      t.notMatch(`${error.message}${JSON.stringify(error.facts)}`, /AAAA|\*\*/, 'and none of it is told')
    }
  }
})

t.test('a log-in without a token, a lease or a plain word is none', async t => {
  const desk = await contractDesk(t)
  await (await desk.source()).create!()
  const auth = await desk.appRole(`path "${desk.mount}/keys/rap" { capabilities = ["read"] }`)
  const changes: readonly Change[] = [
    without('client_token'),
    without('lease_duration'),
    set({ client_token: '' }),
    set({ client_token: 7 }),
    set({ client_token: 'two words' }),
    set({ client_token: 'line\r\nx-injected: 1' }),
    set({ client_token: 'a'.repeat(9000) }),
    set({ lease_duration: -1 }),
    set({ lease_duration: 1e300 }),
    set({ lease_duration: '3600' }),
  ]
  for (const [index, change] of changes.entries()) {
    const off = desk.server.inject({ kind: 'change', section: 'auth', change }, { path: 'auth/' })
    await t.rejects(
      (await desk.source({ auth })).newestKeyId(),
      { code: 'ERR_KEY_UNAVAILABLE', facts: { operation: 'login', reason: 'answer' } },
      `${index}`,
    )
    off()
  }
})

t.test('an answer that has a member twice says nothing', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  for (const body of [
    '{"data":{"plaintext":"AAAA","plaintext":"AAAB"}}',
    '{"data":{"plaintext":"AAAA"},"data":{"plaintext":"AAAB"}}',
    '{"data":{"plaintext":"AAAA"}} {}',
    '{"data":{"plaintext":"AA\\u0041A"}}',
    `{"data":${'['.repeat(5000)}`,
    '{"data":{"plaintext":"AAAA"',
  ]) {
    desk.server.inject({ kind: 'body', body }, { path: `${desk.mount}/decrypt`, times: 1 })
    await t.rejects(
      key.unwrap(wrapped, CONTEXT),
      { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'answer' } },
      body.slice(0, 60),
    )
  }
})

t.test('a server that makes data keys with its latest version only is not asked to wrap with another', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  await source.create!()
  await source.rotate!()
  desk.server.ignoreDataKeyVersion(desk.mount)
  const key = source.key('main:v1')!
  const { dataKey, wrapped } = await key.generateDataKey!(CONTEXT)
  t.ok(wrapped.toString().startsWith('vault:v1:'))
  t.equal(dataKey.length, 32)
  t.same(await key.unwrap(wrapped, CONTEXT), dataKey)
  t.ok((await source.key('main:v2')!.generateDataKey!(CONTEXT)).wrapped.toString().startsWith('vault:v2:'))
})

t.test('bytes that are no ciphertext of the version cost no request', async t => {
  const desk = await contractDesk(t)
  const source = await desk.source()
  const key = source.key(await source.create!())!
  await key.wrap(randomBytes(32), CONTEXT)
  const sent = desk.server.requests.length
  for (const text of [
    'vault:v2:AAAA',
    'vault:v1',
    'vault:v1:AAA',
    'vault:v1:AA=A',
    'vault:v0:AAAA',
    'xault:v1:AAAA',
    '"',
    'vault:v1:","a":"',
    'vault:v11:AAAA',
  ]) {
    await t.rejects(key.unwrap(Buffer.from(text), CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' }, text)
  }
  await t.rejects(key.rewrap!(under(Buffer.from('vault:v1:","a":"')), CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' })
  const lengths = [
    () => key.unwrap(Buffer.alloc(0), CONTEXT),
    () => key.unwrap(Buffer.alloc(7000, 'A'), CONTEXT),
    () => key.wrap(Buffer.alloc(0), CONTEXT),
    () => key.wrap(Buffer.alloc(4097), CONTEXT),
    () => key.wrap(Buffer.alloc(32), Buffer.alloc(4097)),
    () => key.generateDataKey!(Buffer.alloc(4097)),
  ]
  for (const call of lengths) await t.rejects(async () => await call(), { code: 'ERR_KEY_INPUT_LENGTH' })
  t.equal(desk.server.requests.length, sent)
})

t.test('only ids of the source with a plain version name its keys', async t => {
  const source = await (await contractDesk(t)).source()
  for (const id of [
    'main',
    'main:',
    'main:v',
    'main:v0',
    'main:v01',
    'main:v1 ',
    'main:v1:v1',
    'main:v-1',
    'main:v1e3',
    'main:v1234567890',
    'Main:v1',
    'mai:v1',
    'mainx:v1',
    '',
    '__proto__',
  ]) {
    t.equal(source.key(id), undefined, JSON.stringify(id))
  }
  t.equal(source.key('main:v999999999')?.keyId, 'main:v999999999')
})
