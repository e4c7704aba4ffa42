import { createHash } from 'node:crypto'

/** One event as the API and the export answer it; times are text, because a hash is over every microsecond of them. */
export interface ChainedEvent {
  readonly organization_id: string | null
  readonly sequence: number
  readonly occurred_at: string
  readonly event: string
  readonly actor: { readonly kind: string; readonly id: string }
  readonly outcome: string
  readonly code: string | null
  readonly session_id: string | null
  readonly attachment_id: string | null
  readonly resource_id: string | null
  readonly worker_id: string | null
  readonly user_id: string | null
  readonly secret_ref: string | null
  readonly request_id: string | null
  readonly details: Readonly<Record<string, string | number | boolean | null>>
  /** SHA-256 in hexadecimal. */
  readonly previous_hash: string
  readonly hash: string
}

export type ChainVerdict =
  | { readonly ok: true; readonly count: number; readonly head: string }
  | { readonly ok: false; readonly sequence: number; readonly reason: 'out_of_order' | 'broken_link' | 'changed' }

const GENESIS = '0'.repeat(64)

/**
 * Verifies the events of one chain, in the order of their sequence. `after` is the hash in front of the first event:
 * absent for a chain from its beginning.
 *
 * It finds a changed, missing, doubled or inserted event. It cannot find that the newest ones were cut off: for that,
 * compare `head` with one that was noted elsewhere.
 */
export function verifyAuditChain(events: Iterable<ChainedEvent>, after: string = GENESIS): ChainVerdict {
  let head = after
  let count = 0
  let last: number | undefined
  for (const event of events) {
    const { sequence } = event
    const expected = last === undefined ? (after === GENESIS ? 1 : sequence) : last + 1
    if (sequence !== expected) return { ok: false, sequence, reason: 'out_of_order' }
    if (event.previous_hash !== head) return { ok: false, sequence, reason: 'broken_link' }
    if (hashOf(event) !== event.hash) return { ok: false, sequence, reason: 'changed' }
    head = event.hash
    last = sequence
    count += 1
  }
  return { ok: true, count, head }
}

/** SHA-256 over the 32 bytes of the hash before and the canonical text of the row. */
function hashOf(event: ChainedEvent): string {
  return createHash('sha256')
    .update(Buffer.from(event.previous_hash, 'hex'))
    .update(canonicalText(event), 'utf8')
    .digest('hex')
}

/** The same text as rap.audit_row_text: a JSON array as Postgres prints jsonb. */
function canonicalText(event: ChainedEvent): string {
  const { actor } = event
  return jsonbText([
    event.organization_id,
    event.sequence,
    event.occurred_at,
    event.event,
    actor.kind,
    actor.id,
    event.outcome,
    event.code,
    event.session_id,
    event.attachment_id,
    event.resource_id,
    event.worker_id,
    event.user_id,
    event.secret_ref,
    event.request_id,
    event.details,
  ])
}

/** JSON in the form that Postgres gives jsonb as text: `, ` and `: `, keys by length and then by bytes. */
function jsonbText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(jsonbText).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(([key, member]) => ({ key: Buffer.from(key, 'utf8'), member }))
  members.sort((left, right) => left.key.length - right.key.length || left.key.compare(right.key))
  return `{${members.map(({ key, member }) => `${JSON.stringify(key.toString('utf8'))}: ${jsonbText(member)}`).join(', ')}}`
}
