import { spawnSync } from 'node:child_process'
import { chownSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestkitError } from './errors.ts'

/** The ids that a program runs with. */
export interface ServerIdentity {
  readonly uid: number
  readonly gid: number
}

/**
 * Whom a program runs as that must not run as root: the first of these accounts that exists, or undefined when this
 * process is not root, and the program runs as the same user as this process.
 */
export function serverIdentity(...names: readonly string[]): ServerIdentity | undefined {
  if (process.getuid?.() !== 0) return undefined
  const accounts = readFileSync('/etc/passwd', 'utf8').split('\n')
  for (const name of names) {
    const fields = accounts.find(line => line.startsWith(`${name}:`))?.split(':')
    if (fields !== undefined) return { uid: Number(fields[2]), gid: Number(fields[3]) }
  }
  throw new TestkitError(
    'ERR_TESTKIT_NOT_SUPPORTED',
    `root needs one of the users ${names.join(', ')} to start this as`,
  )
}

/** Asks the kernel whether a user can reach a path: every folder above it counts, not its own mode only. */
export function canReach(path: string, identity: ServerIdentity): boolean {
  const { status } = spawnSync('/bin/sh', ['-c', 'test -r "$0" && test -x "$0"', path], {
    ...identity,
    cwd: '/',
    stdio: 'ignore',
  })
  return status === 0
}

/** Gives a folder and everything in it to a user; does nothing for undefined. */
export function giveTo(identity: ServerIdentity | undefined, path: string): void {
  if (identity === undefined || lstatSync(path).isSymbolicLink()) return
  chownSync(path, identity.uid, identity.gid)
  if (!lstatSync(path).isDirectory()) return
  for (const entry of readdirSync(path)) giveTo(identity, join(path, entry))
}
