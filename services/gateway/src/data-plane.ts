import type { Socket } from 'node:net'
import { CLOSE_REASONS, type CloseReason } from '@rap/data-plane-protocol'
import { type ConnectionLimits, type Logger, ProblemError, type RemoteKeySet } from '@rap/service-kit'
import { type DataPlaneClaims, TokenError, verifyToken } from '@rap/token-claims'
import { decodeJwt } from 'jose'
import type { WebSocket } from 'ws'
import { type Dialect, dialectOf, readFirstMessage } from './first-message.ts'
import { firstMessages, type RawMessage } from './first-messages.ts'
import type { GatewayMetrics } from './gateway-metrics.ts'
import { Refusal } from './refusal.ts'
import type { RefusedBind } from './refusal-reporter.ts'
import { type Direction, relay } from './relay.ts'
import { closeWithReason } from './tell.ts'
import { type DialledWorker, dialWorker, type WorkerTrust } from './worker-dial.ts'
import type { WorkerDirectory } from './worker-directory.ts'

export interface DataPlaneDeps {
  readonly directory: WorkerDirectory
  readonly keys: RemoteKeySet
  readonly trust: Omit<WorkerTrust, 'isRevoked'>
  readonly issuer: string
  readonly metrics: GatewayMetrics
  readonly limits: ConnectionLimits
  /** How long a client may take to its first message, in milliseconds. */
  readonly bindTimeoutMs: number
  /** Brings refused binds into the audit. */
  readonly reportRefusal: (refused: RefusedBind) => void
}

/** One client's connection, from its upgrade to its end. */
export interface ClientConnection {
  readonly socket: WebSocket
  /** The stream under the WebSocket; its bytes are counted while the client is unbound. */
  readonly stream: Socket
  /** Called once the client has shown a token that verifies. */
  readonly onVerified: () => void
  readonly logger: Logger
  readonly requestId: string
  readonly clientAddress: string
}

/** A client whose token verifies, and an open connection to its worker. */
interface Reached {
  readonly claims: DataPlaneClaims
  readonly worker: DialledWorker
}

/** A relay as far as a revocation is concerned. */
interface Carried {
  readonly workerId: string
  readonly thumbprint: string
  /** Tells the client why, and leaves the worker no further byte. */
  revoke(): void
}

/** Refusals that are worth a row in the audit: somebody had a token. Silence and noise of strangers are in log and metrics only. */
const AUDITED: ReadonlySet<CloseReason> = new Set<CloseReason>([
  'ERR_BIND_TOKEN_INVALID',
  'ERR_BIND_TOKEN_EXPIRED',
  'ERR_BIND_UNAVAILABLE',
  'ERR_WORKER_UNREACHABLE',
  'ERR_WORKER_REVOKED',
])
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

function attachmentIdOf(token: string): string | undefined {
  const { attachment_id: id } = decodeJwt(token)
  return typeof id === 'string' && UUID.test(id) ? id : undefined
}

/** A connection that a drain can end. */
export interface LiveConnection {
  close(reason: CloseReason): void
  terminate(): void
}

/** Carries client connections to their workers. It decides nothing for good: the worker checks everything again. */
export class DataPlane {
  readonly #deps: DataPlaneDeps
  readonly #live = new Set<LiveConnection>()
  readonly #carried = new Set<Carried>()

  constructor(deps: DataPlaneDeps) {
    this.#deps = deps
    deps.directory.onChange(() => this.#endRevoked())
  }

  get live(): ReadonlySet<LiveConnection> {
    return this.#live
  }

  /** Serves one connection to its end; never rejects. */
  async serve(client: ClientConnection): Promise<void> {
    const { socket } = client
    let dialect: Dialect | undefined
    const close = (reason: CloseReason) => closeWithReason(socket, reason, dialect)
    const live = { close, terminate: () => socket.terminate() }
    this.#live.add(live)
    try {
      const messages = await firstMessages(socket, client.stream, this.#deps.bindTimeoutMs)
      dialect = dialectOf(messages.first.isBinary)
      const { claims, worker } = await this.#reachWorker(client, messages.first)
      const carried = this.#carry(claims, worker, close)
      try {
        for (const { data, isBinary } of messages.take())
          worker.socket.send(data, { binary: isBinary, compress: false })
        // From here on an RDCleanPath client reads binary messages as RDP, so nothing but a close frame may be sent to it.
        if (dialect === 'rdcleanpath') dialect = undefined
        await this.#relay(client, { claims, worker, onWorkerLost: () => close('ERR_WORKER_UNREACHABLE') })
      } finally {
        this.#carried.delete(carried)
      }
    } catch (error) {
      const refusal = error instanceof Refusal ? error : new Refusal('ERR_INTERNAL', 'unexpected', { cause: error })
      this.#note(client, refusal)
      close(refusal.told)
    } finally {
      this.#live.delete(live)
    }
  }

  /**
   * From here on a revocation finds the connection. Throws Refusal ERR_WORKER_REVOKED where one came during the dial.
   * INVARIANT: nothing is awaited between this look and the entry, and nothing was sent to the worker before.
   */
  #carry(
    claims: DataPlaneClaims,
    { socket, thumbprint }: DialledWorker,
    close: (reason: CloseReason) => void,
  ): Carried {
    const { worker_id: workerId, attachment_id: attachmentId } = claims
    if (!this.#deps.directory.carries(workerId, thumbprint)) {
      socket.terminate()
      throw new Refusal('ERR_WORKER_REVOKED', 'revoked_during_dial', { attachmentId })
    }
    const carried = {
      workerId,
      thumbprint,
      revoke: () => {
        // In this order: a worker that is lost would be the reason otherwise.
        close('ERR_WORKER_REVOKED')
        socket.terminate()
      },
    }
    this.#carried.add(carried)
    return carried
  }

  #endRevoked(): void {
    for (const carried of this.#carried) {
      if (this.#deps.directory.carries(carried.workerId, carried.thumbprint)) continue
      this.#carried.delete(carried)
      this.#deps.metrics.revokedRelays.inc()
      carried.revoke()
    }
  }

  #note({ logger, requestId, clientAddress }: ClientConnection, refusal: Refusal): void {
    const { reason, finding, told, cause, attachmentId } = refusal
    this.#deps.metrics.refusals.inc({ reason })
    if (AUDITED.has(reason) && finding !== 'client_left') {
      this.#deps.reportRefusal({ code: reason, finding, attachmentId, clientAddress, requestId })
    }
    const close_code = CLOSE_REASONS[told].code
    const fields = {
      event: 'data_plane_refused',
      reason,
      finding,
      attachment_id: attachmentId,
      close_code,
      ...(cause !== undefined && { err: cause }),
    }
    logger[reason === 'ERR_INTERNAL' ? 'error' : 'info'](fields, 'data plane refused')
  }

