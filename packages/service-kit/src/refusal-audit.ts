import type { Sql } from 'postgres'
import { type AuditEvent, appendAuditEvent } from './audit.ts'
import { AuditThrottle } from './audit-throttle.ts'
import { addressKey } from './connection-limits.ts'
import { ProblemError } from './errors.ts'
import type { Logger } from './log.ts'
import { Counter, Gauge, type Metrics } from './metrics.ts'

/**
 * What somebody who was refused had shown, which says how easily such events are made:
 * `stranger` nothing that holds; `claimant` something that exists or held once, such as the name of an account or a token that
 * has expired; `holder` something of ours that is in force, such as a token that is stolen, or a certificate.
 */
export type Standing = 'stranger' | 'claimant' | 'holder'

/** Keys that are told apart in a window. */
const MAX_KEYS: Readonly<Record<Standing, number>> = { stranger: 16, claimant: 16, holder: 64 }

/** A refusal as the audit takes it, or as it is reported to who writes the audit. */
export type RefusalEvent = Pick<AuditEvent, 'event'> & Partial<Omit<AuditEvent, 'event'>>

export interface RefusalAuditOptions<E> {
  /** Writes one event, or reports it. */
  readonly append: (event: E) => Promise<void>
  readonly logger: Logger
  readonly metrics?: Metrics | undefined
  /** Length of a window in milliseconds; 10 s when absent. */
  readonly windowMs?: number
}

/** What a row names, and so what its events have in common. The request is only that of the last one. */
const IDS = [
  'code',
  'organization_id',
  'user_id',
  'session_id',
  'attachment_id',
  'resource_id',
  'worker_id',
  'secret_ref',
] as const
/** Details that say what was wrong, and with what. */
const REASONS = [
  'reason',
  'cause',
  'finding',
  'verification',
  'limit',
  'route',
  'channel',
  'channels',
  'join_token_id',
  'identity',
  'thumbprint',
] as const

/**
 * Audit of refusals that somebody outside can cause at will: an `AuditThrottle` for each event and each standing, so that
 * neither a flood of strangers nor one of old tokens hides somebody who has stolen a live one.
 *
 * A row stands for 1 + `details.suppressed_count` refusals. Where there were more kinds than are told apart, it carries
 * `details.mixed` and names nobody.
 */
export class RefusalAudit<E extends RefusalEvent> {
  readonly #options: RefusalAuditOptions<E>
  readonly #throttles = new Map<string, AuditThrottle<E>>()
  readonly #reported: Counter<'event' | 'standing'> | undefined

  constructor(options: RefusalAuditOptions<E>) {
    this.#options = options
    if (options.metrics === undefined) return
    const registers = [options.metrics.registry]
    this.#reported = new Counter({
      name: 'rap_audit_refusals_total',
      help: 'Refusals that the audit was told of, whether they got a row or were counted in one',
      labelNames: ['event', 'standing'] as const,
      registers,
    })
    const pending = () => this.pending
    new Gauge({
      name: 'rap_audit_refusals_pending',
      help: 'Refusals that no row of the audit stands for yet',
      registers,
      collect() {
        this.set(pending())
      },
    })
  }

  /** Refusals that no row stands for yet. */
  get pending(): number {
    return [...this.#throttles.values()].reduce((sum, { pending }) => sum + pending, 0)
  }

  /** Resolves as soon as the refusal has its row or is counted; never rejects. */
  report(event: E, standing: Standing): Promise<void> {
    this.#reported?.inc({ event: event.event, standing })
    return this.#throttleOf(event, standing).report(event)
  }

  async flush(): Promise<void> {
    await Promise.all([...this.#throttles.values()].map(throttle => throttle.flush()))
  }

  /** To be called after the last report. */
  async close(): Promise<void> {
    await Promise.all([...this.#throttles.values()].map(throttle => throttle.close()))
    const { pending } = this
    if (pending > 0) this.#options.logger.error({ event: 'audit_refusals_lost', count: pending }, 'refusals lost')
  }

  #throttleOf({ event: name }: E, standing: Standing): AuditThrottle<E> {
    // Names of events are ours, so they are few.
    const key = `${standing} ${name}`
    let throttle = this.#throttles.get(key)
    if (throttle === undefined) {
      throttle = new AuditThrottle<E>({
        keyOf,
        send: (event, count, isMixed) => this.#append(event, count, isMixed),
        maxKeys: MAX_KEYS[standing],
        ...(this.#options.windowMs !== undefined && { windowMs: this.#options.windowMs }),
      })
      this.#throttles.set(key, throttle)
    }
    return throttle
  }

  async #append(event: E, count: number, isMixed: boolean): Promise<void> {
    const { append, logger } = this.#options
    const row = isMixed ? withoutNames(event) : event
    const details = { ...row.details, ...(count > 0 && { suppressed_count: count }), ...(isMixed && { mixed: true }) }
    try {
      await append({ ...row, details })
    } catch (err) {
      logger.error(
        { event: 'audit_write_failed', code: event.code, count: 1 + count, err },
        'refusal is not in the audit yet',
      )
      throw err
    }
  }
}

function keyOf(event: RefusalEvent): string {
  const { actor, details } = event
  const address = details?.client_address
  return JSON.stringify([
    IDS.map(name => event[name] ?? null),
    actor?.kind,
    actor?.id,
    typeof address === 'string' ? addressKey(address) : null,
    REASONS.map(name => details?.[name] ?? null),
  ])
}

/** Of events that have nothing but their name in common. */
function withoutNames<E extends RefusalEvent>(event: E): E {
  const kept = Object.entries(event).filter(([name]) => name === 'event' || name === 'outcome')
  return {
    ...Object.fromEntries(kept),
    ...('organization_id' in event && { organization_id: null }),
    ...('actor' in event && { actor: { kind: 'system', id: 'several' } }),
  } as E
}

/** SQLSTATE classes of data that no later try makes good: 22 data exception, 23 integrity constraint violation. */
const LASTING_SQLSTATE = /^2[23]/

/**
 * Writes a refusal; where the database will never take its names, once more without them: a certificate may carry any id, and
 * a row that is tried for good would keep its count out of the audit.
 */
export async function appendRefusal(sql: Sql, event: AuditEvent): Promise<void> {
  try {
    await appendAuditEvent(sql, event)
  } catch (error) {
    const { code } = error as { code?: unknown }
    if (typeof code !== 'string' || !LASTING_SQLSTATE.test(code)) throw error
    const { suppressed_count: count } = event.details ?? {}
    const details = { names_refused: true, ...(count !== undefined && { suppressed_count: count }) }
    await appendAuditEvent(sql, { ...withoutNames(event), code: event.code, details })
  }
}

/**
 * Sends a report to the control plane, and where it does not know the attachment, once more without: a token may be signed
 * right and name what is not in its database, and a report that is never taken would be tried for good.
 */
export async function reportKnown<E extends RefusalEvent>(
  report: E,
  send: (report: E) => Promise<void>,
): Promise<void> {
  try {
    await send(report)
  } catch (error) {
    if (!(error instanceof ProblemError) || error.code !== 'ERR_NOT_FOUND') throw error
    const { attachment_id: _, session_id: __, ...rest } = report
    await send({ ...rest, details: { ...rest.details, attachment_unknown: true } } as unknown as E)
  }
}
