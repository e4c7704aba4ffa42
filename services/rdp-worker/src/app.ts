import { RUNTIME_TRANSPORTS } from '@rap/data-plane-protocol'
import {
  ConnectionLimits,
  InternalClient,
  internalAgent,
  isProduction,
  type Logger,
  type Metrics,
  PacedAttempts,
  type PlatformIdentity,
  type Redis,
} from '@rap/service-kit'
import { Heartbeat } from './assignments/heartbeat.ts'
import { newestAssignment, takeAssignments } from './assignments/intake.ts'
import { Leases } from './assignments/leases.ts'
import { type Config, dataPlaneTlsFiles, labelsOf, targetPolicy } from './config.ts'
import { openAudit } from './control-plane/audit.ts'
import { ControlPlane } from './control-plane/client.ts'
import { verificationKeys } from './control-plane/keys.ts'
import { RevokedState } from './control-plane/revoked.ts'
import { AttachmentWatch } from './control-plane/watch.ts'
import { LeaseAgents, type LeaseClient } from './credentials/lease-agents.ts'
import { Binder } from './data-plane/bind.ts'
import { readChain } from './data-plane/certificate-chain.ts'
import { DataPlane } from './data-plane/server.ts'
import type { AttachmentTimes } from './relays/attachment.ts'
import { Attachments } from './relays/attachments.ts'
import { Landing } from './relays/landing.ts'
import { READS_LAND_IN_PLACE } from './relays/target-reader.ts'
import { Sessions } from './sessions/sessions.ts'
import { UploadStores } from './uploads/stores.ts'
import { WorkerMetrics } from './worker-metrics.ts'

/** Version that administrators see beside the worker. */
const VERSION = '0.1.0'
/** Pause between two tries to announce, in milliseconds. */
const ANNOUNCE_RETRY_MS = 1000
/** Time between two announcements, in milliseconds: a database that was restored learns of the worker again. */
const ANNOUNCE_MS = 60_000

export interface WorkerDeps {
  readonly config: Config
  readonly logger: Logger
  readonly metrics: Metrics
  /** Commands; and two connections that a blocking read and a subscription hold. */
  readonly redis: { readonly commands: Redis; readonly stream: Redis; readonly subscription: Redis }
  /** For internal calls, and for clients where the data plane has no certificate of its own. */
  readonly identity: PlatformIdentity
  readonly signal: AbortSignal
  /** Default: those of the parts. */
  readonly times?: WorkerTimes
}

/** Times that tests shorten, in milliseconds. */
export interface WorkerTimes extends AttachmentTimes {
  readonly bindTimeoutMs?: number
  readonly lingerMs?: number
  readonly leaseMs?: number
  readonly pollMs?: number
  readonly auditWindowMs?: number
}

export interface Worker {
  /** Port of the data plane. */
  readonly port: number
  ready(): Promise<Record<string, string>>
  /** Connections of clients from now on get the certificate that is in the files. Rejects where it is not this worker's. */
  reloadDataPlaneTls(): Promise<void>
  /** Takes no further session, lets live ones go on for a while, then closes what is left and tells it why. */
  drain(): Promise<void>
}

