import { randomUUID } from 'node:crypto'
import type { Authority } from '@rap/pki'
import { type Channel, DEFAULT_LIMITS, isRdpChannel, type SessionLimits } from '@rap/session-policy'
import { waitFor } from '@rap/testkit'
import { decodeJwt } from 'jose'
import { type Peer, type PeerAnswer, type PeerRequest, problem, startPeer, type Teardown } from './peer.ts'

export interface Report {
  readonly attachment_id: string
  readonly state: 'ready' | 'failed' | 'closed'
  readonly reason?: string
  readonly failure?: { readonly code: string; readonly title: string; readonly detail: string; readonly remedy: string }
  readonly stats?: Readonly<Record<string, number>>
}

export interface Audited {
  readonly event: string
  readonly outcome?: string
  readonly code?: string
  readonly session_id?: string
  readonly attachment_id?: string
  readonly details?: Readonly<Record<string, unknown>>
}

/** What a worker says about the certificate of a target. */
export interface CertificateReported {
  readonly attachment_id: string
  readonly mode: string
  readonly certificates: readonly string[]
  readonly code?: string
}

interface Policy {
  readonly allowed_channels: readonly Channel[]
  readonly limits: SessionLimits
  readonly session_ends_at: string | null
  /** What is left by the clock of the control plane, where it is not that of this machine. */
  readonly session_seconds_left: number | null
}

const CERTIFICATE_PATH = /^\/internal\/v1\/attachments\/([0-9a-f-]{36})\/target-certificate$/
const STATE_PATH = /^\/internal\/v1\/attachments\/([0-9a-f-]{36})\/state$/

/** The control plane's internal API as far as a worker uses it, over real mutual TLS, with its rules in memory. */
export class ControlPlanePeer {
  readonly reports: Report[] = []
  readonly audited: Audited[] = []
  readonly states = new Map<string, { state: string; reason: string | null }>()
  /** What an attachment may do, where it is not what its token says and no limit. */
  readonly policies = new Map<string, Partial<Policy>>()
  /** Sessions that are over. */
  readonly overSessions = new Set<string>()
  readonly announcements: unknown[] = []
  readonly polled: string[][] = []
  readonly certificates: CertificateReported[] = []
  /** The word over a certificate; by default that of the worker. */
  judge: (report: CertificateReported) => string | null = ({ code }) => code ?? null
  gatewayUrl: string | null = null
  /** What an announcement is answered about the keys that sign. */
  signing: { active_kid: string | null; next_kid: string | null } = { active_kid: null, next_kid: null }
  /** Answers before the rules do, where it answers. */
  intercept: (request: PeerRequest) => PeerAnswer | undefined | Promise<PeerAnswer | undefined> = () => undefined
  readonly #spent = new Set<string>()
  #peer: Peer | undefined

