import { randomBytes, randomUUID } from 'node:crypto'
import type { Sql } from '@rap/service-kit'
import t from 'tap'
import { RESOLVE_CHECKS } from '../../src/resolve/checks.ts'
import type { Answer } from '../support/https.ts'
import { withKeys } from '../support/keys.ts'
import { type Identity, recipientKey } from '../support/platform.ts'
import { type Place, seedAttachment, seedWorker } from '../support/seed.ts'
import {
  leaseToken,
  putSecret,
  type Resolver,
  seedPlace,
  startWorld,
  type TokenChanges,
  writeLease,
} from '../support/world.ts'

const world = await startWorld(t)
const production = await world.startResolver()
const development = await world.startResolver({ isProduction: false })
const { controlPlane: sql, superuser } = world.database
const thief = await world.platform.identity('worker')
await seedWorker(sql, thief.id)

/** The reasons of a refusal that are found while the secret is opened. */
const REASONS_OF_OPENING = ['metadata_credentials_invalid', 'secret_does_not_open']

async function ready(): Promise<Place> {
  const place = await seedPlace(world)
  await putSecret(world, production, place)
  await writeLease(world, place)
  return place
}

interface Attempt {
  readonly token: string
  readonly caller?: Identity
  readonly resolver?: Resolver
  readonly jwk?: object
}

const byToken = async (place: Place, changes: TokenChanges = {}): Promise<Attempt> => ({
  token: await leaseToken(world, place, changes),
})

async function ask({ token, caller = world.worker, resolver = production, jwk }: Attempt, requestId: string) {
  return await resolver.call(caller, {
    method: 'POST',
    path: '/v1/resolve',
    headers: { 'x-request-id': requestId },
    body: { lease_token: token, recipient_jwk: jwk ?? (await recipientKey()).jwk },
  })
}

/** One way to be refused for each reason. */
const ATTEMPTS: Readonly<Record<string, () => Promise<Attempt>>> = {
  caller_is_no_worker: async () => ({ ...(await byToken(await ready())), caller: world.controlPlane }),
  recipient_key_invalid: async () => {
    const x = randomBytes(32).toString('base64url')
    return { ...(await byToken(await ready())), jwk: { kty: 'EC', crv: 'P-256', x, y: x } }
  },
  lease_token_invalid: async () => ({ token: 'no-token' }),
  certificate_mismatch: async () => ({ ...(await byToken(await ready())), caller: thief }),
  worker_mismatch: async () => await byToken(await ready(), { claims: { worker_id: thief.id } }),
  worker_not_active: async () => {
    const caller = await world.platform.identity('worker')
    const place = await seedPlace(world, { worker: caller.id })
    await writeLease(world, place)
    await sql`update rap.workers set state = 'revoked', revoked_at = now() where id = ${caller.id}`
    return { ...(await byToken(place, { claims: { cnf: { 'x5t#S256': caller.thumbprint } } })), caller }
  },
  lease_not_live: async () => await byToken(await ready(), { claims: { lease_id: randomUUID() } }),
  lease_mismatch: async () => await byToken(await ready(), { claims: { session_id: (await ready()).session_id } }),
  session_unknown: async () => {
    const place = { ...(await ready()), session_id: randomUUID() }
    await writeLease(world, place)
    return await byToken(place)
  },
  session_not_live: async () => {
    const place = await ready()
    await sql`update rap.remote_sessions set state = 'detached' where id = ${place.session_id}`
    return await byToken(place)
  },
  organization_mismatch: async () => {
    const { organization_id } = await ready()
    return await byToken(await ready(), { claims: { organization_id } })
  },
  resource_mismatch: async () => await byToken(await ready(), { claims: { resource_id: (await ready()).resource_id } }),
  attachment_unknown: async () => {
    const place = { ...(await ready()), attachment_id: randomUUID() }
    await writeLease(world, place)
    return await byToken(place)
  },
  attachment_superseded: async () => {
    const place = await ready()
    await sql`update rap.session_attachments set state = 'superseded', closed_at = now() where id = ${place.attachment_id}`
    return await byToken(place)
  },
  attachment_not_live: async () => {
    const place = await ready()
    await sql`update rap.session_attachments set state = 'closed', closed_at = now() where id = ${place.attachment_id}`
    return await byToken(place)
  },
  session_mismatch: async () => {
    const [mine, other] = [await ready(), await ready()]
    const mixed = { ...mine, attachment_id: other.attachment_id }
    await writeLease(world, mixed)
    return await byToken(mixed)
  },
  resource_unknown: async () => {
    const place = await ready()
    await sql`update rap.resources set secret_ref = null, deleted_at = now() where id = ${place.resource_id}`
    return await byToken(place)
  },
  secret_ref_mismatch: async () => await byToken(await ready(), { claims: { secret_ref: null } }),
  plaintext_metadata_refused: async () => {
    const place = await seedPlace(world, { secretRef: null, metadata: { username: 'u', password: 'p' } })
    await writeLease(world, place)
    return await byToken(place, { claims: { secret_ref: null } })
  },
  secret_unknown: async () => {
    const place = await seedPlace(world)
    await writeLease(world, place)
    return await byToken(place)
  },
  lease_token_replayed: async () => {
    const attempt = await byToken(await ready())
    t.equal((await ask(attempt, randomUUID())).status, 200)
    return attempt
  },
  metadata_credentials_invalid: async () => {
    const place = await seedPlace(world, { secretRef: null, metadata: { username: 'u' } })
    await writeLease(world, place)
    return { ...(await byToken(place, { claims: { secret_ref: null } })), resolver: development }
  },
  secret_does_not_open: async () => {
    const place = await ready()
    await superuser`
      update secrets.resource_secrets set nonce = decode(repeat('00', 12), 'hex') where secret_ref = ${place.secret_ref}`
    return await byToken(place)
  },
}

