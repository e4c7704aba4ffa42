import { createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { hash } from '@node-rs/argon2'
import { KeyRing, LocalKeyProvider, singleKeySource } from '@rap/key-provider'
import { createAuthority, issueCertificate } from '@rap/pki'
import {
  connectPostgres,
  connectRedis,
  createLogger,
  internalAgent,
  loadConfig,
  ProblemError,
  type Redis,
  type Sql,
} from '@rap/service-kit'
import {
  type PostgresServer,
  prepareDatabase as prepareRoles,
  type RedisServer,
  startPostgres,
  startRedis,
} from '@rap/testkit'
import { jwkThumbprint } from '@rap/token-claims'
import type { Test } from 'tap'
import { type AppDeps, buildApp, type ControlPlane } from '../src/app.ts'
import type { Caller } from '../src/auth/caller.ts'
import { newToken } from '../src/auth/opaque-tokens.ts'
import { checkConfig, configSchema } from '../src/config.ts'
import { prepareDatabase } from '../src/database.ts'
import { type KeyWrapping, wrappingBy } from '../src/keys/wrapping.ts'
import { HttpMasterKeys } from '../src/master-keys/keeper.ts'
import type { Role } from '../src/organizations/permissions.ts'
import { PlatformCa, type PlatformCaOptions } from '../src/platform-ca/platform-ca.ts'
import type { ResolverPort, SecretMetadata, SecretPlace, SecretVersions } from '../src/secrets/resolver.ts'
import { ResolverClient } from '../src/secrets/resolver-client.ts'
import { TestWorker } from './test-worker.ts'

export const PASSWORD = 'a long enough passphrase'
export const GATEWAY_URL = 'wss://gateway.example/data-plane/v1'
export const ORIGIN = 'https://portal.example'
export const CA_PEM = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'

/** The parameters of production cost 100 ms a hash; people of tests have a cheap one, and log-in upgrades it. */
const cheapHash = hash(PASSWORD, { memoryCost: 1024, timeCost: 1, parallelism: 1 })

/** Environment of an instance, all of it overridable. */
export function configOf(env: Record<string, string | undefined> = {}) {
  return loadConfig(
    configSchema,
    {
      APP_ENV: 'test',
      RAP_TRUST_DOMAIN: 'rap.test',
      RAP_PLATFORM_CA_FILE: '/nowhere/ca.pem',
      RAP_TLS_CERT_FILE: '/nowhere/cert.pem',
      RAP_TLS_KEY_FILE: '/nowhere/key.pem',
      CONTROL_PLANE_PUBLIC_ORIGINS: ORIGIN,
      CONTROL_PLANE_REQUESTS_PER_MINUTE: '1000000',
      DATABASE_URL: 'postgres://localhost/unused',
      REDIS_URL: 'redis://localhost/0',
      SECRET_RESOLVER_URL: 'https://localhost:1',
      DATA_PLANE_GATEWAY_URL: GATEWAY_URL,
      CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: '/nowhere/key',
      // The most there is: no test waits for its end, but the one that says so.
      SESSION_READY_TIMEOUT_SECONDS: '25',
      ...env,
    },
    { check: checkConfig },
  )
}

/** A resolver in this process that keeps what it was given, sealed as it is. */
export class MemoryResolver implements ResolverPort {
  readonly stored = new Map<string, { sealed: string; metadata: SecretMetadata }>()
  /** Thrown by the next call, if set. */
  failure: ProblemError | undefined

  async sealingKey() {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
    return { kty: 'EC', crv: 'P-256', x, y, kid: 'kid-1', use: 'enc', alg: 'ECDH-ES+A256KW' } as const
  }

  async write(place: SecretPlace, { sealed }: { sealed: string }, caller: Caller): Promise<SecretMetadata> {
    this.#failIfAsked()
    const before = this.stored.get(place.resourceId)?.metadata.version ?? 0
    const metadata = {
      secret_ref: `rap-secret://org/${place.organizationId}/resources/${place.resourceId}/rdp-primary`,
      version: before + 1,
      key_id: 'memory',
      algorithm: 'A256GCM',
      payload_sha256: createHash('sha256').update(sealed).digest('hex'),
      created_at: new Date().toISOString(),
      created_by: caller.id,
    }
    this.stored.set(place.resourceId, { sealed, metadata })
    return metadata
  }

  async read(place: SecretPlace): Promise<SecretMetadata> {
    this.#failIfAsked()
    const found = this.stored.get(place.resourceId)
    if (found === undefined) throw notFound()
    return found.metadata
  }

  async versions(place: SecretPlace): Promise<SecretVersions> {
    this.#failIfAsked()
    const found = this.stored.get(place.resourceId)
    const live = { state: 'live', superseded_at: null, destroy_after: null, destroyed_at: null } as const
    return { items: found === undefined ? [] : [{ ...found.metadata, ...live }] }
  }

  async rollback(place: SecretPlace, _order: unknown, caller: Caller): Promise<SecretMetadata> {
    this.#failIfAsked()
    const found = this.stored.get(place.resourceId)
    if (found === undefined) throw notFound()
    return await this.write(place, found, caller)
  }

  async delete(place: SecretPlace): Promise<void> {
    this.#failIfAsked()
    if (!this.stored.delete(place.resourceId)) throw notFound()
  }

  #failIfAsked() {
    const { failure } = this
    this.failure = undefined
    if (failure !== undefined) throw failure
  }
}

