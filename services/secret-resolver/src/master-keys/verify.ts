import { createHash } from 'node:crypto'
import type { Sql } from 'postgres'
import { doesNotOpen, type KeyWrapPort } from '../secrets/key-wrap.ts'
import { inTurns } from './in-turns.ts'
import { type Cursor, START, WRAPPED_TABLES, type WrappedRow, type WrappedTable } from './rewrap-rows.ts'
import { selectKeyUses } from './store.ts'

const BATCH_ROWS = 256
const CONCURRENCY = 8

export interface VerifyFailure {
  readonly row: string
  readonly key_id: string
  /** What the key provider says, or ERR_CIPHERTEXT_CHANGED where the content is not what was stored. */
  readonly code: string
}

export interface VerifyResult {
  readonly checked: number
  readonly failures: readonly VerifyFailure[]
}

/**
 * Unwraps the key of every stored row, and compares each content with its SHA-256; no secret is decrypted.
 *
 * Reads only, without locks. Throws what the database and, beside rows that do not open, the key provider throw.
 */
export async function verifyRows({
  sql,
  keys,
  onProgress,
  signal,
}: {
  readonly sql: Sql
  readonly keys: KeyWrapPort
  readonly onProgress?: (progress: { checked: number; total: number; failed: number }) => void
  readonly signal?: AbortSignal | undefined
}): Promise<VerifyResult> {
  const uses = await selectKeyUses(sql)
  const total = uses.reduce((sum, { secrets, sealing_keys }) => sum + secrets + sealing_keys, 0)
  const failures: VerifyFailure[] = []
  let checked = 0
  for (const table of WRAPPED_TABLES) {
    for (const { key_id: keyId } of uses) {
      for await (const rows of batchesOf(sql, table, keyId)) {
        signal?.throwIfAborted()
        const codes = await inTurns(rows, CONCURRENCY, row => codeOf(row, keyId, keys))
        rows.forEach((row, at) => {
          const code = codes[at]
          if (code !== undefined) failures.push({ row: row.label, key_id: keyId, code })
        })
        checked += rows.length
        onProgress?.({ checked, total, failed: failures.length })
      }
    }
  }
  return { checked, failures }
}

async function* batchesOf(sql: Sql, table: WrappedTable, keyId: string): AsyncGenerator<WrappedRow[]> {
  let after: Cursor | undefined = START
  while (after !== undefined) {
    const rows: WrappedRow[] = await table.read(sql, { keyId, after, limit: BATCH_ROWS })
    if (rows.length > 0) yield rows
    after = rows.length < BATCH_ROWS ? undefined : rows.at(-1)?.cursor
  }
}

async function codeOf(row: WrappedRow, keyId: string, keys: KeyWrapPort): Promise<string | undefined> {
  if (row.content !== undefined && sha256(row.content.ciphertext) !== row.content.sha256)
    return 'ERR_CIPHERTEXT_CHANGED'
  try {
    const dataKey = await keys.unwrap({ keyId, wrapped: row.wrapped }, row.context)
    dataKey.fill(0)
    return undefined
  } catch (error) {
    if (doesNotOpen(error)) return error.code
    throw error
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
