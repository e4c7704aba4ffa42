import { type CloseReason, isCloseReason, type RuntimeTransport } from '@rap/data-plane-protocol'
import { type Logger, ProblemError, type Standing } from '@rap/service-kit'
import { type Channel, isRdpChannel } from '@rap/session-policy'
import {
  channelsBeyond,
  type DataPlaneClaims,
  type KeyLookup,
  TokenError,
  verifyDpopProof,
  verifyToken,
} from '@rap/token-claims'
import { decodeJwt } from 'jose'
import type { WorkerAudit } from '../control-plane/audit.ts'
import type { BindGrant, ControlPlane } from '../control-plane/client.ts'
import type { Attachments } from '../relays/attachments.ts'
import type { BindClaim, SideClaim } from '../relays/bind-claims.ts'
import { policyOf, type RuntimePolicy } from '../sessions/runtime-policy.ts'
import type { WorkerMetrics } from '../worker-metrics.ts'
import { BindRefusal } from './refusal.ts'

/** What a client brings to a bind, whatever its transport. */
export interface BindAttempt {
  readonly token: string
  readonly proof: string
  readonly transport: RuntimeTransport
  /** Undefined asks for all inside RDP that the token allows. */
  readonly channels: readonly string[] | undefined
  readonly clientAddress: string
  /** RDCleanPath names the resource that it wants. */
  readonly namesResource?: (resourceId: string) => boolean
}

/** A bind that holds: of the desktop, or beside it where no channel is inside RDP. */
export type Bind = { readonly grant: BindGrant; readonly policy: RuntimePolicy } & (
  | { readonly kind: 'desktop'; readonly claim: BindClaim }
  | { readonly kind: 'side'; readonly claim: SideClaim }
)

export interface BinderOptions {
  readonly workerId: string
  readonly issuer: string
  readonly keys: KeyLookup
  readonly attachments: Attachments
  readonly controlPlane: ControlPlane
  readonly audit: Pick<WorkerAudit, 'report'>
  /** URLs that this worker answers for: its own, and the gateway's once the control plane has named it. */
  readonly ownUrls: () => readonly string[]
  readonly metrics: WorkerMetrics
  readonly logger: Logger
}

/** A token whose signature holds. */
interface ShownToken {
  readonly claims: DataPlaneClaims
  readonly expired: boolean
}

/** Decides over binds: the worker's own checks first, then the word of the source of truth. */
export class Binder {
  readonly #options: BinderOptions

  constructor(options: BinderOptions) {
    this.#options = options
  }

  /** Throws BindRefusal. INVARIANT: without an answer of the control plane there is no bind. */
  async bind(attempt: BindAttempt): Promise<Bind> {
    const { metrics, logger } = this.#options
    let token: ShownToken | undefined
    let proofJti: string | undefined
    try {
      token = await this.#verifyToken(attempt.token)
      const { claims } = token
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
      this.#record(attempt, token, refusal)
      throw refusal
    }
  }

  async #verifyToken(token: string): Promise<ShownToken> {
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
    const wanted = (channels ?? claims.allowed_channels.filter(isRdpChannel)) as readonly Channel[]
    if (wanted.length === 0) throw new BindRefusal('ERR_BIND_CHANNELS_NOT_ALLOWED', { verified: true })
    return wanted
  }

  async #authorise(
    { token, transport, clientAddress }: BindAttempt,
    { claims, proofJti, channels }: { claims: DataPlaneClaims; proofJti: string; channels: readonly Channel[] },
  ): Promise<Bind> {
    const { attachments, controlPlane } = this.#options
    const isDesktop = channels.some(isRdpChannel)
    const desktop = isDesktop ? attachments.claim(claims.attachment_id) : undefined
    const side = isDesktop ? undefined : attachments.claimSide(claims.attachment_id)
    const claim = desktop ?? side
    // Its target is being logged on to, or another client is being let in: the token is left for a second try.
    if (claim === 'busy') throw new BindRefusal('ERR_BIND_UNAVAILABLE', { verified: true, causeCode: 'busy' })
    const held = typeof desktop === 'string' ? undefined : desktop
    const beside = typeof side === 'string' ? undefined : side
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
      // The grant names this connection's channels; the token, which is never wider than the policy, those of the attachment.
      const policy = policyOf({ ...grant, allowed_channels: claims.allowed_channels })
      if (grant.attachment_id === claims.attachment_id) {
        if (held !== undefined) return { kind: 'desktop', claim: held, grant, policy }
        if (beside !== undefined) return { kind: 'side', claim: beside, grant, policy }
      }
      throw new BindRefusal('ERR_BIND_UNAVAILABLE', {
        verified: true,
        causeCode: typeof claim === 'string' ? claim : 'grant',
      })
    } catch (error) {
      held?.release()
      if (!(error instanceof ProblemError)) throw error
      const isRefusal = isCloseReason(error.code) && error.code.startsWith('ERR_BIND_')
      const reason = isRefusal ? (error.code as CloseReason) : 'ERR_BIND_UNAVAILABLE'
      throw new BindRefusal(reason, { verified: true, causeCode: isRefusal ? AUDITED_THERE : error.code })
    }
  }

  #record({ clientAddress, transport }: BindAttempt, token: ShownToken | undefined, refusal: BindRefusal): void {
    const { logger, audit, workerId } = this.#options
    const code = refusal.reason
    const claims = token?.claims
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
    if (refusal.cause_code === AUDITED_THERE) return
    const place = claims?.worker_id === workerId && {
      session_id: claims.session_id,
      attachment_id: claims.attachment_id,
    }
    const details = {
      client_address: clientAddress,
      runtime_transport: transport,
      ...(refusal.cause_code && { cause: refusal.cause_code }),
    }
    void audit.report({ event: 'data_plane_bind_refused', code, details, ...place }, standingOf(token))
  }
}

/** Whoever has a token that is in force is hidden neither by strangers nor by those who kept old ones. */
function standingOf(token: ShownToken | undefined): Standing {
  if (token === undefined) return 'stranger'
  return token.expired ? 'claimant' : 'holder'
}

/** The control plane has audited this refusal itself. */
const AUDITED_THERE = 'control_plane'

const nowSeconds = (): number => Math.floor(Date.now() / 1000)
