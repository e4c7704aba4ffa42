import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { removePostgresData, startPlatform, startShadow, targetOf, tempDir, waitFor } from '@rap/testkit'
import { PURPOSES, type SigningKey, signToken } from '@rap/token-claims'
import { Redis } from 'ioredis'
import { exportJWK, generateKeyPair } from 'jose'
import postgres from 'postgres'
import t from 'tap'
import { bentToken, stolenSigningKey } from './forge.ts'
import { directUrl, newClientKey, type Started, wireBind } from './wire-client.ts'

// One platform whose signing keys change all the time, and somebody who has stolen some of them.
const desktop = await startShadow({ username: 'svc', password: 'keys-Pa55', security: 'nla' })
t.teardown(() => desktop.stop())
const home = tempDir('rap-e2e-')
t.teardown(() => {
  removePostgresData(join(home.path, 'postgres'))
  home.remove()
})
const credential = { username: 'svc', password: 'keys-Pa55' }
const platform = await startPlatform({
  dir: home.path,
  targets: [targetOf(desktop, { name: 'desktop', credential, security: 'nla' })],
})
t.teardown(() => platform.stop())
const sql = postgres(platform.databaseUrls.superuser, { max: 2 })
t.teardown(() => sql.end())
const redis = new Redis(platform.redisUrl)
t.teardown(() => redis.disconnect())

const { api, controlPlane, secretResolver, gateway, gatewayUrl = '' } = platform
const [worker] = platform.workers
const [resource] = platform.resources
const key = await newClientKey()
/** Every verifier follows a key that is taken back within this time; some more for a machine that is busy. */
const FOLLOWED_MS = 60_000

async function start(): Promise<Started> {
  return await api.call<Started>('POST', '/v1/sessions', { body: { resource_id: resource?.id, dpop_jkt: key.jkt } })
}

async function end({ session }: Started): Promise<void> {
  await api.call('POST', `/v1/sessions/${session.id}/terminate`, { body: {} })
}

/** 'bound', or the reason of the refusal. */
async function bind(url: string, token: string): Promise<string> {
  const outcome = await wireBind(platform, { url, token, proof: await key.proof(token, url) })
  if (!outcome.bound) return outcome.reason
  outcome.socket.terminate()
  return 'bound'
}

const rotate = () =>
  api.call<{ previous_kid: string; active_kid: string }>('POST', '/v1/signing-keys/rotate', { body: { force: true } })

/** Signatures that somebody did not know the key of, as services, which know it, have told. */
const unknownKeys = (): number => platform.logs().match(/ERR_TOKEN_UNKNOWN_KEY|ERR_TOKEN_SIGNATURE/g)?.length ?? 0

t.test(
  'desktops are started and bound on both ways while keys rotate and services restart: no valid token is refused',
  async t => {
    const outcomes = new Map<string, number>()
    const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    let isOver = false
    const use = async (way: (started: Started) => string) => {
      while (!isOver) {
        let started: Started
        try {
          started = await start()
        } catch {
          // A service that a start needs is just away; a token that is refused shows in the logs.
          await new Promise(resolve => setTimeout(resolve, 100))
          continue
        }
        // A token that nobody has spent is shown again until somebody can say.
        const until = performance.now() + 30_000
        for (;;) {
          const outcome = await bind(way(started), started.data_plane.token).catch(() => 'no connection')
          count(outcome)
          if (!/no connection|UNAVAILABLE|DRAINING|UNREACHABLE/.test(outcome) || performance.now() > until) break
          await new Promise(resolve => setTimeout(resolve, 100))
        }
        await end(started).catch(() => undefined)
      }
    }
    const load = [use(directUrl), use(() => gatewayUrl)]
    const bound = () => outcomes.get('bound') ?? 0
    const more = async (binds: number) => {
      const before = bound()
      await waitFor(() => bound() >= before + binds, { what: 'more binds', timeoutMs: 40_000 })
    }
    await more(2)
    for (const restarted of [undefined, controlPlane, undefined, gateway, secretResolver, undefined]) {
      await rotate()
      const restart = restarted?.restart()
      if (restarted !== controlPlane) await rotate()
      await restart
      await more(2)
    }
    isOver = true
    await Promise.all(load)
    t.comment(JSON.stringify(Object.fromEntries(outcomes)))
    t.same(
      [...outcomes.keys()].filter(outcome => /TOKEN|PROOF/.test(outcome)),
      [],
    )
    t.equal(unknownKeys(), 0)
    // Of more than a few that are alike in ten seconds one row says how many.
    const refused = async () => {
      const rows = await sql<{ code: string; suppressed: number }[]>`
        select code, coalesce((details ->> 'suppressed_count')::int, 0) as suppressed from rap.audit_events
        where code like 'ERR_BIND_%' and code <> 'ERR_BIND_UNAVAILABLE'
          or event in ('resource_secret_access_denied', 'assignment_refused')`
      return rows.flatMap(({ code, suppressed }) => Array.from({ length: 1 + suppressed }, () => code))
    }
    // Where a control plane ends between its commit and its answer, the token is spent and nobody was told.
    const told = outcomes.get('ERR_BIND_REFUSED') ?? 0
    await waitFor(async () => (await refused()).length >= told, { what: 'the refusals in the audit' })
    t.same(
      await refused(),
      Array.from({ length: told }, () => 'ERR_BIND_TOKEN_REPLAYED'),
    )
  },
)

