import type { Stats } from 'node:fs'
import { lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

/** Write permission of group and others, see chmod(2). */
const WRITABLE_BY_OTHERS = 0o022

/** The directory for uploads is not safe to use. */
export class UploadDirError extends Error {
  override readonly name = 'UploadDirError'
  readonly code = 'ERR_UPLOAD_DIR'
}

/**
 * Makes a new directory for this process and removes those that earlier processes of the same worker left.
 *
 * `base` undefined is the system's directory for temporary files, where others may write too: names there are random, and what is not our own is
 * left alone. Rejects: UploadDirError where `base` is a link, no directory, open for others to write, or not to be used by us.
 */
export async function openUploadDir(base: string | undefined, workerId: string): Promise<string> {
  const parent = resolve(base ?? tmpdir())
  try {
    if (base !== undefined) {
      await mkdir(parent, { recursive: true, mode: 0o700 })
      refuseUnsafe(parent, await lstat(parent))
    }
    return await renew(parent, `rap-uploads-${workerId}-`)
  } catch (cause) {
    if (cause instanceof UploadDirError) throw cause
    throw new UploadDirError(`${parent} cannot be used: ${(cause as NodeJS.ErrnoException).code}`, { cause })
  }
}

async function renew(parent: string, prefix: string): Promise<string> {
  for (const name of await readdir(parent)) {
    const path = join(parent, name)
    if (name.startsWith(prefix) && isOurs(await lstat(path))) await rm(path, { recursive: true, force: true })
  }
  return mkdtemp(join(parent, prefix))
}

function refuseUnsafe(path: string, stats: Stats): void {
  if (!stats.isDirectory()) throw new UploadDirError(`${path} is not a directory, or a link`)
  if ((stats.mode & WRITABLE_BY_OTHERS) !== 0)
    throw new UploadDirError(`${path} may be written by others; chmod it to 0700`)
}

function isOurs(stats: Stats): boolean {
  return stats.isDirectory() && stats.uid === process.geteuid?.()
}
