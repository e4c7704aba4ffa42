import { randomBytes, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { KeyProviderError } from '@rap/key-provider'
import { createLogger, Secret } from '@rap/service-kit'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { problems } from '../src/errors.ts'
import type { Answer } from './support/https.ts'
import { testKeys, withKeys } from './support/keys.ts'
import { RDP_PAYLOAD, seal } from './support/seal.ts'
import {
  leaseToken,
  putSecret,
  resolve,
  secretPath,
  seedPlace,
  startWorld,
  type TokenChanges,
  writeLease,
} from './support/world.ts'

// INVARIANT under test: a secret is in no answer, log line, stored row, Redis key or audit event, on any path.
const CANARY = `canary-${randomBytes(9).toString('hex')}`
const METADATA_CANARY = `metadata-${randomBytes(9).toString('hex')}`

/** What the canary looks like in the encodings that a secret could hide in. */
function spellings(canary: string): string[] {
  const bytes = Buffer.from(canary)
  const base64 = [0, 1, 2].flatMap(shift => {
    // Characters that do not depend on the neighbours: whole groups of the text, from each of the three alignments.
    const whole = bytes.subarray(shift, shift + Math.floor((bytes.length - shift) / 3) * 3)
    return [whole.toString('base64'), whole.toString('base64url')]
  })
  const utf16 = Buffer.from(canary, 'utf16le')
  return [
    canary,
    bytes.toString('hex'),
    utf16.toString('hex'),
    utf16.toString('latin1'),
    [...bytes].join(','),
    ...base64,
  ]
}

const KEYS = ['key-1', 'key-2', 'key-3']
const world = await startWorld(t, { keys: testKeys(KEYS) })
const production = await world.startResolver()
const development = await world.startResolver({ isProduction: false })
const answers: string[] = []
const tokens: string[] = []
/** Every code that a caller was answered with. */
const codes = new Set<string>()
/** Data keys that a provider has let out in an error, in the forms of its message. */
const dataKeys: string[] = []

function keep<A extends Answer>(answer: A): A {
  if (typeof answer.body?.code === 'string') codes.add(answer.body.code)
  answers.push(answer.text, JSON.stringify(answer.headers))
  return answer
}

async function resolveOnce(place: Parameters<typeof leaseToken>[1], changes: TokenChanges = {}, resolver = production) {
  const token = await leaseToken(world, place, changes)
  tokens.push(token)
  return keep(await resolve(resolver, world.worker, token))
}

t.test('a secret is written, resolved, rotated and deleted', async t => {
  const place = await seedPlace(world)
  const payload = { ...RDP_PAYLOAD, username: `${CANARY}-user`, domain: `${CANARY}-domain`, password: CANARY }
  for (let version = 1; version <= 2; version++) {
    t.equal(keep(await putSecret(world, production, place, { payload })).status, 200)
    await writeLease(world, place)
    const answer = await resolveOnce(place)
    t.match((await answer.open()).payload, CANARY, 'the worker does get it')
  }
  const path = secretPath(place)
  keep(await production.call(world.controlPlane, { method: 'GET', path }))
  const body = { actor_user_id: place.user_id, request_id: randomUUID() }
  t.equal(keep(await production.call(world.controlPlane, { method: 'DELETE', path, body })).status, 200)
})

t.test('payloads that break a rule are refused', async t => {
  const place = await seedPlace(world)
  const text = JSON.stringify({ ...RDP_PAYLOAD, password: CANARY })
  const payloads: unknown[] = [
    { ...RDP_PAYLOAD, [CANARY]: CANARY },
    { ...RDP_PAYLOAD, protocol: CANARY },
    { ...RDP_PAYLOAD, version: CANARY },
    { ...RDP_PAYLOAD, password: { value: CANARY } },
    { ...RDP_PAYLOAD, username: `${CANARY}\n` },
    { ...RDP_PAYLOAD, password: CANARY.repeat(20) },
    [CANARY],
    CANARY,
    Buffer.from(`${text}${CANARY}`),
    Buffer.from(text.slice(0, -2)),
    Buffer.concat([Buffer.from(text), Buffer.of(0xff)]),
    Buffer.from(CANARY.repeat(328)),
  ]
  for (const payload of payloads) {
    const answer = keep(await putSecret(world, production, place, { payload }))
    t.match({ status: answer.status, code: answer.body.code }, { status: 422, code: 'ERR_SECRET_PAYLOAD_INVALID' })
  }
})

t.test('a client that forgets to seal is refused', async t => {
  const place = await seedPlace(world)
  const path = secretPath(place)
  const order = { actor_user_id: place.user_id, request_id: randomUUID() }
  const payload = { ...RDP_PAYLOAD, password: CANARY }
  const bodies: unknown[] = [
    payload,
    { sealed: payload, ...order },
    { sealed: JSON.stringify(payload), ...order },
    { sealed: Buffer.from(JSON.stringify(payload)).toString('base64url'), ...order },
    { sealed: 'x', ...order, payload },
    { sealed: 'x', ...order, actor_user_id: CANARY },
    { sealed: 'x', ...order, request_id: ` ${CANARY}` },
    { sealed: 'x', ...order, expected_version: CANARY },
    `{"sealed":"${CANARY}`,
    CANARY,
    `"${CANARY}"`,
    CANARY.repeat(1000),
  ]
  for (const body of bodies) {
    for (const headers of [{}, { 'content-type': 'text/plain' }, { 'content-type': `application/${CANARY}` }]) {
      const answer = keep(await production.call(world.controlPlane, { method: 'PUT', path, body, headers }))
      t.ok(400 <= answer.status && answer.status < 500)
    }
  }
  const headers = { authorization: `Bearer ${CANARY}`, cookie: `a=${CANARY}`, 'x-secret': CANARY, traceparent: CANARY }
  keep(await production.call(world.controlPlane, { method: 'GET', path: `${path}?password=${CANARY}`, headers }))
  for (const recipient_jwk of [
    CANARY,
    { kty: 'oct', k: CANARY },
    { kty: 'EC', crv: 'P-256', x: CANARY, y: CANARY, d: CANARY },
  ]) {
    const body = { lease_token: CANARY, recipient_jwk }
    t.equal(keep(await production.call(world.worker, { method: 'POST', path: '/v1/resolve', body })).status, 400)
  }
})

t.test('seals that do not open, and blobs for another resource, are refused', async t => {
  const [place, other] = [await seedPlace(world), await seedPlace(world)]
  const jwk = (await production.call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })).body
  const payload = { ...RDP_PAYLOAD, password: CANARY }
  const sealed = await seal(jwk, place, { payload })
  for (const [to, blob] of [
    [other, sealed],
    [place, sealed.slice(0, -30)],
    [place, `${sealed.slice(0, -3)}AAA`],
    [place, await seal(jwk, place, { payload, header: { kid: 'A'.repeat(43) } })],
  ] as const) {
    const body = { sealed: blob, actor_user_id: to.user_id, request_id: randomUUID() }
    t.equal(keep(await production.call(world.controlPlane, { method: 'PUT', path: secretPath(to), body })).status, 422)
  }
})