/** An answer as bytes, without the one header that is the clock's. */
function shapeOf({ status, headers, text }: Answer): string {
  const { date: _, ...rest } = headers
  return JSON.stringify({ status, headers: Object.entries(rest), text })
}

t.test('every reason of a refusal gives the same answer, byte for byte, and its own audit event', async t => {
  const reasons = new Set([...RESOLVE_CHECKS.map(({ reason }) => reason), ...REASONS_OF_OPENING])
  t.strictSame(Object.keys(ATTEMPTS).sort(), [...reasons].sort(), 'there is an attempt for every reason')
  const shapes = new Map<string, string[]>()
  for (const [reason, prepare] of Object.entries(ATTEMPTS)) {
    const attempt = await prepare()
    // The caller chooses the id of its request, and each of these lengths is the same.
    const requestId = `denial-${randomBytes(8).toString('hex')}`
    const answer = await ask(attempt, requestId)
    t.equal(answer.body.request_id, requestId)
    const shape = shapeOf(answer).replaceAll(requestId, '')
    shapes.set(shape, [...(shapes.get(shape) ?? []), reason])
    const events = await superuser<{ code: string; details: { reason: string } }[]>`
      select code, details from rap.audit_events where request_id = ${requestId}`
    t.match(events, [{ code: 'ERR_RESOLVE_DENIED', details: { reason } }], reason)
    t.equal(events.length, 1)
  }
  t.equal(shapes.size, 1, JSON.stringify([...shapes.values()]))
  t.match([...shapes.keys()][0], /"status":403.*ERR_RESOLVE_DENIED/)
})

