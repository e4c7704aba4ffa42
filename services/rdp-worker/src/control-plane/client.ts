import type { RuntimeTransport } from '@rap/data-plane-protocol'
import { type InternalClient, type InternalRequest, ProblemError } from '@rap/service-kit'
import type { Channel, SessionLimits } from '@rap/session-policy'
import type { PolicyWords } from '../sessions/runtime-policy.ts'
import type { SessionFailure } from '../target/failure.ts'
import type { CertificateReport } from '../target/secure.ts'

/** What a bind may use from now on. */
export interface BindGrant extends PolicyWords {
  readonly session_id: string
  readonly attachment_id: string
  readonly user_id: string
  readonly organization_id: string
  readonly resource_id: string
  readonly bind_id: string
}

export interface BindRequest {
  readonly token: string
  readonly proof_jti: string
  readonly runtime_transport: RuntimeTransport
  readonly requested_channels: readonly string[]
  readonly client_address: string
}

/** The state of an attachment at the source of truth; `unknown` where it is none of this worker's. */
export interface AttachmentState {
  readonly attachment_id: string
  readonly state: string
  readonly reason: string | null
  readonly allowed_channels: readonly Channel[]
  readonly limits: SessionLimits | null
  readonly session_ends_at: string | null
  readonly session_seconds_left: number | null
}

/** Whether a session that this worker knows goes on, and on this worker. */
export interface SessionLiveness {
  readonly session_id: string
  readonly live: boolean
}

/** What a worker may put into the audit. */
export interface AuditReport {
  readonly event:
    | 'channel_refused'
    | 'target_certificate_refused'
    | 'server_redirection_refused'
    | 'relay_protocol_violation'
    | 'data_plane_bind_refused'
    | 'assignment_refused'
    | 'channel_data_withheld'
    | 'upload_finished'
    | 'upload_refused'
  /** Without it the event is a refusal. */
  readonly outcome?: 'ok'
  readonly session_id?: string
  readonly attachment_id?: string
  readonly code?: string
  readonly details?: Readonly<Record<string, string | number | boolean>>
}

export interface Announcement {
  readonly name?: string
  readonly labels: Readonly<Record<string, string>>
  readonly public_url: string
  readonly version: string
  readonly runtime_transports: readonly RuntimeTransport[]
}

/** What the control plane answers to that. */
export interface Announced {
  readonly gateway_url: string | null
  /** The key that signs, and the one that will. */
  readonly active_kid: string | null
  readonly next_kid: string | null
}

/** How long a poll may take, in milliseconds: the next one is to come in time. */
const POLL_TIMEOUT_MS = 3000
/** Answers that say that no call of this process will be taken any more. */
const REVOKED = new Set(['ERR_WORKER_REVOKED', 'ERR_CERTIFICATE_REVOKED', 'ERR_IDENTITY_REVOKED'])
/** Largest number of attachments in one poll; the control plane takes no more. */
const MAX_POLLED = 1000

/** The worker's calls to the source of truth. Every one throws ProblemError where it is refused or not answered. */
export class ControlPlane {
  readonly #client: Pick<InternalClient, 'request'>
  readonly #onRevoked: (code: string) => void

  /** `onRevoked` is called with each answer that says that this worker, or its certificate, is revoked. */
  constructor(client: Pick<InternalClient, 'request'>, onRevoked: (code: string) => void = () => {}) {
    this.#client = client
    this.#onRevoked = onRevoked
  }

  async announce(body: Announcement): Promise<Announced> {
    return await this.#request({ method: 'POST', path: '/internal/v1/workers/self', body, idempotent: true })
  }

  /** Asks for one bind. Not repeated: the token is used up by the first answer. */
  async bind(body: BindRequest): Promise<BindGrant> {
    return await this.#request<BindGrant>({ method: 'POST', path: '/internal/v1/binds', body, timeoutMs: 5000 })
  }

  async reportReady(attachmentId: string): Promise<void> {
    await this.#report(attachmentId, { state: 'ready' })
  }

  async reportFailed(attachmentId: string, failure: SessionFailure): Promise<void> {
    await this.#report(attachmentId, { state: 'failed', failure })
  }

  async reportClosed(attachmentId: string, reason: string, stats: Readonly<Record<string, number>>): Promise<void> {
    await this.#report(attachmentId, { state: 'closed', reason, stats })
  }

  /** Says what a target showed, and answers why the worker must not go on; undefined where it may. */
  async reportCertificate(
    attachmentId: string,
    body: CertificateReport,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { decision, code } = await this.#request<{ decision: string; code: string | null }>({
      method: 'POST',
      path: `/internal/v1/attachments/${attachmentId}/target-certificate`,
      body,
      signal,
      idempotent: true,
    })
    // Whatever is not a plain yes is a no.
    return decision === 'accepted' && code === null ? undefined : (code ?? 'refused')
  }

  /**
   * The states of the attachments that this worker holds and of the sessions that it knows; asked also where it holds none, since the answer may be
   * that it is revoked.
   */
  async attachments(
    ids: readonly string[],
    sessionIds: readonly string[] = [],
  ): Promise<{ attachments: AttachmentState[]; sessions: SessionLiveness[] }> {
    const attachments: AttachmentState[] = []
    const sessions: SessionLiveness[] = []
    for (let start = 0; start === 0 || start < Math.max(ids.length, sessionIds.length); start += MAX_POLLED) {
      const body = {
        attachment_ids: ids.slice(start, start + MAX_POLLED),
        session_ids: sessionIds.slice(start, start + MAX_POLLED),
      }
      const answer = await this.#request<{ attachments: AttachmentState[]; sessions: SessionLiveness[] }>({
        method: 'POST',
        path: '/internal/v1/workers/self/attachments',
        body,
        idempotent: true,
        timeoutMs: POLL_TIMEOUT_MS,
      })
      attachments.push(...answer.attachments)
      sessions.push(...answer.sessions)
    }
    return { attachments, sessions }
  }

  async audit(body: AuditReport): Promise<void> {
    await this.#request({ method: 'POST', path: '/internal/v1/audit-events', body })
  }

  async #report(attachmentId: string, body: unknown): Promise<void> {
    await this.#request({
      method: 'POST',
      path: `/internal/v1/attachments/${attachmentId}/state`,
      body,
      idempotent: true,
    })
  }

  async #request<T = unknown>(options: InternalRequest): Promise<T> {
    try {
      return await this.#client.request<T>(options)
    } catch (error) {
      if (error instanceof ProblemError && error.status === 403 && REVOKED.has(error.code)) this.#onRevoked(error.code)
      throw error
    }
  }
}
