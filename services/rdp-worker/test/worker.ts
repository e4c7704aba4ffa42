import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { type Authority, createAuthority } from '@rap/pki'
import {
  connectRedis,
  createLogger,
  createMetrics,
  loadConfig,
  type Metrics,
  openPlatformIdentity,
  type PlatformIdentity,
  type Redis,
} from '@rap/service-kit'
import {
  type CertificateFiles,
  freePort,
  type RedisServer,
  startRedis,
  tempDir,
  writePlatformCertificate,
} from '@rap/testkit'
import type { AssignmentClaims } from '@rap/token-claims'
import root from 'tap'
import type { ClientOptions } from 'ws'
import { startWorker, type Worker, type WorkerTimes } from '../src/app.ts'
import { checkConfig, configSchema } from '../src/config.ts'
import { type BindMessage, type Closed, DataPlaneClient } from './client.ts'
import { ControlPlanePeer } from './control-plane.ts'
import type { Teardown } from './peer.ts'
import { ResolverPeer } from './resolver.ts'
import {
  type AssignmentChanges,
  assignmentFor,
  ClientKey,
  newPlace,
  type Place,
  type SigningSet,
  signingSet,
} from './signing.ts'

/** What the tests of one file share, since each start of it costs half a second. */
interface Common {
  readonly authority: Authority
  readonly signing: SigningSet
  readonly redisServer: RedisServer
}

async function makeCommon(): Promise<Common> {
  const redisServer = await startRedis()
  root.teardown(() => redisServer.stop())
  const authority = await createAuthority({ name: 'platform CA', days: 30, now: new Date() })
  return { authority, signing: await signingSet(), redisServer }
}

let made: Promise<Common> | undefined

/** The parts that every worker of a file is connected to. */
export function common(): Promise<Common> {
  made ??= makeCommon()
  return made
}

/** An attachment that the control plane has ordered. */
export interface Ordered extends Place {
  readonly leaseId: string
}

export type TargetChanges = Partial<AssignmentClaims['target']> & { readonly address: string }

export interface Env {
  readonly id: string
  readonly url: string
  readonly dir: string
  readonly files: CertificateFiles
  readonly env: Readonly<Record<string, string>>
}

/** A folder, certificates and the environment of a worker that is yet to start. */
export async function workerEnv(
  t: Teardown,
  peers: { readonly controlPlane: ControlPlanePeer; readonly resolver: ResolverPeer },
): Promise<Env> {
  const { authority, signing, redisServer } = await common()
  const dir = tempDir('rap-worker-')
  t.teardown(() => dir.remove())
  const id = randomUUID()
  const files = await writePlatformCertificate(dir.path, authority, { kind: 'worker', id })
  const caFile = join(dir.path, 'ca.pem')
  writeFileSync(caFile, authority.certificatePem)
  const port = await freePort()
  const url = `wss://localhost:${port}${DATA_PLANE_PATH}`
  const env = {
    APP_ENV: 'test',
    RAP_PLATFORM_CA_FILE: caFile,
    RAP_TLS_CERT_FILE: files.certFile,
    RAP_TLS_KEY_FILE: files.keyFile,
    RDP_WORKER_ID: id,
    RDP_WORKER_NAME: 'test worker',
    RDP_WORKER_HOST: '127.0.0.1',
    RDP_WORKER_PORT: String(port),
    RDP_WORKER_PUBLIC_URL: url,
    RDP_WORKER_DATA_PLANE_TLS_CERT_FILE: files.certFile,
    RDP_WORKER_DATA_PLANE_TLS_KEY_FILE: files.keyFile,
    RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM: signing.publicPem,
    CONTROL_PLANE_INTERNAL_URL: peers.controlPlane.peer.url,
    SECRET_RESOLVER_URL: peers.resolver.peer.url,
    REDIS_URL: redisServer.url,
    RDP_WORKER_TARGET_ALLOW: '127.0.0.0/8',
    RDP_WORKER_DRAIN_SECONDS: '0',
    RDP_WORKER_UPLOAD_DIR: join(dir.path, 'uploads'),
    HEALTH_PORT: '0',
  }
  return { id, url, dir: dir.path, files, env }
}

/** A worker in this process with its real listener, a real Redis, and peers over real mutual TLS. */
export class TestWorker {
  readonly id: string
  readonly url: string
  readonly files: CertificateFiles
  readonly controlPlane: ControlPlanePeer
  readonly resolver: ResolverPeer
  readonly redis: Redis
  readonly worker: Worker
  readonly identity: PlatformIdentity
  readonly metrics: Metrics
  readonly key: ClientKey
  readonly lines: string[]
  readonly stopping: AbortController
  readonly #common: Common
  readonly #t: Teardown
  #drained: Promise<void> | undefined

  private constructor(
    parts: Pick<
      TestWorker,
      | 'id'
      | 'url'
      | 'files'
      | 'controlPlane'
      | 'resolver'
      | 'redis'
      | 'worker'
      | 'identity'
      | 'metrics'
      | 'key'
      | 'lines'
      | 'stopping'
    >,
    shared: Common,
    t: Teardown,
  ) {
    this.id = parts.id
    this.url = parts.url
    this.files = parts.files
    this.controlPlane = parts.controlPlane
    this.resolver = parts.resolver
    this.redis = parts.redis
    this.worker = parts.worker
    this.identity = parts.identity
    this.metrics = parts.metrics
    this.key = parts.key
    this.lines = parts.lines
    this.stopping = parts.stopping
    this.#common = shared
    this.#t = t
  }

