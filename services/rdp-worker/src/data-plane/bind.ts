import { type CloseReason, isCloseReason, type RuntimeTransport } from '@rap/data-plane-protocol'
import { type Logger, ProblemError } from '@rap/service-kit'
import {
  type Channel,
  channelsBeyond,
  type DataPlaneClaims,
  type KeyLookup,
  TokenError,
  verifyDpopProof,
  verifyToken,
} from '@rap/token-claims'
import { decodeJwt } from 'jose'
import type { BindGrant, ControlPlane } from '../control-plane/client.ts'
import type { Attachments, BindClaim } from '../relays/attachments.ts'
import type { WorkerMetrics } from '../worker-metrics.ts'
import { BindRefusal } from './refusal.ts'

/** What a client brings to a bind, whatever its transport. */
export interface BindAttempt {
  readonly token: string
  readonly proof: string
  readonly transport: RuntimeTransport
  /** Undefined asks for all that the token allows. */
  readonly channels: readonly string[] | undefined
  readonly clientAddress: string
  /** RDCleanPath names the resource that it wants. */
  readonly namesResource?: (resourceId: string) => boolean
}

/** A bind that holds. */
export interface Bind {
  readonly claim: BindClaim
  readonly grant: BindGrant
}

export interface BinderOptions {
  readonly workerId: string
  readonly issuer: string
  readonly keys: KeyLookup
  readonly attachments: Attachments
  readonly controlPlane: ControlPlane
  /** URLs that this worker answers for: its own, and the gateway's once the control plane has named it. */
  readonly ownUrls: () => readonly string[]
  readonly metrics: WorkerMetrics
  readonly logger: Logger
}

/**
 * Local refusals that are reported to the audit in a second, of strangers and of those with a token of ours each: a flood of strangers is counted
 * and not written, and hides nobody who has stolen a token.
 */
const MAX_AUDITED_PER_SECOND = 10

/** Decides over binds: the worker's own checks first, then the word of the source of truth. */
export class Binder {
  readonly #options: BinderOptions
  #second = 0
  readonly #audited = { stranger: 0, known: 0 }

  constructor(options: BinderOptions) {
    this.#options = options
  }

  /** Throws BindRefusal. INVARIANT: without an answer of the control plane there is no bind. */
  async bind(attempt: BindAttempt): Promise<Bind> {
    const { metrics, logger } = this.#options
    let claims: DataPlaneClaims | undefined
    let proofJti: string | undefined
    try {
      const token = await this.#verifyToken(attempt.token)
      claims = token.claims
      proofJti = await this.#verifyProof(attempt, claims)
      // Only whoever has the key is told that the token was good, and to get a new one.
      if (token.expired) throw new BindRefusal('ERR_BIND_TOKEN_EXPIRED', { verified: true })
      const channels = this.#checkClaims(attempt, claims)
      const bind = await this.#authorise(attempt, { claims, proofJti, channels })
      metrics.bind(attempt.transport, 'bound')
      return bind
    } catch (error) {
      const isRefusal = error instanceof BindRefusal
      const refusal = isRefusal ? error : new BindRefusal('ERR_BIND_UNAVAILABLE', { verified: proofJti !== undefined })
      if (!isRefusal) logger.error({ event: 'bind_failed', err: error }, 'bind failed')
      metrics.bind(attempt.transport, refusal.reason)
      this.#record(attempt, claims, refusal)
      throw refusal
    }
  }

