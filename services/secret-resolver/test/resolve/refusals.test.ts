import { randomBytes, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'
import t, { type Test } from 'tap'
import type { Answer } from '../support/https.ts'
import { createSigner } from '../support/platform.ts'
import { type Place, seedAttachment, seedWorker } from '../support/seed.ts'
import {
  auditOf,
  ISSUER,
  leaseToken,
  putSecret,
  resolve,
  seedPlace,
  startWorld,
  type TokenChanges,
  writeLease,
} from '../support/world.ts'

const world = await startWorld(t)
// Windows that are over at once: every refusal here has its own row.
const resolver = await world.startResolver({ auditWindowMs: 0 })
const { controlPlane: sql } = world.database

/** A place whose resolve would succeed. */
async function ready(): Promise<Place> {
  const place = await seedPlace(world)
  await putSecret(world, resolver, place)
  await writeLease(world, place)
  return place
}

/** INVARIANT under test: every refusal has this one shape. */
function isDenial(t: Test, answer: Answer): void {
  t.equal(answer.status, 403)
  t.equal(answer.headers['content-type'], 'application/problem+json; charset=utf-8')
  t.strictSame(
    { ...answer.body, request_id: '' },
    {
      type: 'urn:rap:problem:ERR_RESOLVE_DENIED',
      title: 'The secret is not resolved',
      status: 403,
      code: 'ERR_RESOLVE_DENIED',
      request_id: '',
    },
  )
}

async function isRefused(t: Test, place: Place, reason: string, changes: TokenChanges = {}): Promise<void> {
  const answer = await resolve(resolver, world.worker, await leaseToken(world, place, changes))
  isDenial(t, answer)
  const organization = changes.claims?.organization_id ?? place.organization_id
  t.match((await auditOf(world, organization)).at(-1), {
    event: 'resource_secret_access_denied',
    outcome: 'refused',
    code: 'ERR_RESOLVE_DENIED',
    actor_id: world.worker.id,
    request_id: answer.body.request_id,
    details: { reason },
  })
}

t.test('a stolen lease token is refused to another worker, and stays good for its owner', async t => {
  const place = await ready()
  const thief = await world.platform.identity('worker')
  await seedWorker(sql, thief.id)
  const token = await leaseToken(world, place)
  isDenial(t, await resolve(resolver, thief, token))
  t.match((await auditOf(world, place.organization_id)).at(-1), {
    actor_id: thief.id,
    worker_id: place.worker_id,
    session_id: place.session_id,
    secret_ref: place.secret_ref,
    details: { reason: 'certificate_mismatch' },
  })
  t.equal((await resolve(resolver, world.worker, token)).status, 200)
})

t.test('a lease token is refused to another certificate of the same worker', async t => {
  const place = await ready()
  const renewed = await world.platform.identity('worker', world.worker.id)
  isDenial(t, await resolve(resolver, renewed, await leaseToken(world, place)))
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'certificate_mismatch' })
})

t.test('a lease token of another worker is refused, also where it names this certificate', async t => {
  const place = await ready()
  const other = randomUUID()
  await seedWorker(sql, other)
  await isRefused(t, place, 'worker_mismatch', { claims: { worker_id: other } })
})

t.test('a caller that is no worker is refused in the same words', async t => {
  const place = await ready()
  const token = await leaseToken(world, place)
  isDenial(t, await resolve(resolver, world.controlPlane, token))
  t.match((await auditOf(world, place.organization_id)).at(-1), {
    actor_kind: 'service',
    actor_id: 'control-plane',
    details: { reason: 'caller_is_no_worker' },
  })
  isDenial(t, await resolve(resolver, await world.platform.identity('service', 'gateway'), token))
  isDenial(t, await resolve(resolver, await world.platform.nameless(), token))
  t.match((await auditOf(world, place.organization_id)).at(-1), { actor_kind: 'system', actor_id: 'unidentified' })
})

t.test('a lease token that names other ids than lease, session and attachment is refused', async t => {
  const cases: [string, (mine: Place, other: Place) => TokenChanges['claims']][] = [
    ['organization_mismatch', (_, other) => ({ organization_id: other.organization_id })],
    ['resource_mismatch', (_, other) => ({ resource_id: other.resource_id })],
    ['lease_mismatch', (_, other) => ({ session_id: other.session_id })],
    ['lease_mismatch', (_, other) => ({ attachment_id: other.attachment_id })],
    ['lease_mismatch', (_, other) => ({ session_id: other.session_id, attachment_id: other.attachment_id })],
    ['lease_not_live', () => ({ lease_id: randomUUID() })],
    ['lease_mismatch', (_, other) => ({ lease_id: other.lease_id })],
    ['secret_ref_mismatch', (_, other) => ({ secret_ref: other.secret_ref })],
    ['secret_ref_mismatch', () => ({ secret_ref: null })],
  ]
  for (const [reason, change] of cases) {
    const [mine, other] = [await ready(), await ready()]
    await isRefused(t, mine, reason, { claims: change(mine, other) ?? {} })
  }
})

