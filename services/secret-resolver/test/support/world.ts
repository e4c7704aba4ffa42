import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { connectRedis, createLogger, type Logger, type Redis, remoteKeySet } from '@rap/service-kit'
import { type RedisServer, startRedis } from '@rap/testkit'
import { signToken, type UnsignedClaims } from '@rap/token-claims'
import { compactDecrypt } from 'jose'
import type { Test } from 'tap'
import { type AppOptions, buildApp } from '../../src/app.ts'
import type { KeyWrapPort } from '../../src/secrets/key-wrap.ts'
import { startDatabase, type TestDatabase } from './database.ts'
import { type Answer, type Call, type ClientTls, call } from './https.ts'
import { testKeys, useKeys } from './keys.ts'
import {
  createPlatform,
  createSigner,
  type Identity,
  type Platform,
  recipientKey,
  serveKeys,
  type TokenSigner,
  TRUST_DOMAIN,
} from './platform.ts'
import { seal } from './seal.ts'
import { type Place, seedOrganization, seedResource, seedSession, seedWorker } from './seed.ts'

export const ISSUER = 'https://rap.test/control-plane'

export interface World {
  readonly database: TestDatabase
  readonly redisServer: RedisServer
  readonly redis: Redis
  readonly platform: Platform
  readonly signer: TokenSigner
  readonly keySet: Awaited<ReturnType<typeof serveKeys>>
  readonly controlPlane: Identity
  readonly worker: Identity
  readonly keys: KeyWrapPort
  /** Every log line of every resolver of this world, at trace level. */
  readonly log: string[]
  /** A running resolver; several share everything. */
  startResolver(options?: Partial<AppOptions>): Promise<Resolver>
}

export interface Resolver {
  readonly origin: string
  call(tls: ClientTls, options: Call): Promise<Answer>
  close(): Promise<void>
}

/** Real Postgres with both schemas, real Redis, certificates and a key set; everything ends with the test. */
export async function startWorld(t: Test, { keys = testKeys() }: { keys?: KeyWrapPort } = {}): Promise<World> {
  const [database, redisServer, platform, signer] = await Promise.all([
    startDatabase(t),
    startRedis(),
    createPlatform(),
    createSigner(),
  ])
  t.teardown(() => redisServer.stop())
  const log: string[] = []
  const logger = createLogger({
    service: 'secret-resolver',
    level: 'trace',
    destination: { write: line => log.push(line) },
  })
  const redis = openRedis(t, redisServer, logger)
  const controlPlane = await platform.identity('service', 'control-plane')
  const worker = await platform.identity('worker')
  const own = await platform.identity('service', 'secret-resolver')
  const keySet = await serveKeys(t, controlPlane, [signer.jwk])
  return {
    database,
    redisServer,
    redis,
    platform,
    signer,
    keySet,
    controlPlane,
    worker,
    keys,
    log,
    async startResolver(options = {}) {
      await useKeys(database.resolver, keys)
      const app = await buildApp({
        logger,
        tls: { cert: own.cert, key: own.key, ca: platform.ca },
        trustDomain: TRUST_DOMAIN,
        sql: database.resolver,
        redis,
        keys,
        versionRetentionMs: 3_600_000,
        kickRewrap: () => {},
        tokenKeys: remoteKeySet({ url: keySet.url, tls: () => ({ ca: own.ca, cert: own.cert, key: own.key }), logger })
          .lookup,
        issuer: ISSUER,
        isProduction: true,
        limits: { perWorkerPerMinute: 10_000, perSessionPerMinute: 10_000 },
        ...options,
      })
      await app.listen({ host: '127.0.0.1', port: 0 })
      const close = async () => {
        await app.close()
      }
      t.teardown(close)
      const origin = `https://127.0.0.1:${(app.server.address() as AddressInfo).port}`
      return { origin, close, call: (tls, options) => call(origin, tls, options) }
    },
  }
}

export function openRedis(t: Test, server: RedisServer, logger: Logger): Redis {
  const redis = connectRedis(server.url, { name: 'test', logger })
  t.teardown(() => redis.disconnect())
  return redis
}