function notFound() {
  return new ProblemError({ code: 'ERR_SECRET_NOT_FOUND', status: 404, title: 'The resource has no secret' })
}

/** Agent of a control plane whose resolver is not there: nothing listens on the port. */
const agent = createAuthority({ name: 'test CA', days: 1, now: new Date() }).then(async authority => {
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: 'control-plane',
    usages: ['client'],
    now: new Date(),
  })
  const identity = { trustDomain: 'rap.test', expectedIdentity: 'service/secret-resolver' }
  return internalAgent({ cert: certificatePem, key: keyPem, ca: authority.certificatePem, ...identity })
})

export interface TestUser {
  readonly id: string
  readonly email: string
  readonly token: string
}

export interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field.
  readonly body: any
  readonly text: string
  readonly headers: Record<string, string | string[] | number | undefined>
}

export interface CallOptions {
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

/** A fresh key that wraps private keys at rest. */
export function newWrapping(): KeyWrapping {
  const key = new LocalKeyProvider({ keyId: 'test', key: randomBytes(32), provider: 'env' })
  return wrappingBy(new KeyRing([singleKeySource(key)]), key.keyId)
}

/** Postgres and Redis of one test file, and instances of the control plane on them. */
export class Stand {
  readonly postgres: PostgresServer
  readonly redisServer: RedisServer
  readonly superuserUrl: string
  readonly url: string
  readonly resolverUrl: string
  /** As the control plane's own role. */
  readonly sql: Sql
  readonly redis: Redis
  readonly keys = newWrapping()
  readonly resolver = new MemoryResolver()
  #log = ''
  readonly #closers: (() => unknown)[] = []

  constructor(servers: {
    postgres: PostgresServer
    redisServer: RedisServer
    urls: { superuser: string; controlPlane: string; secretResolver: string }
  }) {
    this.postgres = servers.postgres
    this.redisServer = servers.redisServer
    this.superuserUrl = servers.urls.superuser
    this.url = servers.urls.controlPlane
    this.resolverUrl = servers.urls.secretResolver
    this.sql = connectPostgres(this.url, { max: 20, applicationName: 'test' })
    this.redis = connectRedis(this.redisServer.url, { name: 'test', logger: this.logger() })
  }

  /** Everything that the instances logged. */
  get log(): string {
    return this.#log
  }

  logger() {
    return createLogger({
      service: 'control-plane',
      level: 'trace',
      destination: {
        write: line => {
          this.#log += line
        },
      },
    })
  }

  /** The CA as an instance has it: brought along in a file until one is founded in the database. */
  platformCa(sql: Sql = this.sql, options: Partial<PlatformCaOptions> = {}): PlatformCa {
    return new PlatformCa({
      sql,
      keys: this.keys,
      trustDomain: 'rap.test',
      certificateHours: 24,
      overlapMinutes: 60,
      caRef: undefined,
      fileBundlePem: () => CA_PEM,
      ...options,
    })
  }