t.test('every refusal of a resolve, a changed row and a failing part', async t => {
  const place = await seedPlace(world)
  await putSecret(world, production, place, { payload: { ...RDP_PAYLOAD, password: CANARY } })
  t.equal((await resolveOnce(place)).status, 403, 'no lease')
  await writeLease(world, place)
  t.equal((await resolveOnce(place, { claims: { resource_id: randomUUID() } })).status, 403)
  t.equal((await resolveOnce(place, { ageSeconds: 600 })).status, 403)
  const failing = (make: (key: string) => unknown) =>
    world.startResolver({
      keys: withKeys(world.keys, {
        unwrap: async (wrapped, context) => {
          // The worst of providers: it has the key, and fails with it in its hands and on its lips.
          const dataKey = await world.keys.unwrap(wrapped, context)
          const forms = [dataKey.toString('hex'), dataKey.toString('base64'), dataKey.toString('latin1')]
          dataKeys.push(...forms)
          const text = `cannot use ${forms.join(' ')} for ${CANARY}`
          throw Object.assign(make(text) as object, { dataKey, cause: new Error(text) })
        },
      }),
    })
  for (const make of [
    (text: string) => new Error(text),
    (text: string) => new TypeError(`${text}\n    at ${text}`),
    (text: string) => new AggregateError([new Error(text)], text),
    (text: string) => Object.assign(new Error(text), { name: text, code: text, facts: { reason: text } }),
    (text: string) => ({ message: text }),
    (text: string) => Object.assign(new Error(''), { stack: text }),
  ]) {
    t.equal((await resolveOnce(place, {}, await failing(make))).body.code, 'ERR_INTERNAL')
  }
  await world.database.superuser`
    update secrets.resource_secrets set nonce = decode(repeat('00', 12), 'hex') where secret_ref = ${place.secret_ref}`
  t.equal((await resolveOnce(place)).status, 403)
})

