import { createHash } from 'node:crypto'
import type { Sql, TransactionSql } from '@rap/service-kit'
import { problems } from '../errors.ts'

type Db = Sql | TransactionSql

/** How long a key is remembered. */
const KEY_HOURS = 24

/** A request that may be sent twice: who, under which key, asking for what. */
export interface IdempotentRequest {
  readonly userId: string
  readonly key: string
  readonly requestHash: Buffer
}

/** A digest of what a request asks for; the order of its members does not count. */
export function requestHashOf(body: Readonly<Record<string, unknown>>): Buffer {
  return createHash('sha256').update(canonical(body)).digest()
}

function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`)
  return `{${members.join(',')}}`
}

/** The attachment that an earlier request with this key made. Throws ProblemError ERR_IDEMPOTENCY_KEY_REUSED. */
export async function findIdempotent(db: Db, request: IdempotentRequest): Promise<string | undefined> {
  const [row] = await db<{ request_hash: Buffer; attachment_id: string }[]>`
    select request_hash, attachment_id from rap.idempotency_keys
    where user_id = ${request.userId} and operation = 'session_start' and key = ${request.key} and expires_at > now()`
  if (row === undefined) return undefined
  if (!request.requestHash.equals(row.request_hash)) throw problems.ERR_IDEMPOTENCY_KEY_REUSED()
  return row.attachment_id
}

/** Remembers a key in the transaction that makes the session; false where another request was first. */
export async function rememberIdempotent(
  tx: TransactionSql,
  request: IdempotentRequest,
  attachmentId: string,
): Promise<boolean> {
  await tx`
    delete from rap.idempotency_keys where user_id = ${request.userId} and operation = 'session_start'
      and key = ${request.key} and expires_at <= now()`
  // A request with the same key that is not committed yet is waited for here.
  const rows = await tx`
    insert into rap.idempotency_keys (user_id, operation, key, request_hash, attachment_id, expires_at)
    values (${request.userId}, 'session_start', ${request.key}, ${request.requestHash}, ${attachmentId},
      now() + make_interval(hours => ${KEY_HOURS}))
    on conflict on constraint idempotency_keys_pkey do nothing returning key`
  return rows.length === 1
}

export async function deleteExpiredKeys(db: Db, limit: number): Promise<void> {
  await db`
    delete from rap.idempotency_keys where ctid = any(array(
      select ctid from rap.idempotency_keys where expires_at < now() limit ${limit}))`
}