/** A session on the world's worker, with a resource that may have its own metadata. */
export async function seedPlace(
  world: World,
  resource: { secretRef?: null; metadata?: object; worker?: string } = {},
): Promise<Place> {
  const { controlPlane: sql } = world.database
  const worker_id = resource.worker ?? world.worker.id
  const owner = await seedOrganization(sql)
  await seedWorker(sql, worker_id)
  const resource_id = await seedResource(sql, { organization_id: owner.organization_id, ...resource })
  return await seedSession(sql, { ...owner, resource_id, worker_id })
}

export function secretPath(place: Pick<Place, 'organization_id' | 'resource_id'>): string {
  return `/v1/secrets/${place.organization_id}/${place.resource_id}/rdp-primary`
}

/** Writes a secret the way the control plane does: key, seal, PUT. */
export async function putSecret(
  world: World,
  resolver: Resolver,
  place: Place,
  { payload, expected_version }: { payload?: unknown; expected_version?: number } = {},
): Promise<Answer> {
  const { body: jwk } = await resolver.call(world.controlPlane, { method: 'GET', path: '/v1/sealing-key' })
  const sealed = await seal(jwk, place, payload === undefined ? {} : { payload })
  return await resolver.call(world.controlPlane, {
    method: 'PUT',
    path: secretPath(place),
    body: {
      sealed,
      actor_user_id: place.user_id,
      request_id: randomUUID(),
      ...(expected_version !== undefined && { expected_version }),
    },
  })
}

/** Longer than any test takes: a lease ends where a test ends it. */
const LEASE_MS = 600_000

/** Writes the lease into Redis as the control plane does. */
export async function writeLease(world: World, place: Place, change: Record<string, unknown> = {}): Promise<void> {
  const { lease_id, worker_id, session_id, attachment_id } = place
  const lease = { lease_id, worker_id, session_id, attachment_id, ...change }
  await world.redis.set(`rap:lease:${lease_id}`, JSON.stringify(lease), 'PX', LEASE_MS)
}

export interface TokenChanges {
  readonly claims?: Partial<UnsignedClaims<'lease'>>
  readonly jti?: string
  readonly issuer?: string
  readonly ageSeconds?: number
}

export async function leaseToken(world: World, place: Place, changes: TokenChanges = {}): Promise<string> {
  const { user_id: _, ...claims } = place
  return await signToken(
    'lease',
    { ...claims, cnf: { 'x5t#S256': world.worker.thumbprint }, ...changes.claims },
    {
      key: world.signer,
      issuer: changes.issuer ?? ISSUER,
      jti: changes.jti ?? randomUUID(),
      nowSeconds: Math.floor(Date.now() / 1000) - (changes.ageSeconds ?? 0),
      lifetimeSeconds: 120,
    },
  )
}

/** One resolve with a key made for it. */
export async function resolve(
  resolver: Resolver,
  tls: ClientTls,
  token: string,
): Promise<Answer & { open(): Promise<{ header: Record<string, unknown>; payload: string }> }> {
  const recipient = await recipientKey()
  const answer = await resolver.call(tls, {
    method: 'POST',
    path: '/v1/resolve',
    body: { lease_token: token, recipient_jwk: recipient.jwk },
  })
  return {
    ...answer,
    async open() {
      const { plaintext, protectedHeader } = await compactDecrypt(answer.body.jwe, recipient.privateKey)
      return { header: { ...protectedHeader }, payload: Buffer.from(plaintext).toString() }
    },
  }
}

export interface AuditRow {
  readonly event: string
  readonly outcome: string
  readonly code: string | null
  readonly organization_id: string | null
  readonly actor_kind: string
  readonly actor_id: string
  readonly session_id: string | null
  readonly worker_id: string | null
  readonly resource_id: string | null
  readonly secret_ref: string | null
  readonly request_id: string | null
  readonly details: Record<string, unknown>
}

/** Audit events of one organization (null: the platform) in order. */
export async function auditOf(world: World, organizationId: string | null): Promise<AuditRow[]> {
  return await world.database.superuser<AuditRow[]>`
    select event, outcome, code, organization_id, actor_kind, actor_id, session_id, worker_id, resource_id, secret_ref,
      request_id, details
    from rap.audit_events where organization_id is not distinct from ${organizationId} order by sequence`
}