  /** One more instance, closed with the stand or by its own `stop`. */
  async build(env: Record<string, string | undefined> = {}, deps: Partial<AppDeps> = {}): Promise<Instance> {
    const logger = this.logger()
    const drain = new AbortController()
    const sql = connectPostgres(this.url, { max: 20, applicationName: 'rap-control-plane', logger })
    const redis = connectRedis(this.redisServer.url, { name: 'rap-control-plane', logger })
    const disconnect = async () => {
      redis.disconnect()
      await sql.end({ timeout: 5 })
    }
    const controlPlane = await buildApp(configOf(env), {
      sql,
      redis,
      logger,
      keys: this.keys,
      resolver: this.resolver,
      masterKeys: new HttpMasterKeys(
        new ResolverClient({ baseUrl: 'https://localhost:1', agent: await agent, logger }),
      ),
      platformCa: this.platformCa(sql),
      signal: drain.signal,
      identify: request => {
        const [kind, id] = String(request.headers['x-test-peer'] ?? '').split('/')
        if (kind !== 'worker' && kind !== 'service') return undefined
        const thumbprint =
          request.headers['x-test-thumbprint']?.toString() ??
          createHash('sha256')
            .update(String(request.headers['x-test-certificate'] ?? id))
            .digest('base64url')
        return { kind, id: id ?? '', trustDomain: 'rap.test', thumbprint, certificate: undefined as never }
      },
      ...deps,
    }).catch(async error => {
      await disconnect()
      throw error
    })
    let isStopped = false
    const stop = async () => {
      if (isStopped) return
      isStopped = true
      drain.abort()
      await controlPlane.close()
      await disconnect()
    }
    this.#closers.push(stop)
    return new Instance(controlPlane, this, stop)
  }

  /** Another, empty database of the same server. */
  async freshDatabase(): Promise<Stand> {
    const superuser = await this.postgres.createDatabase(`rap_${randomBytes(4).toString('hex')}`)
    const sql = connectPostgres(superuser, { max: 1, applicationName: 'test' })
    await sql`create schema rap authorization rap_control_plane`
    await sql.end()
    // The same roles with the same passwords, in the other database.
    const there = (url: string) => Object.assign(new URL(url), { pathname: new URL(superuser).pathname }).href
    const urls = { superuser, controlPlane: there(this.url), secretResolver: there(this.resolverUrl) }
    const fresh = new Stand({
      postgres: { ...this.postgres, stop: async () => {} },
      redisServer: { ...this.redisServer, stop: async () => {} },
      urls,
    })
    this.#closers.push(() => fresh.close())
    await prepareDatabase(fresh.sql, fresh.logger())
    return fresh
  }

  onClose(close: () => unknown): void {
    this.#closers.push(close)
  }

  async organization(name = 'Organization'): Promise<string> {
    const [row] = await this.sql<{ id: string }[]>`insert into rap.organizations (name) values (${name}) returning id`
    return row!.id
  }

  /** A person with an access token, and a membership where a role is given. */
  async user(
    options: { organizationId?: string; role?: Role; platformRole?: 'owner'; email?: string } = {},
  ): Promise<TestUser> {
    const email = options.email ?? `u${randomUUID()}@example.com`
    const [row] = await this.sql<{ id: string }[]>`
      insert into rap.users (email, display_name, password_hash, platform_role, home_organization_id)
      values (${email}, 'Test User', ${await cheapHash}, ${options.platformRole ?? null}, ${options.organizationId ?? null})
      returning id`
    const { id } = row!
    if (options.organizationId !== undefined && options.role !== undefined) {
      await this.member(options.organizationId, id, options.role)
    }
    return { id, email, token: await this.token(id) }
  }

  async member(organizationId: string, userId: string, role: Role): Promise<void> {
    await this.sql`
      insert into rap.memberships (organization_id, user_id, role) values (${organizationId}, ${userId}, ${role})`
  }

