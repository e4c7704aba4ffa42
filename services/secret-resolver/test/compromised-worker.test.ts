import { randomBytes, randomUUID } from 'node:crypto'
import { connect } from 'node:tls'
import { DEFAULT_LIMITS } from '@rap/session-policy'
import { signToken } from '@rap/token-claims'
import { exportSPKI, SignJWT } from 'jose'
import t, { type Test } from 'tap'
import type { Answer } from './support/https.ts'
import { createSigner, recipientKey } from './support/platform.ts'
import { RDP_PAYLOAD, seal } from './support/seal.ts'
import { type Place, seedWorker } from './support/seed.ts'
import {
  ISSUER,
  leaseToken,
  putSecret,
  resolve,
  secretPath,
  seedPlace,
  startWorld,
  type TokenChanges,
  writeLease,
} from './support/world.ts'

/**
 * An attacker owns one worker: its certificate and key, one live lease with its token, and all of Redis. What it can get out
 * of the resolver is the one secret of that lease, once.
 */
const world = await startWorld(t)
// Windows that are over at once: every refusal here has its own row.
const resolver = await world.startResolver({ auditWindowMs: 0 })
const { controlPlane: sql, superuser } = world.database
const mallory = world.worker
const neighbour = await world.platform.identity('worker')
await seedWorker(sql, neighbour.id)

const OWN_PASSWORD = `own-${randomBytes(9).toString('hex')}`
/** Of every other secret; found in no answer. */
const OTHER_PASSWORD = `other-${randomBytes(9).toString('hex')}`

async function withSecret(worker: string, password = OTHER_PASSWORD): Promise<Place> {
  const place = await seedPlace(world, { worker })
  const payload = { ...RDP_PAYLOAD, password }
  const { status } = await putSecret(world, resolver, place, { payload })
  if (status !== 200) throw new Error(`the secret was answered with ${status}`)
  await writeLease(world, place)
  return place
}

const mine = await withSecret(mallory.id, OWN_PASSWORD)
const theirs = await withSecret(neighbour.id)

const answers: Answer[] = []
const keep = <A extends Answer>(answer: A): A => {
  answers.push(answer)
  return answer
}

async function eventsSince(sequence: bigint | string): Promise<{ code: string; actor_id: string; reason: string }[]> {
  return await superuser<{ code: string; actor_id: string; reason: string }[]>`
    select code, actor_id, details ->> 'reason' as reason from rap.audit_events
    where occurred_at > ${sequence as string}::timestamptz order by occurred_at`
}

/** The attempt is refused, and the audit says who it was and why. */
async function isRefused(t: Test, name: string, reason: string, attempt: () => Promise<Answer>): Promise<void> {
  const [{ now } = { now: '' }] = await superuser<{ now: string }[]>`select clock_timestamp()::text as now`
  const answer = keep(await attempt())
  const code = reason === 'route_of_control_plane' ? 'ERR_MTLS_IDENTITY' : 'ERR_RESOLVE_DENIED'
  t.match({ status: answer.status, code: answer.body?.code }, { status: 403, code }, name)
  const events = await eventsSince(now)
  t.strictSame([...events], [{ code, actor_id: mallory.id, reason }], `${name}: one event`)
}

const ownToken = (place: Place, changes: TokenChanges = {}) => leaseToken(world, place, changes)
const asMallory = (token: string) => resolve(resolver, mallory, token)

t.test('every route and method of the control plane', async t => {
  const path = secretPath(theirs)
  const order = { actor_user_id: theirs.user_id, request_id: randomUUID() }
  const jwk = (await resolver.call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })).body
  const sealed = await seal(jwk, theirs)
  const routes: [string, string, unknown?][] = [
    ['GET', '/v1/sealing-key'],
    ['PUT', path, { sealed, ...order }],
    ['GET', path],
    ['HEAD', path],
    ['DELETE', path, order],
    ['GET', `${path}/versions`],
    ['POST', `${path}/rollback`, { to_version: 1, ...order }],
    ['GET', '/v1/master-keys'],
    ['POST', '/v1/master-keys/rotate', { source: 'key-1', ...order }],
    ['POST', '/v1/master-keys/key-1/retire', order],
    ['GET', '/v1/rewraps/plan'],
    ['GET', '/v1/rewraps'],
    ['GET', `/v1/rewraps/${randomUUID()}`],
    ['POST', '/v1/rewraps', order],
  ]
  for (const [method, path, body] of routes) {
    if (method === 'HEAD') continue
    await isRefused(t, `${method} ${path}`, 'route_of_control_plane', () =>
      resolver.call(mallory, { method, path, ...(body !== undefined && { body }) }),
    )
  }
  t.equal((await resolver.call(mallory, { method: 'HEAD', path })).status, 403)
  const app = await routesOfTheServer()
  const tried = new Set(routes.map(([method, path]) => `${method} ${patternOf(path)}`))
  t.strictSame(
    app.filter(route => !tried.has(route)),
    [],
    'there is no route that was not tried',
  )
})