t.test('credentials in metadata', async t => {
  const metadata = { username: METADATA_CANARY, password: METADATA_CANARY }
  for (const [change, status] of [
    [{}, 200],
    [{ password: { value: METADATA_CANARY } }, 403],
    [{ password: METADATA_CANARY.repeat(20) }, 403],
  ] as const) {
    const place = await seedPlace(world, { secretRef: null, metadata: { ...metadata, ...change } })
    await writeLease(world, place)
    t.equal((await resolveOnce(place, { claims: { secret_ref: null } }, development)).status, status)
    t.equal((await resolveOnce(place, { claims: { secret_ref: null } })).status, 403)
  }
})

/** What an attacker, or a mistake, puts beside a request: none of it is for this service. */
const BESIDE = {
  authorization: `Bearer ${CANARY}`,
  cookie: `session=${CANARY}`,
  'x-secret': CANARY,
  'user-agent': 'test',
}

async function control(method: string, path: string, body?: unknown) {
  return keep(
    await production.call(world.controlPlane, { method, path, headers: BESIDE, ...(body !== undefined && { body }) }),
  )
}

t.test('every problem of the service, with the canary in force, in the body or beside it', async t => {
  const { superuser } = world.database
  const place = await seedPlace(world)
  const order = { actor_user_id: place.user_id, request_id: randomUUID() }
  const payload = { ...RDP_PAYLOAD, password: CANARY }
  const path = secretPath(place)
  const answers = async (code: string, answer: Promise<Answer>) => t.equal((await answer).body?.code, code)

  await answers('ERR_SECRET_NOT_FOUND', control('GET', path))
  await answers('ERR_SECRET_NOT_FOUND', control('DELETE', path, order))
  const nowhere = { ...place, resource_id: randomUUID() }
  await answers(
    'ERR_RESOURCE_NOT_FOUND',
    (async () => keep(await putSecret(world, production, nowhere, { payload })))(),
  )
  for (let version = 1; version <= 2; version++) {
    t.equal(keep(await putSecret(world, production, place, { payload })).status, 200)
  }
  await answers(
    'ERR_SECRET_VERSION_CONFLICT',
    (async () => keep(await putSecret(world, production, place, { payload, expected_version: 7 })))(),
  )
  await answers('ERR_SECRET_VERSION_NOT_FOUND', control('POST', `${path}/rollback`, { to_version: 99, ...order }))
  t.equal((await control('POST', `${path}/rollback`, { to_version: 1, ...order })).status, 200)
  await superuser`
    update secrets.resource_secrets set nonce = decode(repeat('00', 12), 'hex')
    where secret_ref = ${place.secret_ref} and version = 1`
  await answers('ERR_SECRET_UNREADABLE', control('POST', `${path}/rollback`, { to_version: 1, ...order }))

  const rotate = (source: string) => control('POST', '/v1/master-keys/rotate', { source, ...order })
  const retire = (key: string) => control('POST', `/v1/master-keys/${key}/retire`, order)
  await answers('ERR_VALIDATION', control('POST', '/v1/master-keys/rotate', { source: 'key-2', ...order, key: CANARY }))
  await answers('ERR_VALIDATION', control('POST', '/v1/master-keys/rotate', { source: ` ${CANARY}`, ...order }))
  t.equal((await control('GET', `/v1/master-keys?key=${CANARY}`)).status, 200, 'a query is neither read nor logged')
  await answers('ERR_MASTER_KEY_SOURCE_UNKNOWN', rotate('key-9'))
  await answers('ERR_MASTER_KEY_ALREADY_ACTIVE', rotate('key-1'))
  await answers('ERR_MASTER_KEY_UNKNOWN', retire('key-9'))
  await answers('ERR_MASTER_KEY_ACTIVE', retire('key-1'))
  t.equal((await retire('key-3')).status, 200)
  await answers('ERR_MASTER_KEY_RETIRED', rotate('key-3'))
  await superuser`
    insert into secrets.resolver_instances (instance_id, name, sources) values (${randomUUID()}, 'behind', '{key-1}')`
  await answers('ERR_MASTER_KEY_NOT_EVERYWHERE', rotate('key-2'))
  await superuser`delete from secrets.resolver_instances`
  t.equal((await rotate('key-2')).status, 200)
  await answers('ERR_MASTER_KEY_IN_USE', retire('key-1'))
  t.equal((await control('POST', '/v1/rewraps', order)).status, 202)
  await answers('ERR_REWRAP_RUNNING', control('POST', '/v1/rewraps', order))
  await answers('ERR_REWRAP_UNKNOWN', control('GET', `/v1/rewraps/${randomUUID()}`))
  for (const path of ['/v1/master-keys', '/v1/rewraps', '/v1/rewraps/plan'])
    t.equal((await control('GET', path)).status, 200)

  const [source] = world.keys.sources
  const away = await world.startResolver({
    keys: withKeys(world.keys, {
      sources: [
        {
          ...(source as NonNullable<typeof source>),
          name: 'away',
          newestKeyId: async () => {
            throw new KeyProviderError('ERR_KEY_UNAVAILABLE', 'provider is away', { key_id: 'away' })
          },
        },
      ],
    }),
  })
  const body = { source: 'away', ...order }
  await answers(
    'ERR_MASTER_KEY_PROVIDER',
    (async () => keep(await away.call(world.controlPlane, { method: 'POST', path: '/v1/master-keys/rotate', body })))(),
  )

  // The active key changes while a new sealing key waits to be wrapped with it.
  await superuser`update secrets.sealing_keys set superseded_at = now() where superseded_at is null`
  const changing = superuser.begin(async tx => {
    await tx`update secrets.master_keys set state = 'available' where state = 'active'`
    const asked = control('GET', '/v1/sealing-key')
    await waitFor(
      async () => (await superuser`select from pg_stat_activity where wait_event_type = 'Lock'`).length > 0,
      { what: 'a request that waits for the key' },
    )
    return { asked }
  })
  await answers('ERR_MASTER_KEY_CHANGED', (await changing).asked)
  await answers('ERR_MASTER_KEY_NONE_ACTIVE', control('GET', '/v1/sealing-key'))
  await superuser`
    update secrets.master_keys set state = 'active', activated_at = now() where key_id = 'key-2'`

  const missing = Object.keys(problems).filter(code => !codes.has(code))
  t.strictSame(missing, [], 'there is no problem of src/errors.ts that was not provoked')
})

