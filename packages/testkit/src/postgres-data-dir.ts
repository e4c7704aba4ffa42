import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { TestkitError } from './errors.ts'
import { runCommand } from './run-command.ts'
import { canReach, giveTo, type ServerIdentity } from './server-identity.ts'
import { tempDir } from './temp-dir.ts'
import { waitFor } from './wait-for.ts'

/** Home of data folders whose wanted place the server's own user cannot reach (such as below /root, mode 0700). */
const SHARED_DATA = '/var/lib/rap-testkit'
/** What the data folders of tests are copies of. */
const TEMPLATES = join(import.meta.dirname, '../node_modules/.cache/rap-testkit')
const PASSWORD_FILE = 'rap-superuser-password'
const INITDB_OPTIONS = [
  '--username=postgres',
  '--auth=scram-sha-256',
  '--encoding=UTF8',
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
  '--locale=C',
  '--no-sync',
]

export interface DataDir {
  readonly path: string
  readonly superuserPassword: string
}

interface DataDirOptions {
  readonly identity: ServerIdentity | undefined
  readonly superuserPassword: string | undefined
}

/**
 * A Postgres data folder, made when it is not there yet.
 *
 * INVARIANT: `path` can be reached by `identity`. When `wanted` cannot, the data is kept under /var/lib/rap-testkit
 * and `wanted` becomes a link to it; once that link is removed, the next start begins anew.
 */
export async function prepareDataDir(wanted: string, initdb: string, options: DataDirOptions): Promise<DataDir> {
  const path = placeFor(resolve(wanted), options.identity)
  if (existsSync(join(path, 'PG_VERSION'))) {
    await clearStalePid(path)
    const stored = readFileSync(join(path, PASSWORD_FILE), 'utf8')
    return { path, superuserPassword: options.superuserPassword ?? stored }
  }
  // What an interrupted first start left is not a database yet.
  rmSync(path, { recursive: true, force: true })
  return makeDataDir(path, initdb, options)
}

/**
 * A data folder for one test: a copy of one that is made once in this checkout, which takes a third of the time.
 *
 * The servers of one checkout so have one superuser password, in files that nobody but this user reads.
 */
export async function copyDataDir(
  path: string,
  initdb: string,
  identity: ServerIdentity | undefined,
): Promise<DataDir> {
  const key = createHash('sha256')
    .update(JSON.stringify([initdb, INITDB_OPTIONS, identity]))
    .digest('hex')
    .slice(0, 16)
  const original = join(TEMPLATES, `postgres-${key}`)
  if (!existsSync(original)) await makeTemplate(original, initdb, identity)
  await runCommand('cp', ['-a', original, path])
  return { path, superuserPassword: readFileSync(join(path, PASSWORD_FILE), 'utf8') }
}

/** Made aside and moved into place, so that what is there is whole; another test may have been quicker. */
async function makeTemplate(original: string, initdb: string, identity: ServerIdentity | undefined): Promise<void> {
  mkdirSync(TEMPLATES, { recursive: true, mode: 0o700 })
  const scratch = tempDir('rap-initdb-')
  const partial = `${original}.${process.pid}`
  try {
    giveTo(identity, scratch.path)
    const made = join(scratch.path, 'data')
    await makeDataDir(made, initdb, { identity, superuserPassword: undefined })
    rmSync(partial, { recursive: true, force: true })
    await runCommand('cp', ['-a', made, partial])
    renameSync(partial, original)
  } catch (err) {
    if (!existsSync(original)) throw err
  } finally {
    rmSync(partial, { recursive: true, force: true })
    scratch.remove()
  }
}

async function makeDataDir(path: string, initdb: string, options: DataDirOptions): Promise<DataDir> {
  mkdirSync(path, { recursive: true, mode: 0o700 })
  const superuserPassword = options.superuserPassword ?? randomBytes(18).toString('base64url')
  const scratch = tempDir('rap-initdb-')
  const passwordFile = join(scratch.path, 'password')
  writeFileSync(passwordFile, superuserPassword, { mode: 0o600 })
  for (const owned of [path, scratch.path]) giveTo(options.identity, owned)
  try {
    await runCommand(initdb, [`--pgdata=${path}`, `--pwfile=${passwordFile}`, ...INITDB_OPTIONS], {
      name: 'initdb',
      env: { LC_ALL: 'C' },
      cwd: path,
      ...options.identity,
    })
  } finally {
    scratch.remove()
  }
  writeFileSync(join(path, PASSWORD_FILE), superuserPassword, { mode: 0o600 })
  return { path, superuserPassword }
}

function placeFor(wanted: string, identity: ServerIdentity | undefined): string {
  if (existsSync(wanted)) return realpathSync(wanted)
  mkdirSync(dirname(wanted), { recursive: true })
  if (identity === undefined || canReach(dirname(wanted), identity)) return wanted
  const kept = join(SHARED_DATA, createHash('sha256').update(wanted).digest('hex').slice(0, 16))
  mkdirSync(SHARED_DATA, { recursive: true, mode: 0o755 })
  rmSync(kept, { recursive: true, force: true })
  mkdirSync(kept, { mode: 0o700 })
  if (lstatSync(wanted, { throwIfNoEntry: false })?.isSymbolicLink()) rmSync(wanted)
  symlinkSync(kept, wanted)
  return kept
}

/** Removes what `startPostgres({ dataDir })` keeps, wherever it keeps it. */
export function removePostgresData(dataDir: string): void {
  const link = lstatSync(dataDir, { throwIfNoEntry: false })
  if (link?.isSymbolicLink()) {
    const target = readlinkSync(dataDir)
    if (dirname(target) === SHARED_DATA) rmSync(target, { recursive: true, force: true })
  }
  rmSync(dataDir, { recursive: true, force: true })
}

/** The user that a data folder belongs to; a server must run as that one. */
export function ownerOf(path: string): ServerIdentity {
  const { uid, gid } = statSync(path)
  return { uid, gid }
}

/**
 * After a crash, postmaster.pid may name a number that belongs to another program by now, and the server would refuse
 * to start. A server that really runs on this folder is waited for: the guard of the crashed process is ending it.
 */
async function clearStalePid(path: string): Promise<void> {
  const file = join(path, 'postmaster.pid')
  const isRunning = () => {
    if (!existsSync(file)) return false
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10)
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === path
    } catch {
      return false
    }
  }
  try {
    await waitFor(() => !isRunning(), { what: 'the earlier server on this data folder to end' })
  } catch (cause) {
    throw new TestkitError('ERR_TESTKIT_NOT_SUPPORTED', `a server already runs on ${path}`, {}, { cause })
  }
  rmSync(file, { force: true })
}