  async #reachWorker({ socket, onVerified, requestId }: ClientConnection, first: RawMessage): Promise<Reached> {
    const claims = await this.#verify(readFirstMessage(first.data, first.isBinary).token)
    onVerified()
    try {
      return { claims, worker: await this.#dial(claims, socket, requestId) }
    } catch (error) {
      throw error instanceof Refusal ? error.of(claims.attachment_id) : error
    }
  }

  async #verify(token: string): Promise<DataPlaneClaims> {
    const { keys, issuer } = this.#deps
    try {
      return await verifyToken('data_plane', token, {
        keys: keys.lookup,
        issuer,
        nowSeconds: Math.floor(Date.now() / 1000),
      })
    } catch (cause) {
      if (cause instanceof ProblemError) throw new Refusal('ERR_BIND_UNAVAILABLE', 'no_verification_keys', { cause })
      if (!(cause instanceof TokenError)) throw cause
      const reason = cause.code === 'ERR_TOKEN_EXPIRED' ? 'ERR_BIND_TOKEN_EXPIRED' : 'ERR_BIND_TOKEN_INVALID'
      // Times are looked at after the signature, so of such a token the claims can be believed.
      const isSigned = cause.code === 'ERR_TOKEN_EXPIRED' || cause.code === 'ERR_TOKEN_NOT_YET_VALID'
      throw new Refusal(reason, cause.code, { cause, attachmentId: isSigned ? attachmentIdOf(token) : undefined })
    }
  }

  async #dial(claims: DataPlaneClaims, socket: WebSocket, requestId: string): Promise<DialledWorker> {
    const { directory, trust, metrics } = this.#deps
    const { worker_id: workerId } = claims
    const stop = metrics.dialSeconds.startTimer()
    const left = new AbortController()
    const onLeft = () => left.abort()
    socket.once('close', onLeft)
    try {
      const place = await directory.find(workerId)
      const isRevoked = (thumbprint: string) => directory.isRevokedCertificate(thumbprint)
      return await dialWorker({ place, workerId, trust: { ...trust, isRevoked }, requestId, signal: left.signal })
    } finally {
      stop()
      socket.off('close', onLeft)
    }
  }

  async #relay(
    { socket, logger: parent }: ClientConnection,
    { claims, worker, onWorkerLost }: Reached & { onWorkerLost: () => void },
  ): Promise<void> {
    const { metrics, limits } = this.#deps
    const { session_id, attachment_id, worker_id, organization_id, resource_id, sub: user_id } = claims
    const logger = parent.child({ session_id, attachment_id, worker_id, user_id, organization_id, resource_id })
    const bytes: Record<Direction, number> = { client_to_worker: 0, worker_to_client: 0 }
    const startedAt = performance.now()
    logger.info({ event: 'data_plane_relay_started', connection_count: limits.connections }, 'relay started')
    const end = await relay(socket, worker.socket, {
      onWorkerLost,
      observer: {
        onBytes: (direction, count) => {
          bytes[direction] += count
          metrics.relayedBytes.inc({ direction }, count)
        },
        onPause: direction => metrics.pauses.inc({ direction }),
      },
    })
    logger.info(
      {
        event: 'data_plane_relay_ended',
        ended_by: end.endedBy,
        close_code: end.code,
        client_to_worker_bytes: bytes.client_to_worker,
        worker_to_client_bytes: bytes.worker_to_client,
        duration_ms: Math.round(performance.now() - startedAt),
      },
      'relay ended',
    )
  }
}
