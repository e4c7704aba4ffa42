import { setTimeout as delay } from 'node:timers/promises'
import { KeyProviderError } from '@rap/key-provider'
import type { Sql } from 'postgres'
import { problemOfDatabase, problems } from '../errors.ts'
import { doesNotOpen, type KeyWrapPort } from '../secrets/key-wrap.ts'
import { inTurns } from './in-turns.ts'
import {
  type Cursor,
  type Rewrapped,
  START,
  WRAPPED_TABLES,
  type WrappedRow,
  type WrappedTable,
} from './rewrap-rows.ts'
import { activeKeyId, holdActiveKey, selectKeyUses } from './store.ts'

/** Rows that one transaction takes: few enough that nobody who writes one of them waits for long. */
const BATCH_ROWS = 64
/** Keys that are asked for at once; a provider behind a network answers in milliseconds. */
const CONCURRENCY = 8
/** Between two looks at rows that other runners hold. */
const LOCKED_ROWS_DELAY_MS = 200
const PROGRESS_INTERVAL_MS = 500
/** Waits before another try, where the provider or the database does not answer. */
const RETRY_DELAYS_MS = [500, 1000, 2000, 4000, 8000, 15_000, 30_000]
/** Failed rows that are named; the rest is counted. */
const MAX_NAMED_FAILURES = 100

export interface RewrapFailure {
  /** `secret_ref#version` or the kid of a sealing key. */
  readonly row: string
  readonly key_id: string
  readonly code: string
}

export interface RewrapProgress {
  /** Rows that had to be wrapped again when this began. */
  readonly total: number
  /** Rows that still have to be, those that failed included; all runners together. */
  readonly remaining: number
  readonly failed: number
  /** Rows a second, all runners together, since this began. */
  readonly rate: number
  /** Undefined until a rate is known. */
  readonly secondsLeft: number | undefined
}

export interface RewrapResult {
  readonly to_key_id: string
  /** Rows that this runner wrapped again. */
  readonly rewrapped: number
  readonly failed: number
  readonly failures: readonly RewrapFailure[]
}

export interface RewrapOptions {
  readonly sql: Sql
  readonly keys: KeyWrapPort
  /** Only rows of these keys; all but the active one where it is absent. */
  readonly fromKeyIds?: readonly string[] | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: (progress: RewrapProgress) => void
}

/**
 * Wraps with the active key what other keys have wrapped, while everything goes on.
 *
 * What is done is told by the rows themselves, so a runner that dies at any moment loses at most one batch, which is rolled
 * back, and the next runner goes on. Several runners share the rows (`for update skip locked`). A row that does not open is
 * reported and left as it is. Throws ProblemError ERR_MASTER_KEY_NONE_ACTIVE, ERR_MASTER_KEY_CHANGED,
 * KeyProviderError ERR_KEY_UNKNOWN where the active key is not configured here, the signal's reason, and what the provider
 * or the database says after several tries. INVARIANT: a row changes its key id and its wrapped bytes in one statement, and
 * only to a key that is still active when that commits.
 */
export async function rewrap(options: RewrapOptions): Promise<RewrapResult> {
  const run = await RewrapRun.begin(options)
  return await run.toEnd()
}

/** Rows to be wrapped again, by key; the dry run. */
export async function planRewrap(
  sql: Sql,
  fromKeyIds?: readonly string[] | undefined,
): Promise<{ to_key_id: string; from: { key_id: string; rows: number }[]; total: number }> {
  const toKeyId = await activeKeyId(sql)
  const from = (await selectKeyUses(sql))
    .filter(({ key_id }) => key_id !== toKeyId && (fromKeyIds?.includes(key_id) ?? true))
    .map(({ key_id, secrets, sealing_keys }) => ({ key_id, rows: secrets + sealing_keys }))
  return { to_key_id: toKeyId, from, total: from.reduce((sum, { rows }) => sum + rows, 0) }
}

class RewrapRun {
  readonly #options: RewrapOptions
  readonly #toKeyId: string
  readonly #total: number
  readonly #startedAt = performance.now()
  readonly #failures = new Map<string, RewrapFailure>()
  #rewrapped = 0
  #toldAt = 0

  private constructor(options: RewrapOptions, { to_key_id, total }: { to_key_id: string; total: number }) {
    this.#options = options
    this.#toKeyId = to_key_id
    this.#total = total
  }