/** Every route that answers something else than 404 and 405 to the worker, out of all that the sources name. */
async function routesOfTheServer(): Promise<string[]> {
  const { readdirSync, readFileSync } = await import('node:fs')
  const { join } = await import('node:path')
  const folder = join(import.meta.dirname, '../src')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
  const found = files.flatMap(name =>
    [...readFileSync(join(folder, name), 'utf8').matchAll(/\bapp\.(get|put|post|patch|delete)\(\s*([^,]+),/g)].map(
      ([, method = '', path = '']) =>
        `${method.toUpperCase()} ${path
          .replace(/^['`]|['`]$/g, '')
          .replace(/\$\{path\}/, 'SECRET')
          .replace(/^path$/, 'SECRET')}`,
    ),
  )
  t.ok(found.length >= 14, 'the sources were read')
  return found.filter(route => route !== 'POST /v1/resolve')
}

function patternOf(path: string): string {
  return path
    .replace(secretPath(theirs), 'SECRET')
    .replace('/master-keys/key-1/', '/master-keys/:key_id/')
    .replace(/\/rewraps\/[0-9a-f-]{36}$/, '/rewraps/:id')
}

t.test('lease tokens of other workers, which it reads out of Redis', async t => {
  const claims = { cnf: { 'x5t#S256': neighbour.thumbprint } }
  const stolen = await ownToken(theirs, { claims })
  await isRefused(t, 'as it is', 'certificate_mismatch', () => asMallory(stolen))
  await isRefused(t, 'bound to its own certificate by nobody who could', 'worker_mismatch', async () =>
    asMallory(await ownToken(theirs)),
  )
  t.equal(keep(await resolve(resolver, neighbour, stolen)).status, 200, 'and its owner still has it')
})

t.test('tokens that it makes itself', async t => {
  const stranger = await createSigner()
  const now = Math.floor(Date.now() / 1000)
  const { user_id: _, ...ids } = theirs
  const claims = {
    ...ids,
    worker_id: mallory.id,
    cnf: { 'x5t#S256': mallory.thumbprint },
    iss: ISSUER,
    aud: 'rap-secret-resolver',
    iat: now,
    nbf: now,
    exp: now + 60,
    jti: randomUUID(),
  }
  const header = { alg: 'RS256', typ: 'rap-lease+jwt', kid: world.signer.kid }
  const sign = (change: object, key: Parameters<SignJWT['sign']>[0], protectedHeader: object = {}) =>
    new SignJWT({ ...claims, ...change }).setProtectedHeader({ ...header, ...protectedHeader }).sign(key)
  const good = await ownToken(mine)
  const [goodHeader, , goodSignature] = good.split('.') as [string, string, string]
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const publicPem = Buffer.from(await exportSPKI(await publicKey()))
  const made: Record<string, string> = {
    'claims of another session under the signature of its own token': `${goodHeader}.${encoded(claims)}.${goodSignature}`,
    "its own key under the control plane's kid": await sign({}, stranger.privateKey),
    'its own key under its own kid': await sign({}, stranger.privateKey, { kid: stranger.kid }),
    'its own key in the header': await sign({}, stranger.privateKey, { jwk: stranger.jwk }),
    'a URL of its own keys': await sign({}, stranger.privateKey, { jku: 'https://mallory.test/jwks.json' }),
    'alg none': `${encoded({ ...header, alg: 'none' })}.${encoded(claims)}.`,
    'alg none with a signature': `${encoded({ ...header, alg: 'none' })}.${encoded(claims)}.${goodSignature}`,
    'HS256 with the public key': await sign({}, publicPem, { alg: 'HS256' }),
    'HS256 with the modulus': await sign({}, Buffer.from(world.signer.jwk.n as string, 'base64url'), { alg: 'HS256' }),
    'a signature of nothing': `${goodHeader}.${encoded(claims)}.`,
    'a header of another algorithm over a good signature': `${encoded({ ...header, alg: 'RS512' })}.${good.split('.').slice(1).join('.')}`,
    'two tokens in one': `${good}.${good}`,
    'white space around a good one': ` ${good}`,
  }
  for (const [name, token] of Object.entries(made)) {
    await isRefused(t, name, 'lease_token_invalid', () => asMallory(token))
  }
})

async function publicKey() {
  const { importJWK } = await import('jose')
  return (await importJWK(world.signer.jwk, 'RS256')) as Parameters<typeof exportSPKI>[0]
}

t.test('tokens of the control plane for another purpose, issuer or time', async t => {
  const { lease_id: _, secret_ref: __, user_id, ...ids } = mine
  const nowSeconds = Math.floor(Date.now() / 1000)
  const bind = await signToken(
    'data_plane',
    { ...ids, sub: user_id, allowed_channels: ['display'], cnf: { jkt: 'A'.repeat(43) } },
    { key: world.signer, issuer: ISSUER, jti: randomUUID(), nowSeconds, lifetimeSeconds: 60 },
  )
  const assignment = await signToken(
    'assignment',
    {
      ...ids,
      user_id,
      assignment_id: randomUUID(),
      lease_id: mine.lease_id,
      lease_token: 'x',
      secret_ref: mine.secret_ref,
      allowed_channels: ['display'],
      limits: DEFAULT_LIMITS,
      bind_urls: ['wss://worker.example.test/data-plane/v1'],
      target: {
        protocol: 'rdp',
        address: 'target.example.test:3389',
        certificate_verification_mode: 'strict',
        security: 'auto',
        render_quality_profile: 'balanced',
      },
    },
    { key: world.signer, issuer: ISSUER, jti: randomUUID(), nowSeconds, lifetimeSeconds: 60 },
  )
  for (const [name, token] of [
    ['a data-plane token', bind],
    ['an assignment', assignment],
    ['of another platform', await ownToken(mine, { issuer: 'https://other.test' })],
    ['expired', await ownToken(mine, { ageSeconds: 126 })],
    ['of the future', await ownToken(mine, { ageSeconds: -60 })],
  ] as const) {
    await isRefused(t, name, 'lease_token_invalid', () => asMallory(token))
  }
})

t.test('leases that it forges in Redis for sessions that are not its own', async t => {
  // A token of the control plane names one session; the lease entry is all that the attacker can bend.
  for (const [name, entry] of [
    ['the session of another', { session_id: theirs.session_id }],
    ['the attachment of another', { attachment_id: theirs.attachment_id }],
    ['another worker', { worker_id: neighbour.id }],
    ['another lease', { lease_id: theirs.lease_id }],
    ['ids that are too long', { session_id: 'x'.repeat(100_000) }],
    ['ids that are no texts', { session_id: { $ne: '' } }],
    ['a list', { worker_id: [mallory.id] }],
  ] as const) {
    await writeLease(world, mine, entry)
    const reason = /too long|no texts|list/.test(name) ? 'lease_not_live' : 'lease_mismatch'
    await isRefused(t, name, reason, async () => asMallory(await ownToken(mine)))
  }
  await world.redis.del(`rap:lease:${mine.lease_id}`)
  await world.redis.rpush(`rap:lease:${mine.lease_id}`, 'x')
  await isRefused(t, 'an entry of another kind', 'lease_not_live', async () => asMallory(await ownToken(mine)))
  await world.redis.del(`rap:lease:${mine.lease_id}`)
  await writeLease(world, mine)

  const forged = { ...theirs, worker_id: mallory.id }
  await writeLease(world, forged)
  await isRefused(t, 'a live lease of its own for the session of another', 'worker_mismatch', async () =>
    asMallory(await ownToken(forged)),
  )
  await writeLease(world, theirs)
})

t.test('its own token with other ids, even if the control plane had signed them', async t => {
  const cases: [string, string, TokenChanges['claims']][] = [
    ['another organization', 'organization_mismatch', { organization_id: theirs.organization_id }],
    ['another resource', 'resource_mismatch', { resource_id: theirs.resource_id }],
    ['another secret', 'secret_ref_mismatch', { secret_ref: theirs.secret_ref }],
    ['no secret', 'secret_ref_mismatch', { secret_ref: null }],
    ['another session', 'lease_mismatch', { session_id: theirs.session_id }],
  ]
  for (const [name, reason, claims] of cases) {
    await isRefused(t, name, reason, async () => asMallory(await ownToken(mine, { claims: claims ?? {} })))
  }
})

t.test('its own sessions after they ended, in whichever way', async t => {
  const ends: [string, string, (place: Place) => Promise<unknown>][] = [
    [
      'detached',
      'session_not_live',
      p => sql`update rap.remote_sessions set state = 'detached' where id = ${p.session_id}`,
    ],
    [
      'terminated',
      'session_not_live',
      p => sql`update rap.remote_sessions set state = 'terminated', ended_at = now() where id = ${p.session_id}`,
    ],
    [
      'superseded',
      'attachment_superseded',
      p => sql`
        update rap.session_attachments set state = 'superseded', closed_at = now() where id = ${p.attachment_id}`,
    ],
    [
      'closed',
      'attachment_not_live',
      p => sql`update rap.session_attachments set state = 'closed', closed_at = now() where id = ${p.attachment_id}`,
    ],
    ['lease expired', 'lease_not_live', p => world.redis.del(`rap:lease:${p.lease_id}`)],
    [
      'the resource was deleted',
      'resource_unknown',
      p => sql`update rap.resources set secret_ref = null, deleted_at = now() where id = ${p.resource_id}`,
    ],
    [
      "the resource's reference was moved to another resource's secret",
      'secret_ref_mismatch',
      p =>
        superuser.begin(async tx => {
          // By hand and against the table's own rule, as whoever owns the database could.
          await tx`set local session_replication_role = replica`
          await tx.unsafe('alter table rap.resources drop constraint if exists resources_secret_ref_own')
          await tx`update rap.resources set secret_ref = ${theirs.secret_ref} where id = ${p.resource_id}`
        }),
    ],
    [
      'the secret was deleted',
      'secret_unknown',
      async p => {
        const body = { actor_user_id: p.user_id, request_id: randomUUID() }
        const deleted = await resolver.call(world.controlPlane, { method: 'DELETE', path: secretPath(p), body })
        t.equal(deleted.status, 200)
      },
    ],
  ]
  for (const [name, reason, end] of ends) {
    const place = await withSecret(mallory.id)
    const token = await ownToken(place)
    await end(place)
    await isRefused(t, name, reason, () => asMallory(token))
  }
})

t.test('its own lease with a renewed certificate, which the token does not name', async t => {
  const renewed = await world.platform.identity('worker', mallory.id)
  await isRefused(t, 'renewed', 'certificate_mismatch', async () => resolve(resolver, renewed, await ownToken(mine)))
})

t.test('bodies that are too large or out of form, and ids that are too long, get as far as the schema', async t => {
  const recipient_jwk = (await recipientKey()).jwk
  const lease_token = await ownToken(mine)
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    resolver.call(mallory, { method: 'POST', path: '/v1/resolve', body, headers })
  const [before] = await superuser<{ count: number }[]>`select count(*)::int from rap.audit_events`
  for (const [body, status] of [
    [Buffer.alloc(1024 * 1024, 0x20), 413],
    ['{', 400],
    ['[]', 400],
    [{ lease_token }, 400],
    [{ lease_token: 'x'.repeat(4097), recipient_jwk }, 400],
    [{ lease_token: [lease_token], recipient_jwk }, 400],
    [{ lease_token, recipient_jwk, worker_id: neighbour.id }, 400],
    [{ lease_token, recipient_jwk: { ...recipient_jwk, kid: 'x' } }, 400],
    [`{"lease_token":"a","lease_token":"b","__proto__":{"x":1},"recipient_jwk":${JSON.stringify(recipient_jwk)}}`, 400],
  ] as const) {
    t.equal(keep(await post(body)).status, status)
  }
  t.equal(keep(await post('x', { 'content-type': 'text/plain' })).status, 415)
  t.equal((await post('', { 'content-length': '0', 'transfer-encoding': 'identity' })).status, 400)
  for (const path of [
    '/v1/resolve/',
    '/v1/resolve/../secrets',
    '/v1//resolve',
    `/v1/resolve?worker_id=${neighbour.id}`,
  ]) {
    const answer = await resolver.call(mallory, { method: 'POST', path, body: { lease_token: 'x', recipient_jwk } })
    t.ok([400, 403, 404].includes(answer.status), path)
  }
  const [after] = await superuser<{ count: number }[]>`select count(*)::int from rap.audit_events`
  t.ok(after!.count - before!.count <= 1, 'what is no attempt at a decision is logged and counted, and fills no audit')
})

/** Silence behind the answers that have to come, after which no further one is expected, in milliseconds. */
const PATIENCE_MS = 1000
const statusesOf = (text: string) => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status = '']) => status)

/** Sends bytes on one TLS connection and gives what comes back, `least` answers or more, up to two or its end. */
async function raw(bytes: string, least: number): Promise<string> {
  const { port } = new URL(resolver.origin)
  const { ca, cert, key } = mallory
  return await new Promise(done => {
    let received = ''
    const socket = connect({ host: '127.0.0.1', port: Number(port), ca, cert, key, servername: 'localhost' })
    socket.setTimeout(30 * PATIENCE_MS, () => socket.destroy())
    socket.on('data', chunk => {
      received += chunk.toString('latin1')
      const { length } = statusesOf(received)
      if (length >= 2) socket.destroy()
      else if (length >= least) socket.setTimeout(PATIENCE_MS)
    })
    socket.on('error', () => done(received))
    socket.on('close', () => done(received))
    socket.write(bytes)
  })
}

t.test('requests smuggled into one connection are those of the worker, each of them', async t => {
  const recipient_jwk = (await recipientKey()).jwk
  const body = JSON.stringify({ lease_token: 'x', recipient_jwk })
  const inner = `GET ${secretPath(theirs)} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`
  const head = 'POST /v1/resolve HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'

  const pipelined = await raw(`${head}content-length: ${body.length}\r\n\r\n${body}${inner}`, 2)
  t.strictSame(statusesOf(pipelined), ['403', '403'], 'a second request behind the first is judged by itself')
  for (const [name, bytes] of [
    ['two lengths', `${head}content-length: ${body.length}\r\ncontent-length: 0\r\n\r\n${body}${inner}`],
    ['a length and chunks', `${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n${inner}`],
    ['chunks by another spelling', `${head}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n${inner}`],
    ['a header that is folded', `${head}x: a\r\n transfer-encoding: chunked\r\n\r\n${inner}`],
    [
      'an identity in headers',
      `GET ${secretPath(theirs)} HTTP/1.1\r\nhost: localhost\r\nx-client-cert: ${'A'.repeat(64)}\r\nx-forwarded-client-cert: URI=spiffe://rap.test/service/control-plane\r\nconnection: close\r\n\r\n`,
    ],
    ['HTTP/2 by its preface', `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${inner}`],
    ['an upgrade', `${head}connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\n{}${inner}`],
    ['CONNECT', `CONNECT 127.0.0.1:1 HTTP/1.1\r\nhost: 127.0.0.1:1\r\n\r\n${inner}`],
    [
      'a whole URL of another host',
      `GET https://127.0.0.1:1/v1/sealing-key HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`,
    ],
  ] as const) {
    const received = await raw(bytes, 1)
    answers.push({ status: 0, headers: {}, text: received, body: undefined })
    const statuses = statusesOf(received)
    // Node closes the connection of a CONNECT without a word.
    t.ok(statuses.length > 0 || name === 'CONNECT', `${name} is answered`)
    t.ok(
      statuses.every(status => Number(status) >= 400),
      `${name}: ${statuses.join(', ')}`,
    )
  }
})

