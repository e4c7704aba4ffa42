import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { guardCommand, releaseCommand } from './guard.ts'
import { runCommand } from './run-command.ts'
import { waitFor } from './wait-for.ts'

export interface ThrowawayUser {
  readonly name: string
  readonly password: string
  readonly uid: number
  /** Ends every process of the user and deletes the account; a second call does nothing. */
  remove(): Promise<void>
}

/** A system account with a random password that is deleted at the latest when this process ends. Needs root. */
export async function createThrowawayUser(home: string): Promise<ThrowawayUser> {
  const name = `rap-test-${randomBytes(4).toString('hex')}`
  const password = randomBytes(18).toString('base64url')
  const remaining = `pkill -KILL -U ${name}; sleep 1; userdel --force ${name} 2>/dev/null`
  guardCommand(`user ${name}`, remaining)
  // Another test may hold the lock of the account files at this moment.
  await waitFor(
    () =>
      runCommand('useradd', ['--no-log-init', '--create-home', '--home-dir', home, '--shell', '/bin/sh', name]).then(
        () => true,
      ),
    { what: `account ${name} to be made`, timeoutMs: 20_000, intervalMs: 200 },
  )
  await runCommand('chpasswd', [], { input: `${name}:${password}\n` })
  const { uid } = statSync(home)
  let removed = false
  return {
    name,
    password,
    uid,
    async remove() {
      if (removed) return
      removed = true
      await endProcessesOf(uid)
      await waitFor(() => runCommand('userdel', ['--force', name]).then(() => true), {
        what: `account ${name} to be deleted`,
        timeoutMs: 20_000,
        intervalMs: 200,
      })
      releaseCommand(`user ${name}`)
    },
  }
}

/** Ends every process that runs with this user id: SIGTERM, and SIGKILL for what is left after two seconds. */
async function endProcessesOf(uid: number): Promise<void> {
  const started = performance.now()
  await waitFor(
    () => {
      const pids = processesOf(uid)
      const signal = performance.now() - started < 2_000 ? 'SIGTERM' : 'SIGKILL'
      for (const pid of pids) endProcess(pid, signal)
      return pids.length === 0
    },
    { what: `the processes of user ${uid} to end`, timeoutMs: 10_000, intervalMs: 100 },
  )
}

function processesOf(uid: number): number[] {
  return processIds().filter(pid => {
    try {
      return statSync(`/proc/${pid}`).uid === uid && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return false
    }
  })
}

/** The processes whose arguments hold this text, which must be unique, such as the path of a temporary folder. */
export function processesWithArgument(text: string): number[] {
  return processIds().filter(pid => {
    try {
      return pid !== process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(text)
    } catch {
      return false
    }
  })
}

export function endProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended in the meantime.
  }
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .map(Number)
}