  static async start(t: Teardown, authority: Authority): Promise<ControlPlanePeer> {
    const controlPlane = new ControlPlanePeer()
    controlPlane.#peer = await startPeer(t, { authority, service: 'control-plane' }, request =>
      controlPlane.#answer(request),
    )
    return controlPlane
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error('not started')
    return this.#peer
  }

  get binds(): PeerRequest[] {
    return this.peer.requests.filter(({ path }) => path === '/internal/v1/binds')
  }

  /** Waits for what a worker reports about an attachment. */
  async reported(attachmentId: string, state: Report['state']): Promise<Report> {
    return await waitFor(
      () => this.reports.find(report => report.attachment_id === attachmentId && report.state === state),
      { what: `the report ${state}` },
    )
  }

  async auditedEvent(event: string, code?: string): Promise<Audited> {
    return await waitFor(
      () => this.audited.find(entry => entry.event === event && (code === undefined || entry.code === code)),
      { what: `the audit event ${event}` },
    )
  }

  /** What somebody does who ends an attachment from here. */
  close(attachmentId: string, state: string, reason: string | null): void {
    this.states.set(attachmentId, { state, reason })
  }

  async #answer(request: PeerRequest): Promise<PeerAnswer> {
    const intercepted = await this.intercept(request)
    if (intercepted !== undefined) return intercepted
    const { method, path, body } = request
    const attachment = path.match(STATE_PATH)?.[1]
    if (attachment !== undefined && method === 'POST') return this.#report(attachment, body)
    const shownTo = path.match(CERTIFICATE_PATH)?.[1]
    if (shownTo !== undefined && method === 'POST') return this.#certificate({ attachment_id: shownTo, ...body })
    switch (`${method} ${path}`) {
      case 'POST /internal/v1/workers/self':
        this.announcements.push(body)
        return { body: { gateway_url: this.gatewayUrl, ...this.signing } }
      case 'POST /internal/v1/binds':
        return this.#bind(body)
      case 'POST /internal/v1/workers/self/attachments':
        this.polled.push(body.attachment_ids)
        return {
          body: {
            attachments: body.attachment_ids.map((id: string) => this.#stateOf(id)),
            sessions: (body.session_ids ?? []).map((id: string) => ({
              session_id: id,
              live: !this.overSessions.has(id),
            })),
          },
        }
      case 'POST /internal/v1/audit-events':
        this.audited.push(body)
        return {}
    }
    return problem(404, 'ERR_NOT_FOUND')
  }

  #certificate(report: CertificateReported): PeerAnswer {
    this.certificates.push(report)
    const code = this.judge(report)
    return { body: { decision: code === null ? 'accepted' : 'refused', code } }
  }

  #stateOf(id: string) {
    const known = this.states.get(id)
    const policy = this.#policyOf(id, [])
    const isKnown = known !== undefined && policy.allowed_channels.length > 0
    return {
      attachment_id: id,
      session_id: null,
      state: known?.state ?? 'unknown',
      reason: known?.reason ?? null,
      ...policy,
      limits: isKnown ? policy.limits : null,
    }
  }

  #policyOf(id: string, channels: readonly Channel[]): Policy {
    const { allowed_channels = channels, limits = DEFAULT_LIMITS, session_ends_at = null } = this.policies.get(id) ?? {}
    const session_seconds_left = session_ends_at === null ? null : (Date.parse(session_ends_at) - Date.now()) / 1000
    return { allowed_channels, limits, session_ends_at, session_seconds_left, ...this.policies.get(id) }
  }

  #report(id: string, body: Omit<Report, 'attachment_id'>): PeerAnswer {
    const known = this.states.get(id)
    const isLive = known !== undefined && ['assigning', 'ready', 'active'].includes(known.state)
    this.reports.push({ attachment_id: id, ...body })
    if (!isLive || (body.state === 'ready' && known.state !== 'assigning')) return problem(409, 'ERR_ATTACHMENT_STATE')
    this.states.set(id, { state: body.state, reason: body.reason ?? null })
    return { body: this.#stateOf(id) }
  }

  #bind({ token, requested_channels }: { token: string; requested_channels: string[] }): PeerAnswer {
    const claims = decodeJwt(token) as Record<string, string> & { jti: string }
    const { attachment_id = '' } = claims
    const known = this.states.get(attachment_id)
    if (this.#spent.has(claims.jti)) return problem(403, 'ERR_BIND_TOKEN_REPLAYED')
    if (known === undefined || ['closed', 'failed'].includes(known.state)) return problem(403, 'ERR_BIND_SESSION_ENDED')
    if (known.state === 'superseded') return problem(403, 'ERR_BIND_ATTACHMENT_SUPERSEDED')
    if (known.state === 'assigning') return problem(403, 'ERR_BIND_UNAVAILABLE')
    const isDesktop = requested_channels.some(isRdpChannel)
    if (known.state === 'active' && isDesktop) return problem(403, 'ERR_BIND_CHANNELS_NOT_ALLOWED')
    this.#spent.add(claims.jti)
    if (isDesktop) this.states.set(attachment_id, { state: 'active', reason: null })
    const { session_id, organization_id, resource_id, sub: user_id } = claims
    const place = { session_id, attachment_id, user_id, organization_id, resource_id }
    const policy = { ...this.#policyOf(attachment_id, []), allowed_channels: requested_channels }
    return { body: { ...place, ...policy, bind_id: randomUUID() } }
  }
}