  static async start(
    t: Teardown,
    options: {
      readonly env?: Readonly<Record<string, string>>
      readonly times?: WorkerTimes
      /** Before the worker starts. */
      readonly prepare?: (controlPlane: ControlPlanePeer) => void
    } = {},
  ): Promise<TestWorker> {
    const shared = await common()
    const controlPlane = await ControlPlanePeer.start(t, shared.authority)
    const resolver = await ResolverPeer.start(t, shared.authority)
    options.prepare?.(controlPlane)
    const { id, url, files, env } = await workerEnv(t, { controlPlane, resolver })
    const config = loadConfig(configSchema, { ...env, ...options.env }, { check: checkConfig })
    const lines: string[] = []
    const logger = createLogger({
      service: 'rdp-worker',
      level: 'debug',
      fields: ['relay_event', 'to_client_bytes', 'to_target_bytes', 'paused_count'],
      destination: { write: line => lines.push(line) },
    })
    const connect = (name: string): Redis => connectRedis(shared.redisServer.url, { name: `test-${name}`, logger })
    const redis = { commands: connect('commands'), stream: connect('stream'), subscription: connect('subscription') }
    t.teardown(() => {
      for (const connection of Object.values(redis)) connection.disconnect()
    })
    const identity = await openPlatformIdentity({ config, kind: 'worker', id: config.RDP_WORKER_ID, logger })
    t.teardown(() => identity.close())
    const stopping = new AbortController()
    const metrics = createMetrics({ service: 'rdp-worker' })
    const worker = await startWorker({
      config,
      logger,
      metrics,
      redis,
      identity,
      signal: stopping.signal,
      ...(options.times && { times: options.times }),
    })
    const parts = {
      id,
      url,
      files,
      controlPlane,
      resolver,
      redis: redis.commands,
      worker,
      identity,
      metrics,
      lines,
      stopping,
    }
    const started = new TestWorker({ ...parts, key: await ClientKey.make() }, shared, t)
    t.teardown(() => started.drain())
    return started
  }

  get signing(): SigningSet {
    return this.#common.signing
  }

  get authority(): Authority {
    return this.#common.authority
  }

  /** As SIGTERM does; the same drain however often it is called. */
  drain(): Promise<void> {
    this.stopping.abort()
    this.#drained ??= this.worker.drain()
    return this.#drained
  }

  /** Puts an order into Redis, as the control plane does. */
  async order(target: TargetChanges, claims: AssignmentChanges = {}): Promise<Ordered> {
    const fresh = newPlace(this.id)
    // The lease says what the order says, or it counts as somebody else's.
    const place = { ...fresh, session_id: claims.session_id ?? fresh.session_id }
    this.controlPlane.states.set(place.attachment_id, { state: 'assigning', reason: null })
    const whole: AssignmentClaims['target'] = {
      protocol: 'rdp',
      certificate_verification_mode: 'insecure',
      security: 'auto',
      render_quality_profile: 'balanced',
      ...target,
    }
    const { jws, leaseId } = await assignmentFor(this.signing, place, whole, {
      claims: { bind_urls: [this.url], ...claims },
    })
    const { worker_id, session_id, attachment_id } = place
    const lease = JSON.stringify({ lease_id: leaseId, worker_id, session_id, attachment_id })
    await this.redis.set(`rap:lease:${leaseId}`, lease, 'PX', 30_000)
    await this.redis.xadd(`rap:worker:${this.id}:assignments`, '*', 'assignment', jws)
    return { ...place, leaseId }
  }

  /** An order, and the wait until its target is ready. */
  async ready(target: TargetChanges, claims: AssignmentChanges = {}): Promise<Ordered> {
    const ordered = await this.order(target, claims)
    await this.controlPlane.reported(ordered.attachment_id, 'ready')
    return ordered
  }

  /** Token and proof of the client that has started the session. */
  async credentials(
    place: Place,
    changes: Parameters<ClientKey['token']>[2] = {},
  ): Promise<{ token: string; proof: string }> {
    const token = await this.key.token(this.signing, place, changes)
    return { token, proof: await this.key.proof(token, this.url) }
  }

  async connect(options: ClientOptions = {}): Promise<DataPlaneClient> {
    return await DataPlaneClient.connect(this.#t, this.url, { ca: this.authority.certificatePem, ...options })
  }

  /** A connection that was closed, or is bound. */
  async bind(
    place: Place,
    message: Partial<BindMessage> = {},
  ): Promise<{ client: DataPlaneClient; outcome: 'bound' | Closed }> {
    const client = await this.connect()
    const outcome = await client.bind({ ...(await this.credentials(place)), ...message })
    return { client, outcome }
  }

  /** A desktop that a client has up. */
  async desktop(
    target: TargetChanges,
    message: Partial<BindMessage> = {},
  ): Promise<{ place: Ordered; client: DataPlaneClient }> {
    const place = await this.ready(target)
    const { client, outcome } = await this.bind(place, message)
    if (outcome !== 'bound') throw new Error(`bind was refused with ${outcome.reason}`)
    await client.rdp?.toActive()
    return { place, client }
  }

  async metric(name: string): Promise<number> {
    const metric = await this.metrics.registry.getSingleMetric(name)?.get()
    return metric?.values[0]?.value ?? 0
  }
}
