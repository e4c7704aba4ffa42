import type { Sql, TransactionSql } from 'postgres'

export interface AuditActor {
  kind: 'user' | 'worker' | 'service' | 'system'
  id: string
}

/** Short facts about one audit event: snake_case keys, values without secrets. */
export type AuditDetails = Readonly<Record<string, string | number | boolean | null>>

/** One line of the audit; ids and references only. INVARIANT: no secret, token, user name of a target or payload. */
export interface AuditEvent {
  /** `null` for events that belong to no organization, such as a worker's enrolment. */
  organization_id: string | null
  event: string
  actor: AuditActor
  session_id?: string | undefined
  attachment_id?: string | undefined
  resource_id?: string | undefined
  worker_id?: string | undefined
  user_id?: string | undefined
  secret_ref?: string | undefined
  outcome: 'ok' | 'refused' | 'failed'
  /** Stable error code of a refusal or a failure. */
  code?: string | undefined
  request_id?: string | undefined
  details?: AuditDetails | undefined
}

const MAX_DETAIL_KEYS = 24
const MAX_DETAIL_CHARACTERS = 512
const MAX_ID_CHARACTERS = 256
const EVENT_PATTERN = /^[a-z][a-z0-9]*([._][a-z0-9]+){0,8}$/
const DETAIL_KEY_PATTERN = /^[a-z][a-z0-9_]{0,47}$/
/** A detail under such a name would be a secret more often than not, so its author has to think of another name. */
const CREDENTIAL_KEY_PATTERN =
  /passw|passphrase|credential|private_?key|cookie|authorization|^(.*_)?(token|secret|username|domain)$/

function bounded(value: string, limit: number): string {
  return value.length <= limit ? value : `${value.slice(0, limit - 1)}…`
}

function checkedDetails(details: AuditDetails): AuditDetails {
  const entries = Object.entries(details)
  if (entries.length > MAX_DETAIL_KEYS) throw new TypeError('audit event has too many details')
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (!DETAIL_KEY_PATTERN.test(key)) throw new TypeError('audit detail key is out of form')
      if (CREDENTIAL_KEY_PATTERN.test(key)) throw new TypeError(`audit detail key names a credential: ${key}`)
      if (typeof value === 'string') return [key, bounded(value, MAX_DETAIL_CHARACTERS)]
      if (value === null || typeof value === 'boolean') return [key, value]
      if (typeof value === 'number' && Number.isFinite(value)) return [key, value]
      throw new TypeError(`audit detail is not a short value: ${key}`)
    }),
  )
}

/**
 * The event as it is handed to the database: text values cut to their limits, details checked.
 * Throws TypeError for an event or a detail key that is out of form, since those are written by us and not by a caller.
 */
export function checkedAuditEvent(event: AuditEvent): Record<string, unknown> {
  if (!EVENT_PATTERN.test(event.event)) throw new TypeError('audit event name is out of form')
  const { details, actor, organization_id, ...rest } = event
  const fields = Object.entries(rest).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return {
    organization_id,
    actor: { kind: actor.kind, id: bounded(actor.id, MAX_ID_CHARACTERS) },
    ...Object.fromEntries(fields.map(([key, value]) => [key, bounded(value, MAX_ID_CHARACTERS)])),
    details: checkedDetails(details ?? {}),
  }
}

/**
 * Appends one event to the audit through the SQL function `rap.append_audit_event(jsonb)`, which owns the hash chain.
 * Pass the transaction of the change itself, so that neither is written without the other.
 */
export async function appendAuditEvent(sql: Sql | TransactionSql, event: AuditEvent): Promise<void> {
  await sql`select rap.append_audit_event(${sql.json(checkedAuditEvent(event) as never)})`
}
