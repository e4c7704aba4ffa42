import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import Postgrator from 'postgrator'
import type { ReservedSql, Sql } from 'postgres'
import type { Logger } from './log.ts'
import { connectPostgres } from './postgres.ts'
import type { Secret } from './secret.ts'

export interface MigrateOptions {
  /** A pool to borrow one connection from. */
  sql?: Sql
  /** Used when there is no `sql`: one connection is opened and closed again. */
  url?: string | Secret
  /** Directory of `NNN.do.name.sql` files. */
  directory: string
  /** `schema.table` (or `table`) that remembers what was run; the schema is made when it is not there. */
  schemaTable: string
  logger: Logger
  /** How long to wait for another instance that is migrating, in milliseconds. */
  lockTimeoutMs?: number
}

export interface MigrateResult {
  readonly previousVersion: number
  readonly version: number
  readonly applied: readonly string[]
}

export class MigrationError extends Error {
  override readonly name = 'MigrationError'
  readonly code:
    | 'ERR_MIGRATION_CHANGED'
    | 'ERR_MIGRATION_FAILED'
    | 'ERR_MIGRATION_LOCKED'
    | 'ERR_MIGRATION_FILE_NAME'
    | 'ERR_MIGRATION_MISSING'
  readonly facts: Readonly<Record<string, string | number>>

  constructor(
    code: MigrationError['code'],
    message: string,
    facts: Readonly<Record<string, string | number>>,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.code = code
    this.facts = facts
  }
}

const FILE_NAME = /^(\d{3,6})\.do\.([a-z0-9_-]{1,80})\.sql$/
/** The name goes into SQL text (postgrator quotes it, but does not escape it). */
const SCHEMA_TABLE = /^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$/
const DEFAULT_LOCK_TIMEOUT_MS = 60_000
const LOCK_POLL_MS = 200

/** File names in order; refuses names out of form, double numbers and an empty directory. */
async function migrationFiles(directory: string): Promise<{ version: number; file: string }[]> {
  const names = (await readdir(directory)).filter(name => name.endsWith('.sql')).sort()
  const files = names.map(file => {
    const version = Number(FILE_NAME.exec(file)?.[1] ?? Number.NaN)
    if (Number.isNaN(version)) {
      throw new MigrationError('ERR_MIGRATION_FILE_NAME', 'migration file name is out of form', { file })
    }
    return { version, file }
  })
  for (const [index, { version, file }] of files.entries()) {
    if (version !== index + 1) {
      throw new MigrationError('ERR_MIGRATION_MISSING', 'migration numbers are not 1, 2, 3 and so on', { file })
    }
  }
  if (files.length === 0) {
    throw new MigrationError('ERR_MIGRATION_MISSING', 'directory holds no migration', { path: directory })
  }
  return files
}

/** A lock number that all instances of one schema table share, and hardly anything else does. */
function lockKey(schemaTable: string): string {
  return createHash('sha256').update(`rap:migrate:${schemaTable}`).digest().readBigInt64BE(0).toString()
}

async function lock(connection: ReservedSql, schemaTable: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    // Trying in turns keeps this clear of lock_timeout and statement_timeout.
    const [row] = await connection`select pg_try_advisory_lock(${lockKey(schemaTable)}::bigint) as locked`
    if (row?.locked === true) return
    if (performance.now() > deadline) {
      throw new MigrationError('ERR_MIGRATION_LOCKED', 'another instance is still migrating', {
        schema_table: schemaTable,
      })
    }
    await delay(LOCK_POLL_MS)
  }
}

function openPool(url: string | Secret | undefined): Sql {
  if (url === undefined) throw new TypeError('migrate needs sql or url')
  return connectPostgres(url, { max: 1, applicationName: 'rap-migrate' })
}

/**
 * Brings the schema of one service up to date: `NNN.do.name.sql` files in order, each in its own transaction together
 * with its row in `schemaTable`, under an advisory lock, so that several instances may start at once.
 *
 * Throws MigrationError: CHANGED when a file that was already run has another MD5, FAILED with the database's error as
 * its cause (nothing of that file stays), LOCKED, FILE_NAME and MISSING. A database that is newer than the files is
 * left alone with a warning, so that an older release can still start beside a newer one.
 */
