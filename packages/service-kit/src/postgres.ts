import postgres, { type Sql } from 'postgres'
import type { Logger } from './log.ts'
import { Secret } from './secret.ts'

export type { Sql, TransactionSql } from 'postgres'

export interface PostgresOptions {
  /** Connections in the pool. */
  max?: number
  applicationName: string
  /** Longest time of one statement, in milliseconds. */
  statementTimeoutMs?: number
  /** Trust bundle for the database server; with it the certificate is verified, whatever `sslmode` says. */
  ca?: string | Buffer | undefined
  logger?: Logger
}

/** How long `end` waits for queries that are under way, unless its caller says otherwise. */
const END_TIMEOUT_SECONDS = 5

/**
 * A postgres.js pool with limits on everything that can hang: connecting, one statement, a lock, a forgotten transaction.
 *
 * Connections are made when they are needed, so this neither fails nor waits. Results keep their snake_case names.
 * `sslmode=verify-full` in the URL verifies the server against Node's own authorities; pass `ca` for a private one.
 */
export function connectPostgres(url: string | Secret, options: PostgresOptions): Sql {
  const { max = 10, applicationName, statementTimeoutMs = 30_000, ca, logger } = options
  const text = url instanceof Secret ? url.expose().toString('utf8') : url
  const sql = postgres(text, {
    max,
    connect_timeout: 10,
    idle_timeout: 60,
    max_lifetime: 30 * 60,
    ...(ca !== undefined && { ssl: { ca, rejectUnauthorized: true } }),
    connection: {
      application_name: applicationName,
      statement_timeout: statementTimeoutMs,
      lock_timeout: Math.min(statementTimeoutMs, 10_000),
      idle_in_transaction_session_timeout: 60_000,
    },
    onnotice: notice => {
      logger?.debug({ event: 'postgres_notice', code: notice.code, message: notice.message }, 'postgres notice')
    },
  })
  // postgres.js waits for ever for a connection that the server has closed (3.4.9), unless it is given a limit.
  const { end } = sql
  sql.end = (endOptions = { timeout: END_TIMEOUT_SECONDS }) => end(endOptions)
  return sql
}