  static async begin(options: RewrapOptions): Promise<RewrapRun> {
    const plan = await planRewrap(options.sql, options.fromKeyIds)
    // Without the key to wrap with every row would look as if it did not open.
    options.keys.key(plan.to_key_id)
    return new RewrapRun(options, plan)
  }

  async toEnd(): Promise<RewrapResult> {
    for (;;) {
      const { from, total: remaining } = await this.#retried(() => this.#count())
      if (remaining <= this.#failures.size) return this.#result()
      const before = this.#rewrapped
      for (const { key_id } of from) for (const table of WRAPPED_TABLES) await this.#walk(table, key_id)
      // What is left is in the hands of other runners; when one of them dies, its rows come free.
      if (this.#rewrapped === before) await delay(LOCKED_ROWS_DELAY_MS, undefined, { signal: this.#options.signal })
    }
  }

  async #walk(table: WrappedTable, keyId: string): Promise<void> {
    let after: Cursor = START
    for (;;) {
      this.#options.signal?.throwIfAborted()
      const last = await this.#retried(() => this.#batch(table, { keyId, after, limit: BATCH_ROWS }))
      if (last === undefined) return
      after = last
    }
  }

  /** One transaction; answers where the next one goes on. */
  async #batch(table: WrappedTable, at: Parameters<WrappedTable['take']>[1]): Promise<Cursor | undefined> {
    const { sql } = this.#options
    const outcome = await sql.begin(async tx => {
      const rows = await table.take(tx, at)
      if (rows.length === 0) return undefined
      const results = await inTurns(rows, CONCURRENCY, row => this.#wrapAgain(row, at.keyId))
      const done = results.filter(result => 'wrapped' in result)
      if (!(await holdActiveKey(tx, this.#toKeyId))) throw problems.ERR_MASTER_KEY_CHANGED()
      if (done.length > 0) await table.put(tx, this.#toKeyId, done)
      return { done: done.length, failures: results.filter(result => 'code' in result), last: rows.at(-1)?.cursor }
    })
    for (const failure of outcome?.failures ?? []) this.#failures.set(failure.row, failure)
    this.#rewrapped += outcome?.done ?? 0
    if (outcome !== undefined && performance.now() - this.#toldAt > PROGRESS_INTERVAL_MS) await this.#count()
    return outcome?.last
  }

  async #wrapAgain(row: WrappedRow, keyId: string): Promise<Rewrapped | RewrapFailure> {
    try {
      const wrapped = await this.#options.keys.rewrap({ keyId, wrapped: row.wrapped }, this.#toKeyId, row.context)
      return { cursor: row.cursor, wrapped }
    } catch (err) {
      if (!doesNotOpen(err)) throw err
      return { row: row.label, key_id: keyId, code: err.code }
    }
  }

  /** A place that does not answer now is asked again for about a minute; nothing is half done meanwhile. */
  async #retried<T>(act: () => Promise<T>): Promise<T> {
    for (const ms of RETRY_DELAYS_MS) {
      try {
        return await act()
      } catch (err) {
        if (!passes(err)) throw err
        await delay(ms, undefined, { signal: this.#options.signal })
      }
    }
    return await act()
  }

  /** What is left, whoever does it; the database knows. */
  async #count() {
    const plan = await planRewrap(this.#options.sql, this.#options.fromKeyIds)
    this.#tell(plan.total)
    return plan
  }

  #tell(remaining: number): void {
    this.#toldAt = performance.now()
    const elapsed = (performance.now() - this.#startedAt) / 1000
    const rate = elapsed > 0 ? (this.#total - remaining) / elapsed : 0
    this.#options.onProgress?.({
      total: this.#total,
      remaining,
      failed: this.#failures.size,
      rate,
      secondsLeft: rate > 0 ? (remaining - this.#failures.size) / rate : undefined,
    })
  }

  #result(): RewrapResult {
    return {
      to_key_id: this.#toKeyId,
      rewrapped: this.#rewrapped,
      failed: this.#failures.size,
      failures: [...this.#failures.values()].slice(0, MAX_NAMED_FAILURES),
    }
  }
}

function passes(error: unknown): boolean {
  if (error instanceof KeyProviderError) return error.code === 'ERR_KEY_UNAVAILABLE'
  return problemOfDatabase(error) !== undefined
}