/** Where a value can stand in what is logged, other than in a text that somebody has written for the log. */
const POSITIONS: Readonly<Record<string, (canary: string) => object>> = {
  'a field that nobody named': canary => ({ favourite: canary }),
  "a credential's name": canary => ({ password: canary, private_key_id: canary, token: canary, secret_bytes: canary }),
  'a nested field': canary => ({
    facts: { inner: { value: canary } },
    reason: { deep: { deeper: { value: canary } } },
  }),
  'the items of an array': canary => ({ errors: [{ value: canary }, [{ value: canary }]] }),
  'a Buffer': canary => ({ detail: Buffer.from(canary), reason: [Buffer.from(canary)] }),
  'a typed array and its memory': canary => ({
    detail: new Uint8Array(Buffer.from(canary)),
    reason: new Uint8Array(Buffer.from(canary)).buffer,
  }),
  'a Map and a Set': canary => ({ detail: new Map([['code', canary]]), reason: new Set([canary]) }),
  'a class instance': canary => ({
    detail: new (class Holder {
      code = canary
    })(),
  }),
  'a Secret': canary => ({ detail: Secret.from(canary) }),
  'a function and a symbol': canary => ({ detail: () => canary, reason: Symbol(canary) }),
  'fields of an error': canary => ({
    err: Object.assign(new Error('failed'), { password: canary, query: canary, parameters: [canary], detail: canary }),
  }),
  'facts of an error': canary => ({
    err: Object.assign(new Error('failed'), { facts: { password: canary, x: [canary] } }),
  }),
  'the cause of an error': canary => ({
    err: new Error('failed', {
      cause: Object.assign(new Error('inner'), { dataKey: Buffer.from(canary), body: canary }),
    }),
  }),
  'a cause that is no error': canary => ({ err: new Error('failed', { cause: canary }) }),
  'something thrown that is no error': canary => ({ err: canary }),
  'a request': canary => ({
    req: {
      method: 'POST',
      url: `/v1/resolve?lease_token=${canary}`,
      headers: { authorization: canary, cookie: canary, 'x-client': canary },
      body: { password: canary },
    },
  }),
  'an answer': canary => ({ res: { statusCode: 200, body: canary, headers: { 'set-cookie': canary } } }),
}