  async token(userId: string): Promise<string> {
    const { token, hash: tokenHash } = newToken('access')
    await this.sql`
      with family as (
        insert into rap.token_families (user_id, expires_at) values (${userId}, now() + interval '1 day') returning id
      )
      insert into rap.access_tokens (token_hash, family_id, user_id, expires_at)
      select ${tokenHash}, id, ${userId}, now() + interval '15 minutes' from family`
    return token
  }

  /** A resource that has its secret. */
  async resource(
    organizationId: string,
    options: { metadata?: Record<string, unknown>; labels?: Record<string, string>; secret?: boolean } = {},
  ): Promise<string> {
    const id = randomUUID()
    const secretRef = `rap-secret://org/${organizationId}/resources/${id}/rdp-primary`
    await this.sql`
      insert into rap.resources (id, organization_id, name, protocol, address, metadata, labels, secret_ref)
      values (${id}, ${organizationId}, 'Desktop', 'rdp', 'desktop.example:3389',
        ${this.sql.json((options.metadata ?? {}) as never)}, ${this.sql.json(options.labels ?? {})},
        ${options.secret === false ? null : secretRef})`
    return id
  }

  /** Events of a chain, oldest first. */
  async audit(organizationId: string | null): Promise<Record<string, unknown>[]> {
    return await this.sql`
      select * from rap.audit_events where organization_id is not distinct from ${organizationId} order by sequence`
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close()
    this.redis.disconnect()
    await this.sql.end({ timeout: 5 })
    await this.redisServer.stop()
    await this.postgres.stop()
  }
}

/** One running control plane. */
export class Instance {
  readonly controlPlane: ControlPlane
  readonly stand: Stand
  readonly stop: () => Promise<void>

  constructor(controlPlane: ControlPlane, stand: Stand, stop: () => Promise<void>) {
    this.controlPlane = controlPlane
    this.stand = stand
    this.stop = stop
  }

  /** A call of the public API. */
  async call(
    user: { token: string } | undefined,
    method: string,
    url: string,
    options: CallOptions = {},
  ): Promise<Answer> {
    return await send(this.controlPlane.publicApp, method, url, {
      ...options,
      headers: { ...(user === undefined ? {} : { authorization: `Bearer ${user.token}` }), ...options.headers },
    })
  }

  /** A call of the internal API by a peer such as `worker/<id>`. */
  async internal(peer: string | undefined, method: string, url: string, options: CallOptions = {}): Promise<Answer> {
    return await send(this.controlPlane.internalApp, method, url, {
      ...options,
      headers: { ...(peer === undefined ? {} : { 'x-test-peer': peer }), ...options.headers },
    })
  }

  /** A worker that has announced itself, sends heartbeats and answers assignments as it is told. */
  async worker(options: { labels?: Record<string, string>; maxSessions?: number } = {}): Promise<TestWorker> {
    const worker = new TestWorker(this, options)
    this.stand.onClose(() => worker.stop())
    await worker.announce()
    return worker
  }
}

async function send(
  app: ControlPlane['publicApp'],
  method: string,
  url: string,
  options: CallOptions,
): Promise<Answer> {
  const answer = await app.inject({
    method: method as 'GET',
    url,
    headers: {
      ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    },
    ...(options.body === undefined ? {} : { payload: JSON.stringify(options.body) }),
  })
  const isJson = /\bjson\b/.test(String(answer.headers['content-type'] ?? ''))
  return {
    status: answer.statusCode,
    body: isJson && answer.payload !== '' ? JSON.parse(answer.payload) : undefined,
    text: answer.payload,
    headers: answer.headers as Answer['headers'],
  }
}

/** Starts Postgres and Redis for a test file and stops them with it. */
export async function startStand(t: Test): Promise<Stand> {
  const [postgres, redisServer] = await Promise.all([startPostgres(), startRedis()])
  const urls = await prepareRoles(await postgres.createDatabase('rap'))
  const stand = new Stand({ postgres, redisServer, urls })
  t.teardown(() => stand.close())
  await prepareDatabase(stand.sql, stand.logger())
  return stand
}

/** A client's key for DPoP, as its thumbprint. */
export async function newJkt(): Promise<string> {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return await jwkThumbprint(publicKey.export({ format: 'jwk' }) as never)
}
