import { randomBytes, randomUUID } from 'node:crypto'
import t from 'tap'
import type { Answer } from './support/https.ts'
import { withKeys } from './support/keys.ts'
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

const world = await startWorld(t)
const production = await world.startResolver()
const development = await world.startResolver({ isProduction: false })
const answers: string[] = []
const tokens: string[] = []

function keep<A extends Answer>(answer: A): A {
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
  const failing = (error: unknown) =>
    world.startResolver({
      keys: withKeys(world.keys, {
        unwrap: async (wrapped, context) => {
          // The worst of providers: it has the key, and fails with it in its hands.
          const dataKey = await world.keys.unwrap(wrapped, context)
          throw Object.assign(error as object, { dataKey, cause: new Error('inner') })
        },
      }),
    })
  t.equal((await resolveOnce(place, {}, await failing(new Error('provider failed')))).status, 500)
  t.equal((await resolveOnce(place, {}, await failing(new TypeError('provider failed')))).status, 500)
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
  for (const token of tokens) {
    const signature = token.split('.')[2] as string
    t.notOk(places['the log']?.includes(signature) || dump.includes(signature), 'no lease token either')
  }
})
