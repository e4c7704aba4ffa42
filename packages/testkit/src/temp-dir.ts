import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { guardCommand, releaseCommand, shellQuote } from './guard.ts'

export interface TempDir {
  readonly path: string
  /** Removes the directory and everything in it; a second call does nothing. */
  remove(): void
}

/** A new private directory (mode 0700) that is gone at the latest when this process ends. */
export function tempDir(prefix = 'rap-'): TempDir {
  const path = realpathSync(mkdtempSync(join(tmpdir(), prefix)))
  const key = `dir ${path}`
  guardCommand(key, `rm -rf -- ${shellQuote(path)}`)
  return {
    path,
    remove() {
      rmSync(path, { recursive: true, force: true, maxRetries: 5 })
      releaseCommand(key)
    },
  }
}
