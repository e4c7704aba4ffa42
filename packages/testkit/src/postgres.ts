import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import postgres from 'postgres'
import { postgresBinaries } from './embedded-postgres.ts'
import { freePort } from './free-port.ts'
import { copyDataDir, ownerOf, prepareDataDir } from './postgres-data-dir.ts'
import { dumpDatabase } from './postgres-dump.ts'
import { startProcess } from './process.ts'
import { giveTo, serverIdentity } from './server-identity.ts'
import { tempDir } from './temp-dir.ts'

export interface PostgresOptions {
  /** Kept between starts. Without it the data is in a temporary folder, unsynced, and gone after `stop`. */
  readonly dataDir?: string
  readonly port?: number
  /** Default random, for a temporary folder the same in all tests of a checkout; a kept data folder remembers its own. */
  readonly superuserPassword?: string
  readonly logFile?: string
}

export interface PostgresServer {
  /** The superuser's URL of the database `postgres`, with its password. */
  readonly url: string
  readonly port: number
  /** The folder with the server's files, absent for a server that was there before. */
  readonly dataDir?: string
  /** Makes the database unless it is there, and returns the superuser's URL of it. */
  createDatabase(name: string): Promise<string>
  /** Every row of every table, large objects included, as text; bytea in escape format, so that ASCII is readable. */
  dump(url: string): Promise<string>
  /** What the server logged, empty for a server that was there before. */
  log(): string
  stop(): Promise<void>
}

/**
 * A real Postgres server on 127.0.0.1, password (SCRAM) required, no Unix socket.
 *
 * RAP_TEST_POSTGRES_URL names a server to use in its place: databases then get a unique prefix and are dropped by
 * `stop`. The variable is ignored when `dataDir` is given.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const existing = process.env.RAP_TEST_POSTGRES_URL
  if (existing !== undefined && existing !== '' && options.dataDir === undefined) return useExisting(existing)

  const identity = serverIdentity('postgres', 'nobody')
  const binaries = await postgresBinaries(identity)
  const scratch = options.dataDir === undefined ? tempDir('rap-postgres-') : undefined
  try {
    if (scratch !== undefined) giveTo(identity, scratch.path)
    const { superuserPassword } = options
    const data =
      scratch !== undefined && superuserPassword === undefined
        ? await copyDataDir(join(scratch.path, 'data'), binaries.initdb, identity)
        : await prepareDataDir(options.dataDir ?? join(scratch?.path ?? '', 'data'), binaries.initdb, {
            identity,
            superuserPassword,
          })
    const port = options.port ?? (await freePort())
    const settings = [
      'listen_addresses=127.0.0.1',
      'unix_socket_directories=',
      'max_connections=200',
      'log_timezone=UTC',
    ]
    if (scratch !== undefined) settings.push('fsync=off', 'synchronous_commit=off', 'full_page_writes=off')
    const server = await startProcess({
      name: 'postgres',
      command: binaries.postgres,
      args: ['-D', data.path, '-p', String(port), ...settings.flatMap(setting => ['-c', setting])],
      env: { LC_ALL: 'C' },
      cwd: data.path,
      readyWhen: /database system is ready to accept connections/,
      readyTimeoutMs: 60_000,
      // SIGINT is the fast shutdown: sessions are ended, data is written.
      stopSignal: 'SIGINT',
      stopTimeoutMs: 20_000,
      ...(options.logFile === undefined ? {} : { logFile: options.logFile }),
      ...(identity === undefined ? {} : ownerOf(data.path)),
    })
    const url = `postgres://postgres:${encodeURIComponent(data.superuserPassword)}@127.0.0.1:${port}/postgres`
    return {
      url,
      port,
      dataDir: data.path,
      createDatabase: name => createDatabase(url, name),
      dump: target => dumpDatabase(withDatabase(url, databaseOf(target))),
      log: () => server.log(),
      async stop() {
        await server.stop()
        scratch?.remove()
      },
    }
  } catch (err) {
    scratch?.remove()
    throw err
  }
}

function useExisting(url: string): PostgresServer {
  const prefix = `rap_${randomBytes(4).toString('hex')}_`
  const made: string[] = []
  return {
    url,
    port: Number(new URL(url).port || 5432),
    async createDatabase(name) {
      made.push(`${prefix}${name}`)
      return createDatabase(url, `${prefix}${name}`)
    },
    dump: target => dumpDatabase(withDatabase(url, databaseOf(target))),
    log: () => '',
    async stop() {
      const sql = connect(url)
      for (const name of made.splice(0)) await sql`drop database if exists ${sql(name)} with (force)`
      await sql.end()
    },
  }
}

async function createDatabase(url: string, name: string): Promise<string> {
  const sql = connect(url)
  try {
    const found = await sql`select 1 from pg_database where datname = ${name}`
    if (found.length === 0) await sql`create database ${sql(name)}`
  } finally {
    await sql.end()
  }
  return withDatabase(url, name)
}

function connect(url: string): postgres.Sql {
  return postgres(url, { max: 1, onnotice: () => {} })
}

function databaseOf(url: string): string {
  return decodeURIComponent(new URL(url).pathname.slice(1))
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${encodeURIComponent(name)}`
  return changed.href
}