export async function migrate(options: MigrateOptions): Promise<MigrateResult> {
  const { schemaTable, logger, lockTimeoutMs = DEFAULT_LOCK_TIMEOUT_MS } = options
  if (!SCHEMA_TABLE.test(schemaTable)) throw new TypeError('schemaTable is out of form')
  const directory = resolve(options.directory)
  const files = await migrationFiles(directory)
  const pool = options.sql ?? openPool(options.url)
  try {
    const connection = await pool.reserve()
    try {
      await lock(connection, schemaTable, lockTimeoutMs)
      try {
        return await run(connection, directory, files, { schemaTable, logger })
      } finally {
        await connection`select pg_advisory_unlock(${lockKey(schemaTable)}::bigint)`
      }
    } finally {
      connection.release()
    }
  } finally {
    if (pool !== options.sql) await pool.end({ timeout: 5 })
  }
}

async function run(
  connection: ReservedSql,
  directory: string,
  files: readonly { version: number; file: string }[],
  { schemaTable, logger }: Pick<MigrateOptions, 'schemaTable' | 'logger'>,
): Promise<MigrateResult> {
  const postgrator = new Postgrator({
    driver: 'pg',
    migrationPattern: `${directory.replaceAll(/[\\*?[\]{}()!]/g, '\\$&')}/*.do.*.sql`,
    schemaTable,
    newline: 'LF',
    execQuery: async (query: string) => ({ rows: await execute(connection, query) }),
  } as never)
  const previousVersion = Number(await postgrator.getDatabaseVersion())
  const newest = files.at(-1)?.version ?? 0
  if (previousVersion > newest) {
    logger.warn(
      { event: 'database_is_newer', schema_table: schemaTable, version: previousVersion },
      'database is newer',
    )
    return { previousVersion, version: previousVersion, applied: [] }
  }
  const applied: string[] = []
  // Also with nothing to do one call is made: it compares the checksums.
  const pending = files.filter(({ version }) => version > previousVersion)
  for (const { version, file } of pending.length > 0 ? pending : files.slice(-1)) {
    const isPending = version > previousVersion
    const startedAt = performance.now()
    await inTransaction(connection, file, () => postgrator.migrate(String(version)))
    if (!isPending) continue
    applied.push(file)
    logger.info(
      { event: 'migration_applied', migration: file, duration_ms: Math.round(performance.now() - startedAt) },
      'migration applied',
    )
  }
  return { previousVersion, version: newest, applied }
}

/** postgrator's own statement for the schema of `schemaTable`. */
const CREATE_SCHEMA = /^CREATE SCHEMA IF NOT EXISTS "([a-z0-9_]+)";$/

/** Postgres asks for the right to create a schema also where it is there already, so that statement is left out then. */
async function execute(connection: ReservedSql, query: string): Promise<readonly unknown[]> {
  const schema = CREATE_SCHEMA.exec(query)?.[1]
  if (schema !== undefined) {
    const found = await connection`select 1 from pg_namespace where nspname = ${schema}`
    if (found.length > 0) return []
  }
  return await connection.unsafe(query)
}

async function inTransaction(connection: ReservedSql, file: string, work: () => Promise<unknown>): Promise<void> {
  await connection.unsafe('begin')
  try {
    await connection.unsafe('set local statement_timeout = 0')
    await work()
    await connection.unsafe('commit')
  } catch (cause) {
    await connection.unsafe('rollback')
    // postgrator has no error codes; this is the one message of it that says what happened.
    const isChanged = cause instanceof Error && cause.message.startsWith('MD5 checksum failed')
    throw isChanged
      ? new MigrationError('ERR_MIGRATION_CHANGED', 'migration was changed after it was run', { file }, { cause })
      : new MigrationError('ERR_MIGRATION_FAILED', 'migration failed', { file }, { cause })
  }
}