t.test('ids that agree in token and lease are still checked against the tables', async t => {
  const cases: [string, (mine: Place, other: Place) => Partial<Place>][] = [
    ['session_unknown', () => ({ session_id: randomUUID() })],
    ['attachment_unknown', () => ({ attachment_id: randomUUID() })],
    ['session_mismatch', (_, other) => ({ attachment_id: other.attachment_id })],
    ['organization_mismatch', (_, other) => ({ session_id: other.session_id })],
    ['lease_mismatch', () => ({ lease_id: randomUUID() })],
  ]
  for (const [reason, change] of cases) {
    const [mine, other] = [await ready(), await ready()]
    const mixed = { ...mine, ...change(mine, other) }
    await writeLease(world, mixed)
    await isRefused(t, mixed, reason)
  }
})

t.test('a session of this worker cannot be resolved with an attachment on another worker', async t => {
  const place = await ready()
  const other = randomUUID()
  await seedWorker(sql, other)
  await sql`update rap.session_attachments set state = 'closed', closed_at = now() where id = ${place.attachment_id}`
  const elsewhere = await seedAttachment(sql, { ...place, worker_id: other, ordinal: 2 })
  const mixed = { ...place, ...elsewhere }
  await writeLease(world, mixed)
  await isRefused(t, mixed, 'worker_mismatch')
})

t.test('without a live lease there is no secret', async t => {
  const dead = await ready()
  await world.redis.del(`rap:lease:${dead.lease_id}`)
  await isRefused(t, dead, 'lease_not_live')
  for (const text of ['', '{', 'null', '[]', '{"lease_id":1}', '"x"', `{"lease_id":"${'x'.repeat(4096)}"}`]) {
    await world.redis.set(`rap:lease:${dead.lease_id}`, text)
    await isRefused(t, dead, 'lease_not_live')
  }
  for (const field of ['worker_id', 'session_id', 'attachment_id', 'lease_id']) {
    await writeLease(world, dead, { [field]: randomUUID() })
    await isRefused(t, dead, 'lease_mismatch')
  }
})

t.test('an ended session, an ended and a superseded attachment are refused', async t => {
  for (const state of ['terminated', 'failed']) {
    const place = await ready()
    await sql`
      update rap.remote_sessions set state = ${state}, ended_at = now(), failure = '{"code":"ERR_TEST"}'
      where id = ${place.session_id}`
    await isRefused(t, place, 'session_not_live')
  }
  for (const [state, reason] of [
    ['superseded', 'attachment_superseded'],
    ['closed', 'attachment_not_live'],
    ['failed', 'attachment_not_live'],
  ] as const) {
    const place = await ready()
    await sql`
      update rap.session_attachments set state = ${state}, closed_at = now(), failure = '{"code":"ERR_TEST"}'
      where id = ${place.attachment_id}`
    await isRefused(t, place, reason)
  }
  const detached = await ready()
  await sql`update rap.remote_sessions set state = 'detached' where id = ${detached.session_id}`
  await isRefused(t, detached, 'session_not_live')
})

t.test('a revoked and an unknown worker is refused', async t => {
  const place = await ready()
  const other = await world.platform.identity('worker')
  const elsewhere = await seedPlace(world, { worker: other.id })
  await putSecret(world, resolver, elsewhere)
  await writeLease(world, elsewhere)
  await sql`update rap.workers set state = 'revoked', revoked_at = now() where id = ${other.id}`
  const claims = { cnf: { 'x5t#S256': other.thumbprint } }
  isDenial(t, await resolve(resolver, other, await leaseToken(world, elsewhere, { claims })))
  t.match((await auditOf(world, elsewhere.organization_id)).at(-1)?.details, { reason: 'worker_not_active' })

  const stranger = await world.platform.identity('worker')
  const mixed = { ...place, worker_id: stranger.id }
  await writeLease(world, mixed)
  const token = await leaseToken(world, mixed, { claims: { cnf: { 'x5t#S256': stranger.thumbprint } } })
  isDenial(t, await resolve(resolver, stranger, token))
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'worker_not_active' })
})

t.test('a resource without its secret, or that was deleted, is refused', async t => {
  const bare = await seedPlace(world)
  await writeLease(world, bare)
  await isRefused(t, bare, 'secret_unknown')

  const changed = await ready()
  await sql`update rap.resources set secret_ref = null where id = ${changed.resource_id}`
  await isRefused(t, changed, 'secret_ref_mismatch')

  const deleted = await ready()
  await sql`update rap.resources set secret_ref = null, deleted_at = now() where id = ${deleted.resource_id}`
  await isRefused(t, deleted, 'resource_unknown')
})

