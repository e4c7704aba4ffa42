import { type AuditEvent, appendAuditEvent, type Sql, type TransactionSql } from '@rap/service-kit'
import type { Caller, Origin } from '../auth/caller.ts'

/** An event without the parts that follow from who made it. */
export type EventBy = Omit<AuditEvent, 'actor' | 'request_id' | 'outcome'> & Partial<Pick<AuditEvent, 'outcome'>>

/** Appends what a person did; pass the transaction of the change, as its last step: it takes the lock of the chain. */
export async function auditCaller(sql: Sql | TransactionSql, caller: Caller, event: EventBy): Promise<void> {
  await auditUser(sql, { userId: caller.id, origin: caller.origin }, event)
}

/** Appends what a person did who is not a caller yet, or no more: a log-in, a log-out. */
export async function auditUser(
  sql: Sql | TransactionSql,
  { userId, origin }: { userId: string; origin: Origin },
  event: EventBy,
): Promise<void> {
  await appendAuditEvent(sql, {
    user_id: userId,
    ...event,
    outcome: event.outcome ?? 'ok',
    actor: { kind: 'user', id: userId },
    request_id: origin.requestId,
    details: { client_address: origin.clientAddress, ...event.details },
  })
}

/** Appends what a worker reported. */
export async function auditWorker(
  sql: Sql | TransactionSql,
  workerId: string,
  event: EventBy & { request_id?: string | undefined },
): Promise<void> {
  await appendAuditEvent(sql, eventOfWorker(workerId, event))
}

/** What a worker reported or was refused. */
export function eventOfWorker(workerId: string, event: EventBy & { request_id?: string | undefined }): AuditEvent {
  return {
    worker_id: workerId,
    ...event,
    outcome: event.outcome ?? 'ok',
    actor: { kind: 'worker', id: workerId },
  }
}

/** Appends what the control plane did by itself. */
export async function auditSystem(sql: Sql | TransactionSql, event: EventBy): Promise<void> {
  await appendAuditEvent(sql, {
    ...event,
    outcome: event.outcome ?? 'ok',
    actor: { kind: 'service', id: 'control-plane' },
  })
}

/** Appends what somebody did who is not logged in. */
export async function auditStranger(sql: Sql | TransactionSql, origin: Origin, event: EventBy): Promise<void> {
  await appendAuditEvent(sql, eventOfStranger(origin, event))
}

/** What somebody did who is not logged in; a refusal goes to `Context.refusals`. */
export function eventOfStranger(origin: Origin, event: EventBy): AuditEvent {
  return {
    ...event,
    outcome: event.outcome ?? 'ok',
    actor: { kind: 'system', id: 'anonymous' },
    request_id: origin.requestId,
    details: { client_address: origin.clientAddress, ...event.details },
  }
}