/** A lease token as the key would sign one for this worker. */
async function resolve(stolen: SigningKey, started: Started): Promise<number> {
  const file = (suffix: string) => readFileSync(join(home.path, 'tls', `${worker?.id}.${suffix}`))
  const leaseToken = await signToken(
    'lease',
    {
      organization_id: platform.organizationId,
      resource_id: resource?.id ?? '',
      worker_id: worker?.id ?? '',
      session_id: started.session.id,
      attachment_id: started.attachment.id,
      lease_id: crypto.randomUUID(),
      secret_ref: null,
      cnf: { 'x5t#S256': 'A'.repeat(43) },
    },
    {
      key: stolen,
      issuer: ISSUER,
      jti: crypto.randomUUID(),
      nowSeconds: Math.floor(Date.now() / 1000),
      lifetimeSeconds: PURPOSES.lease.maxLifetimeSeconds,
    },
  )
  const { publicKey } = await generateKeyPair('ECDH-ES', { crv: 'P-256', extractable: true })
  const { kty, crv, x, y } = await exportJWK(publicKey)
  const body = JSON.stringify({ lease_token: leaseToken, recipient_jwk: { kty, crv, x, y } })
  return await new Promise((settle, reject) => {
    const options = { method: 'POST', cert: file('pem'), key: file('key'), ca: platform.authority.certificatePem }
    const call = request(`${platform.resolverUrl}/v1/resolve`, options, answer => {
      answer.resume()
      answer.once('end', () => settle(answer.statusCode ?? 0))
    })
    call.setHeader('content-type', 'application/json')
    call.once('error', reject)
    call.end(body)
  })
}

/** How often this service met a key that it did not know. */
function refusedBy(service: { log(): string } | undefined): number {
  const lines = service?.log().split('\n') ?? []
  return lines.filter(line => /data_plane_refused|assignment_refused/.test(line) && /UNKNOWN_KEY/.test(line)).length
}

const ISSUER = 'https://rap.internal/control-plane'

/** An order to the worker, as somebody writes it who has the key and Redis. */
async function order(stolen: SigningKey): Promise<void> {
  const stream = `rap:worker:${worker?.id}:assignments`
  const [entry] = await redis.xrevrange(stream, '+', '-', 'COUNT', 1)
  const real = entry?.[1][1] ?? ''
  const now = Math.floor(Date.now() / 1000)
  const again = {
    claims: { assignment_id: crypto.randomUUID(), iat: now, nbf: now, exp: now + 60 },
    header: { typ: 'rap-assignment+jwt' },
  }
  await redis.xadd(stream, '*', 'assignment', await bentToken(stolen, real, again as never))
}

t.test(
  'whoever has a key that was taken back, or is retired, opens nothing: binds at once, everything within seconds',
  async t => {
    const retired = await stolenSigningKey(platform, home.path)
    await rotate()
    const revoked = await stolenSigningKey(platform, home.path)
    const started = await start()
    t.teardown(() => end(started))
    const fresh = (stolen: SigningKey) => {
      const now = Math.floor(Date.now() / 1000)
      return bentToken(stolen, started.data_plane.token, { claims: { iat: now, nbf: now, exp: now + 60 } })
    }
    await api.call('POST', `/v1/signing-keys/${revoked.kid}/revoke`, { body: {} })
    await sql`update rap.signing_keys set retiring_at = now() - interval '1 hour' where kid = ${retired.kid}`
    for (const stolen of [retired, revoked]) {
      for (const url of [directUrl(started), gatewayUrl])
        t.equal(await bind(url, await fresh(stolen)), 'ERR_BIND_REFUSED')
    }
    t.equal(await bind(directUrl(started), started.data_plane.token), 'ERR_BIND_REFUSED', 'also what it signed before')
    const resolverTold = async () => {
      const rows = await sql`
      select 1 from rap.audit_events where event = 'resource_secret_access_denied'
        and details ->> 'verification' = 'ERR_TOKEN_UNKNOWN_KEY'`
      return rows.length
    }
    for (const stolen of [retired, revoked]) {
      const before = { gateway: refusedBy(gateway), worker: refusedBy(worker), resolver: await resolverTold() }
      await waitFor(
        async () => {
          t.equal(await bind(gatewayUrl, await fresh(stolen)), 'ERR_BIND_REFUSED')
          t.equal(await resolve(stolen, started), 403)
          await order(stolen)
          return (
            refusedBy(gateway) > before.gateway &&
            refusedBy(worker) > before.worker &&
            (await resolverTold()) > before.resolver
          )
        },
        { what: 'every verifier to know', timeoutMs: FOLLOWED_MS, intervalMs: 3000 },
      )
    }
    const next = await start()
    t.equal(await bind(directUrl(next), next.data_plane.token), 'bound', 'and what the next key signs is good')
    await end(next)
  },
)