t.test('beside it there are 429 and 503 alone, and neither says anything of the token', async t => {
  const limits = { perWorkerPerMinute: 1, perSessionPerMinute: 10_000 }
  const limited = await world.startResolver({ limits })
  const caller = await world.platform.identity('worker')
  await ask({ token: 'x', caller, resolver: limited }, 'first-request')
  const good = await byToken(await ready())
  const shapes = new Set<string>()
  for (const { token } of [good, { token: 'no-token' }, await byToken(await ready(), { ageSeconds: 600 })]) {
    const answer = await ask({ token, caller, resolver: limited }, 'request-id-of-mine')
    t.equal(answer.status, 429)
    shapes.add(shapeOf(answer).replaceAll(/"?retry.after(_seconds)?"?[,:]"?\d+"?/g, ''))
  }
  t.equal(shapes.size, 1)
  shapes.clear()
  await world.redisServer.stop()
  for (const { token } of [good, { token: 'no-token' }]) {
    const answer = await ask({ token }, 'request-id-of-mine')
    t.equal(answer.body.code, 'ERR_UPSTREAM_UNAVAILABLE')
    shapes.add(shapeOf(answer))
  }
  t.equal(shapes.size, 1)
  await world.redisServer.restart()
})

/** The same pool, and what was asked of it. */
function watched(pool: Sql): { readonly pool: Sql; readonly asked: string[] } {
  const asked: string[] = []
  const note = (text: string) => {
    // Who is revoked is read each second, whoever asks.
    if (!text.includes('rap.revocations')) asked.push(text)
  }
  const spy = new Proxy(pool, {
    apply(target, self, args: [readonly string[], ...unknown[]]) {
      if (Array.isArray(args[0])) note(args[0].join('?').replaceAll(/\s+/g, ' ').trim())
      return Reflect.apply(target as never, self, args)
    },
    get(target, name) {
      if (name === 'begin' || name === 'unsafe') asked.push(String(name))
      return Reflect.get(target, name)
    },
  })
  return { pool: spy, asked }
}

t.test("before a token has proved to be its caller's own, nothing is asked about what it names", async t => {
  const { pool, asked } = watched(world.database.resolver)
  const resolver = await world.startResolver({ sql: pool })
  const place = await ready()
  for (const attempt of [
    { token: 'no-token' },
    await byToken(place, { ageSeconds: 600 }),
    { ...(await byToken(place)), caller: thief },
    await byToken(place, { claims: { worker_id: thief.id } }),
    { ...(await byToken(place)), caller: world.controlPlane },
  ]) {
    asked.length = 0
    t.equal((await ask({ ...attempt, resolver }, 'request-id-of-mine')).status, 403)
    t.strictSame(asked, ['select rap.append_audit_event(?)'], 'the audit event of the refusal and nothing else')
    t.equal(await world.redis.exists(`rap:secret-resolver:rate:session:${place.session_id}`), 0)
  }
  asked.length = 0
  t.equal((await ask({ ...(await byToken(place)), resolver }, 'request-id-of-mine')).status, 200)
  t.equal(asked.length, 2, 'a resolve asks the database twice')
  t.match(asked, [/^select w\.state/, /^with spent as \( insert into secrets\.lease_token_jtis/])
  t.equal(await world.redis.exists(`rap:secret-resolver:rate:session:${place.session_id}`), 1)
})

t.test('a replay that can be seen decrypts nothing, and an attachment of a takeover is not resolved', async t => {
  let unwraps = 0
  const counting = withKeys(world.keys, {
    unwrap: async (...args: Parameters<typeof world.keys.unwrap>) => {
      unwraps += 1
      return await world.keys.unwrap(...args)
    },
  })
  const resolver = await world.startResolver({ keys: counting })
  const place = await ready()
  const attempt = { ...(await byToken(place)), resolver }
  t.equal((await ask(attempt, 'request-id-of-mine')).status, 200)
  t.equal(unwraps, 1)
  t.equal((await ask(attempt, 'request-id-of-mine')).status, 403)
  await sql`update rap.session_attachments set state = 'superseded', closed_at = now() where id = ${place.attachment_id}`
  await seedAttachment(sql, { ...place, worker_id: thief.id, ordinal: 2 })
  t.equal((await ask({ ...(await byToken(place)), resolver }, 'request-id-of-mine')).status, 403)
  t.equal(unwraps, 1)
})