/** Texts with the shape of a secret are taken out of messages too. */
const SHAPES: readonly ((canary: string) => string)[] = [
  canary => `${Buffer.from('{"alg":"none"}').toString('base64url')}.${canary}.${canary}`,
  canary => `-----BEGIN PRIVATE KEY-----\n${Buffer.from(canary).toString('hex')}\n-----END PRIVATE KEY-----`,
  canary => `Bearer ${canary}`,
  canary => `postgres://rap:${canary}@db.example.test/rap`,
]

t.test('at every level and in every position', async t => {
  const lines: string[] = []
  const logger = createLogger({
    service: 'secret-resolver',
    level: 'trace',
    fields: ['key_ids', 'verification'],
    destination: { write: line => lines.push(line) },
  })
  const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const
  for (const level of levels) {
    for (const place of Object.values(POSITIONS)) {
      logger[level](place(CANARY), 'a message')
      logger.child(place(CANARY))[level]({ event: 'of_a_child' }, 'a message')
    }
    for (const shape of SHAPES) {
      const text = shape(CANARY)
      logger[level](`a message with ${text}`)
      logger[level]({ detail: text }, 'a message')
      logger[level]({ err: new Error(text, { cause: new Error(text) }) }, 'a message')
    }
  }
  const text = lines.join('')
  for (const level of levels) t.match(text, `"level":"${level}"`)
  for (const spelling of spellings(CANARY)) t.notOk(text.includes(spelling), spelling.slice(0, 24))
})

/** The arguments of every call of a logger in a source text. */
function logCalls(source: string): string[] {
  return [...source.matchAll(/\b(?:logger|log)\??\.(?:trace|debug|info|warn|error|fatal)\(/g)].map(call => {
    const from = call.index + call[0].length
    let depth = 1
    let at = from
    for (; at < source.length && depth > 0; at++) depth += { '(': 1, ')': -1 }[source[at] as string] ?? 0
    return source.slice(from, at - 1)
  })
}

t.test('no text for the log is put together from values', async t => {
  const folders = ['../src', '../../../packages/service-kit/src', '../../../packages/key-provider/src']
  const calls = folders.flatMap(folder => {
    const root = join(import.meta.dirname, folder)
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
    return files.flatMap(name => logCalls(readFileSync(join(root, name), 'utf8')).map(call => ({ name, call })))
  })
  t.ok(calls.length > 20)
  for (const { name, call } of calls) {
    t.notMatch(call, /`[^`]*\$\{/, `${name}: ${call.slice(0, 60)}`)
    t.notMatch(call, /'\s*\+|\+\s*'/, name)
  }
})

t.test('the canary is nowhere', async t => {
  const { server, urls } = world.database
  const keys = await world.redis.keys('*')
  const values = await Promise.all(
    keys.map(async key => ((await world.redis.type(key)) === 'string' ? await world.redis.get(key) : '')),
  )
  const dump = await server.dump(urls.superuser)
  const audit = JSON.stringify(await world.database.superuser`select * from rap.audit_events`)
  const places: Record<string, string> = {
    'the log': world.log.join(''),
    'the answers': answers.join('\n'),
    Redis: JSON.stringify([keys, values]),
    'the audit': audit,
    'the Postgres log': server.log(),
  }
  t.match(places['the log'], /"level":"trace"|"level":"info"/, 'the log was kept')
  t.match(dump, /resource_secrets/, 'the dump was made')
  for (const [name, text] of Object.entries({ ...places, 'the dump': dump })) {
    for (const spelling of spellings(CANARY)) t.notOk(text.includes(spelling), `${name}: ${spelling.slice(0, 24)}`)
  }
  for (const [name, text] of Object.entries(places)) {
    for (const spelling of spellings(METADATA_CANARY)) t.notOk(text.includes(spelling), `${name}: from metadata`)
  }
  t.ok(dataKeys.length >= 15, 'data keys were let out')
  for (const key of dataKeys)
    t.notOk(places['the log']?.includes(key) || places['the answers']?.includes(key), 'no data key')
  for (const token of tokens) {
    const signature = token.split('.')[2] as string
    t.notOk(places['the log']?.includes(signature) || dump.includes(signature), 'no lease token either')
  }
})