t.test('its one lease gives its one secret, once, also to many requests at once', async t => {
  await writeLease(world, mine)
  const token = await ownToken(mine)
  const tries = await Promise.all(Array.from({ length: 10 }, () => asMallory(token)))
  const opened = tries.filter(({ status }) => status === 200)
  t.equal(opened.length, 1)
  t.match((await opened[0]!.open()).payload, OWN_PASSWORD)
  await isRefused(t, 'a replay', 'lease_token_replayed', () => asMallory(token))
  answers.push(...tries.filter(({ status }) => status !== 200))
})

t.test('nothing else came out: no answer carries a secret, and the audit has one access of this worker', async t => {
  t.ok(answers.length > 60)
  const given = answers.filter(answer => answer.status === 200)
  t.equal(given.length, 1, "the neighbour's own")
  for (const { text, status } of answers) {
    if (status !== 200) t.notMatch(text, /"jwe"|eyJ/)
    if (text.includes(OTHER_PASSWORD) || text.includes(OWN_PASSWORD)) t.fail('a password')
  }
  const accessed = await superuser`
    select session_id from rap.audit_events
    where event = 'resource_secret_accessed' and actor_id = ${mallory.id}`
  t.strictSame(
    accessed.map(row => row.session_id),
    [mine.session_id],
  )
})