  async #verifyToken(token: string): Promise<{ readonly claims: DataPlaneClaims; readonly expired: boolean }> {
    const { keys, issuer } = this.#options
    const verifyAt = (seconds: number) => verifyToken('data_plane', token, { keys, issuer, nowSeconds: seconds })
    try {
      return { claims: await verifyAt(nowSeconds()), expired: false }
    } catch (error) {
      if (!(error instanceof TokenError)) throw error
      if (error.code !== 'ERR_TOKEN_EXPIRED') throw new BindRefusal('ERR_BIND_TOKEN_INVALID', { causeCode: error.code })
    }
    try {
      // Its signature held: it was a token of ours, and is read as in its last second.
      return { claims: await verifyAt((decodeJwt(token).exp ?? 0) - 1), expired: true }
    } catch (error) {
      if (!(error instanceof TokenError)) throw error
      throw new BindRefusal('ERR_BIND_TOKEN_INVALID', { causeCode: error.code })
    }
  }

  async #verifyProof({ token, proof }: BindAttempt, claims: DataPlaneClaims): Promise<string> {
    const { attachments, ownUrls } = this.#options
    const urls = attachments.find(claims.attachment_id)?.assignment.bind_urls ?? ownUrls()
    try {
      return (await verifyDpopProof(proof, { token, jkt: claims.cnf.jkt, urls, nowSeconds: nowSeconds() })).jti
    } catch (error) {
      if (!(error instanceof TokenError)) throw error
      throw new BindRefusal('ERR_BIND_PROOF_INVALID', { causeCode: error.code })
    }
  }

  #checkClaims({ channels, namesResource }: BindAttempt, claims: DataPlaneClaims): readonly Channel[] {
    if (claims.worker_id !== this.#options.workerId) throw new BindRefusal('ERR_BIND_WRONG_WORKER')
    if (namesResource?.(claims.resource_id) === false) throw new BindRefusal('ERR_BIND_WRONG_RESOURCE')
    if (channels !== undefined && channelsBeyond(claims, channels).length > 0) {
      throw new BindRefusal('ERR_BIND_CHANNELS_NOT_ALLOWED', { verified: true })
    }
    return (channels ?? claims.allowed_channels) as readonly Channel[]
  }

  async #authorise(
    { token, transport, clientAddress }: BindAttempt,
    { claims, proofJti, channels }: { claims: DataPlaneClaims; proofJti: string; channels: readonly Channel[] },
  ): Promise<Bind> {
    const { attachments, controlPlane } = this.#options
    const claim = attachments.claim(claims.attachment_id)
    // Its target is being logged on to, or another client is being let in: the token is left for a second try.
    if (claim === 'busy') throw new BindRefusal('ERR_BIND_UNAVAILABLE', { verified: true, causeCode: 'busy' })
    const held = typeof claim === 'string' ? undefined : claim
    try {
      // Asked also where nothing can be bound here: the source of truth knows the precise reason, and audits it.
      const grant = await controlPlane.bind({
        token,
        proof_jti: proofJti,
        runtime_transport: transport,
        requested_channels: channels,
        client_address: clientAddress,
      })
      if (claim === 'absent') void attachments.absent(claims)
      if (held === undefined || grant.attachment_id !== held.assignment.attachment_id)
        throw new BindRefusal('ERR_BIND_UNAVAILABLE', {
          verified: true,
          causeCode: typeof claim === 'string' ? claim : 'grant',
        })
      return { claim: held, grant }
    } catch (error) {
      held?.release()
      if (!(error instanceof ProblemError)) throw error
      const isRefusal = isCloseReason(error.code) && error.code.startsWith('ERR_BIND_')
      const reason = isRefusal ? (error.code as CloseReason) : 'ERR_BIND_UNAVAILABLE'
      throw new BindRefusal(reason, { verified: true, causeCode: isRefusal ? AUDITED_THERE : error.code })
    }
  }

  #record({ clientAddress, transport }: BindAttempt, claims: DataPlaneClaims | undefined, refusal: BindRefusal): void {
    const { logger, controlPlane } = this.#options
    const code = refusal.reason
    logger.warn(
      {
        event: 'data_plane_bind_refused',
        code,
        attachment_id: claims?.attachment_id,
        client_address: clientAddress,
        runtime_transport: transport,
      },
      'bind refused',
    )
    if (refusal.cause_code === AUDITED_THERE || !this.#mayAudit(claims === undefined ? 'stranger' : 'known')) return
    const place = claims?.worker_id === this.#options.workerId && {
      session_id: claims.session_id,
      attachment_id: claims.attachment_id,
    }
    const details = {
      client_address: clientAddress,
      runtime_transport: transport,
      ...(refusal.cause_code && { cause: refusal.cause_code }),
    }
    controlPlane.audit({ event: 'data_plane_bind_refused', code, details, ...place }).catch(error => {
      logger.warn({ event: 'audit_not_written', code, err: error }, 'audit not written')
    })
  }

  #mayAudit(who: 'stranger' | 'known'): boolean {
    const second = Math.floor(performance.now() / 1000)
    if (second !== this.#second) Object.assign(this.#audited, { stranger: 0, known: 0 })
    this.#second = second
    return ++this.#audited[who] <= MAX_AUDITED_PER_SECOND
  }
}

/** The control plane has audited this refusal itself. */
const AUDITED_THERE = 'control_plane'

const nowSeconds = (): number => Math.floor(Date.now() / 1000)