t.test('a token of another time, issuer, key or purpose is refused without trusting its claims', async t => {
  const place = await ready()
  const stranger = await createSigner()
  const now = Math.floor(Date.now() / 1000)
  const { user_id: _, ...ids } = place
  const cnf = { 'x5t#S256': world.worker.thumbprint }
  const whole = { ...ids, cnf, iss: ISSUER, aud: 'rap-secret-resolver', iat: now, nbf: now, exp: now + 60 }
  const sign = (
    claims: Record<string, unknown>,
    header: Record<string, unknown> = {},
    key: Parameters<SignJWT['sign']>[0] = world.signer.privateKey,
  ) =>
    new SignJWT({ ...whole, jti: randomUUID(), ...claims })
      .setProtectedHeader({ alg: 'RS256', typ: 'rap-lease+jwt', kid: world.signer.kid, ...header })
      .sign(key)
  const good = await sign({})
  const [head, payload, signature] = good.split('.') as [string, string, string]
  const none = Buffer.from('{"alg":"none","typ":"rap-lease+jwt","kid":"x"}').toString('base64url')
  const publicKeyAsSecret = randomBytes(32)
  const cases: [string, string, string][] = [
    ['expired', await leaseToken(world, place, { ageSeconds: 126 }), 'ERR_TOKEN_EXPIRED'],
    ['from the future', await leaseToken(world, place, { ageSeconds: -60 }), 'ERR_TOKEN_NOT_YET_VALID'],
    ['another issuer', await leaseToken(world, place, { issuer: 'https://other.test' }), 'ERR_TOKEN_ISSUER'],
    ['another audience', await sign({ aud: 'rap-data-plane' }), 'ERR_TOKEN_AUDIENCE'],
    ['another type', await sign({}, { typ: 'rap-dp+jwt' }), 'ERR_TOKEN_HEADER'],
    ['no type', await sign({}, { typ: undefined }), 'ERR_TOKEN_HEADER'],
    ['HS256', await sign({}, { alg: 'HS256' }, publicKeyAsSecret), 'ERR_TOKEN_HEADER'],
    ['alg none', `${none}.${payload}.`, 'ERR_TOKEN_HEADER'],
    ['an unknown kid', await sign({}, { kid: stranger.kid }, stranger.privateKey), 'ERR_TOKEN_UNKNOWN_KEY'],
    ['a key in the header', await sign({}, { jwk: stranger.jwk }, stranger.privateKey), 'ERR_TOKEN_HEADER'],
    ["another key under the control plane's kid", await sign({}, {}, stranger.privateKey), 'ERR_TOKEN_SIGNATURE'],
    ['living too long', await sign({ exp: now + 121 }), 'ERR_TOKEN_LIFETIME'],
    ['one claim more', await sign({ admin: true }), 'ERR_TOKEN_CLAIMS'],
    ['one claim less', await sign({ lease_id: undefined }), 'ERR_TOKEN_CLAIMS'],
    ['no certificate', await sign({ cnf: {} }), 'ERR_TOKEN_CLAIMS'],
    [
      'another payload',
      `${head}.${Buffer.from(JSON.stringify(whole)).toString('base64url')}.${signature}`,
      'ERR_TOKEN_SIGNATURE',
    ],
    ['no token', 'x', 'ERR_TOKEN_MALFORMED'],
  ]
  for (const [name, token, verification] of cases) {
    isDenial(t, await resolve(resolver, world.worker, token))
    t.match(
      (await auditOf(world, null)).at(-1),
      {
        event: 'resource_secret_access_denied',
        actor_id: world.worker.id,
        session_id: null,
        details: { reason: 'lease_token_invalid', verification },
      },
      name,
    )
  }
  t.equal((await resolve(resolver, world.worker, good)).status, 200)
})

t.test('a lease token cut at any place is refused', async t => {
  const place = await ready()
  const token = await leaseToken(world, place)
  for (let size = 1; size < token.length; size += 23) {
    const { status } = await resolve(resolver, world.worker, token.slice(0, size))
    if (status !== 403) t.equal(status, 403, `${size} characters`)
  }
  t.equal((await resolve(resolver, world.worker, token)).status, 200, 'the whole one is good')
})

t.test('a recipient key that is no point of the curve, or is more than a public key, is refused', async t => {
  const place = await ready()
  const lease_token = await leaseToken(world, place)
  const coordinate = randomBytes(32).toString('base64url')
  const jwk = { kty: 'EC', crv: 'P-256', x: coordinate, y: coordinate }
  const send = (recipient_jwk: unknown) =>
    resolver.call(world.worker, { method: 'POST', path: '/v1/resolve', body: { lease_token, recipient_jwk } })
  isDenial(t, await send(jwk))
  t.match((await auditOf(world, place.organization_id)).at(-1)?.details, { reason: 'recipient_key_invalid' })
  for (const wrong of [
    { ...jwk, d: coordinate },
    { ...jwk, crv: 'P-384' },
    { ...jwk, kty: 'RSA' },
    { ...jwk, x: 'AA' },
    { kty: 'oct', k: coordinate },
    null,
    'x',
  ]) {
    const answer = await send(wrong)
    t.equal(answer.status, 400)
    t.equal(answer.body.code, 'ERR_VALIDATION')
    t.notMatch(answer.text, coordinate)
  }
})