/** Joins the parts and starts them. */
export async function startWorker(deps: WorkerDeps): Promise<Worker> {
  const { config, logger, metrics, redis, identity, signal, times } = deps
  const { DATA_PLANE_ISSUER: issuer } = config
  const { id: workerId } = identity
  const ownFiles = dataPlaneTlsFiles(config)
  const tlsFiles = ownFiles ?? { certFile: identity.certFile, keyFile: identity.keyFile }
  const chainNow = () => readChain(tlsFiles.certFile, identity, config.RAP_TRUST_DOMAIN)
  let certificateChain = chainNow()
  const counts = new WorkerMetrics(metrics)
  const landing = new Landing()
  if (!READS_LAND_IN_PLACE) {
    logger.warn(
      { event: 'reads_are_copied', version: process.versions.node },
      'reads are copied on this version of Node',
    )
  }
  const clientOf = (service: string, baseUrl: string, material: PlatformIdentity['material']): LeaseClient => {
    const identified = { trustDomain: config.RAP_TRUST_DOMAIN, expectedIdentity: `service/${service}` }
    const agent = internalAgent({ ...material, ...identified })
    return { agent, client: new InternalClient({ baseUrl, logger, agent }) }
  }
  const upstream = clientOf('control-plane', config.CONTROL_PLANE_INTERNAL_URL, identity.material)
  const leaseAgents = new LeaseAgents(identity.material, material =>
    clientOf('secret-resolver', config.SECRET_RESOLVER_URL, material),
  )
  const revoked = new RevokedState(logger)
  identity.onRevoked(() => revoked.learn('ERR_WORKER_REVOKED'))
  const controlPlane = new ControlPlane(upstream.client, code => revoked.learn(code))
  const audit = openAudit({ controlPlane, logger, metrics, windowMs: times?.auditWindowMs })
  const keys = await verificationKeys(config, {
    tls: () => identity.material,
    logger,
    // A minute is long for those whose desktops do not start until this worker knows that it lacks the key.
    onUnknownKey: () => void announcements.any(),
  })
  const leases = new Leases({
    redis: redis.commands,
    logger,
    leaseMs: times?.leaseMs,
    onLost: lease => attachments.end(lease.attachment_id, 'ERR_SESSION_LEASE_LOST'),
  })
  const stores = await UploadStores.open({
    dir: config.RDP_WORKER_UPLOAD_DIR,
    workerId,
    maxBytes: config.RDP_WORKER_UPLOAD_MAX_BYTES,
    reserveBytes: config.RDP_WORKER_UPLOAD_RESERVE_BYTES,
    logger,
    counts,
  })
  counts.watchUploads(stores)
  const sessions = new Sessions(stores)
  const attachments: Attachments = new Attachments({
    controlPlane,
    audit,
    resolverFor: token => leaseAgents.for(token),
    leases,
    targetPolicy: targetPolicy(config),
    platformCa: () => identity.material.ca,
    production: isProduction(config.APP_ENV),
    credSspMinimumVersion: config.RDP_WORKER_CREDSSP_MINIMUM_VERSION,
    maxSessions: config.RDP_WORKER_MAX_SESSIONS,
    sessions,
    landing,
    metrics: counts,
    logger,
    times,
  })
  let gatewayUrl: string | undefined
  const binder = new Binder({
    workerId,
    issuer,
    keys: keys.lookup,
    attachments,
    controlPlane,
    audit,
    ownUrls: () => [config.RDP_WORKER_PUBLIC_URL, ...(gatewayUrl === undefined ? [] : [gatewayUrl])],
    metrics: counts,
    logger,
  })
  const limits = new ConnectionLimits({
    maxConnections: config.RDP_WORKER_MAX_SESSIONS + config.RDP_WORKER_MAX_UNBOUND_CONNECTIONS,
    maxUnbound: config.RDP_WORKER_MAX_UNBOUND_CONNECTIONS,
    // Behind a gateway or a NAT many users have one address: those that have bound are not counted.
    maxUnboundPerAddress: config.RDP_WORKER_MAX_UNBOUND_PER_ADDRESS,
  })
  const dataPlane = new DataPlane({
    host: config.RDP_WORKER_HOST,
    port: config.RDP_WORKER_PORT,
    ...tlsFiles,
    limits,
    landing,
    bindTimeoutMs: times?.bindTimeoutMs,
    lingerMs: times?.lingerMs,
    binder,
    logger,
    certificateChain: () => certificateChain,
  })
  counts.watch({
    sessions: () => attachments.size,
    relays: () => attachments.relays.length,
    pausedTargets: () => attachments.relays.filter(relay => relay.paused).length,
    connections: () => limits.connections,
    unboundConnections: () => limits.unbound,
    certificates: () => dataPlane.certificates,
  })

  const reloadDataPlaneTls = async () => {
    const chain = chainNow()
    await dataPlane.reload()
    certificateChain = chain
  }
  identity.onChange(async next => {
    upstream.agent.setTls(next)
    leaseAgents.setTls(next)
    if (ownFiles === undefined) await reloadDataPlaneTls()
    // Lease tokens are bound to the certificate of the last announcement.
    await announcements.fresh()
  })

  let announced = false
  let beat = async (): Promise<void> => undefined
  const announceNow = async (): Promise<void> => {
    try {
      const answer = await controlPlane.announce({
        ...(config.RDP_WORKER_NAME !== undefined && { name: config.RDP_WORKER_NAME }),
        labels: labelsOf(config),
        public_url: config.RDP_WORKER_PUBLIC_URL,
        version: VERSION,
        runtime_transports: RUNTIME_TRANSPORTS,
      })
      gatewayUrl = answer.gateway_url ?? undefined
      announced = true
      const couldVerify = keys.verifiesNewTokens
      keys.learn(answer)
      if (keys.verifiesNewTokens !== couldVerify) await beat()
    } catch (error) {
      logger.warn({ event: 'worker_not_announced', err: error }, 'worker not announced')
    }
  }
  const announcements = new PacedAttempts({ attempt: announceNow, pauseMs: ANNOUNCE_RETRY_MS })
  const announce = async (): Promise<void> => {
    await announcements.any()
    if (signal.aborted || revoked.isRevoked) return
    setTimeout(() => void announce(), announced ? ANNOUNCE_MS : ANNOUNCE_RETRY_MS).unref()
  }
  const port = await dataPlane.listen()
  await announce()

  const watch = new AttachmentWatch({
    redis: redis.subscription,
    controlPlane,
    logger,
    workerId,
    attachments: () => attachments.ids(),
    onEnded: (id, reason) => attachments.end(id, reason),
    onActive: id => attachments.boundElsewhere(id),
    onPolicy: (id, policy) => attachments.setPolicy(id, policy),
    sessions: () => sessions.ids(),
    // What was asked before the session came back here is no word about it: the next answer is.
    onSessionOver: id => {
      if (!attachments.hasSession(id)) void sessions.forget(id)
    },
    pollMs: times?.pollMs,
  })
  await watch.start()
  // Orders that come during a drain are still read, and turned away at once.
  const stopped = new AbortController()
  // Before the first heartbeat: what is ordered as soon as the control plane sees this worker lies behind it.
  const after = await newestAssignment(redis.stream, workerId)
  void takeAssignments({
    redis: redis.stream,
    after,
    workerId,
    keys: keys.lookup,
    issuer,
    logger,
    onAssignment: assignment => void attachments.open(assignment),
    audit,
    signal: stopped.signal,
  })
  const heartbeat = new Heartbeat({
    redis: redis.commands,
    logger,
    workerId,
    publicUrl: config.RDP_WORKER_PUBLIC_URL,
    labels: labelsOf(config),
    version: VERSION,
    load: () => ({
      sessions: attachments.size,
      max_sessions: config.RDP_WORKER_MAX_SESSIONS,
      traffic_ready: announced && keys.verifiesNewTokens && !signal.aborted && !revoked.isRevoked,
    }),
  })
  beat = () => heartbeat.beat()
  await beat()
  revoked.onRevoked(() => {
    attachments.drain()
    dataPlane.stopListening()
    watch.close()
    stopped.abort()
    void heartbeat.stop()
    // Its reports are refused, and nobody waits for them: the control plane has ended the sessions itself.
    void attachments.endAll('ERR_WORKER_REVOKED')
    void sessions.forgetAll()
    dataPlane.closeConnections('ERR_WORKER_REVOKED')
  })

  return {
    port,
    async ready() {
      return {
        identity: identity.status(),
        redis: (await redis.commands.ping()) === 'PONG' ? 'ok' : 'not ready',
        control_plane: revoked.status() ?? (announced ? 'ok' : 'not announced'),
        verification_keys: await keys.status(),
      }
    },
    reloadDataPlaneTls,
    async drain() {
      attachments.drain()
      await heartbeat.stop()
      // The listener stays: a desktop that is ready still waits for its client.
      const until = performance.now() + config.RDP_WORKER_DRAIN_SECONDS * 1000
      while (attachments.size > 0 && performance.now() < until) await new Promise(resolve => setTimeout(resolve, 100))
      dataPlane.stopListening()
      watch.close()
      keys.close()
      await attachments.endAll('ERR_WORKER_DRAINING')
      leases.close()
      dataPlane.closeAll()
      stopped.abort()
      await sessions.forgetAll()
      await audit.close()
      await Promise.all([upstream.agent.destroy(), leaseAgents.destroy()])
    },
  }
}
