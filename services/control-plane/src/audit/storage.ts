import type { Sql, TransactionSql } from '@rap/service-kit'
import type { ChainedEvent } from './chain.ts'

type Db = Sql | TransactionSql

/** The chain of events that belong to no organization. */
export const PLATFORM_CHAIN = '00000000-0000-0000-0000-000000000000'

export interface AuditFilter {
  readonly chainId: string
  readonly event?: string | undefined
  readonly outcome?: string | undefined
  readonly sessionId?: string | undefined
  readonly resourceId?: string | undefined
  readonly userId?: string | undefined
  readonly workerId?: string | undefined
  readonly from?: string | undefined
  readonly to?: string | undefined
}

export interface AuditPlace {
  readonly order: 'newest_first' | 'oldest_first'
  /** Sequence number that the page comes after, in its order. */
  readonly after: string | undefined
  readonly limit: number
}

/** Events of one chain. */
export async function listAuditEvents(db: Db, filter: AuditFilter, place: AuditPlace): Promise<ChainedEvent[]> {
  const newestFirst = place.order === 'newest_first'
  const compared = newestFirst ? db`<` : db`>`
  return await db<ChainedEvent[]>`
    select organization_id, sequence::float8 as sequence,
      to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as occurred_at, event,
      jsonb_build_object('kind', actor_kind, 'id', actor_id) as actor, outcome, code, session_id, attachment_id,
      resource_id, worker_id, user_id, secret_ref, request_id, details,
      encode(previous_hash, 'hex') as previous_hash, encode(hash, 'hex') as hash
    from rap.audit_events
    where chain_id = ${filter.chainId}
      ${filter.event === undefined ? db`` : db`and event = ${filter.event}`}
      ${filter.outcome === undefined ? db`` : db`and outcome = ${filter.outcome}`}
      ${filter.sessionId === undefined ? db`` : db`and session_id = ${filter.sessionId}`}
      ${filter.resourceId === undefined ? db`` : db`and resource_id = ${filter.resourceId}`}
      ${filter.userId === undefined ? db`` : db`and user_id = ${filter.userId}`}
      ${filter.workerId === undefined ? db`` : db`and worker_id = ${filter.workerId}`}
      ${filter.from === undefined ? db`` : db`and occurred_at >= ${filter.from}::text::timestamptz`}
      ${filter.to === undefined ? db`` : db`and occurred_at < ${filter.to}::text::timestamptz`}
      ${place.after === undefined ? db`` : db`and sequence ${compared} ${place.after}::bigint`}
    order by sequence ${newestFirst ? db`desc` : db`asc`} limit ${place.limit}`
}
