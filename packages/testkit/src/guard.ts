import { type ChildProcess, spawn } from 'node:child_process'

/**
 * What must not outlive this process, however it ends.
 *
 * A small shell holds the read end of a pipe and the newest clean-up command. When the pipe closes, because this
 * process ended in any way (SIGKILL included), the shell runs that command. A clean end has an empty command.
 */
const commands = new Map<string, string>()
const groups = new Set<number>()
let shell: ChildProcess | undefined

const GUARD = 'trap "" INT TERM HUP; while IFS= read -r line; do last=$line; done; eval "$last"'

/** Quotes a word for sh. Throws TypeError on a newline, which would end the command line. */
export function shellQuote(word: string): string {
  if (/[\n\0]/.test(word)) throw new TypeError('a guarded word cannot hold a newline or a null character')
  return `'${word.replaceAll("'", "'\\''")}'`
}

/** Kills this process group when this process ends. */
export function guardGroup(pid: number): void {
  groups.add(pid)
  send()
}

export function releaseGroup(pid: number): void {
  groups.delete(pid)
  send()
}

/** Runs this shell command after all guarded groups are gone, when this process ends without `releaseCommand`. */
export function guardCommand(key: string, command: string): void {
  commands.set(key, command)
  send()
}

export function releaseCommand(key: string): void {
  commands.delete(key)
  send()
}

function send(): void {
  if (shell === undefined) {
    // detached: a Ctrl-C at the terminal must not reach the guard before it has done its work.
    shell = spawn('/bin/sh', ['-c', GUARD], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
    shell.unref()
    const pipe = shell.stdin as (typeof shell.stdin & { unref?: () => void }) | null
    pipe?.unref?.()
    pipe?.on('error', () => {})
    process.once('exit', killGroups)
  }
  shell.stdin?.write(`${cleanUp()}\n`)
}

function cleanUp(): string {
  const steps: string[] = []
  if (groups.size > 0) {
    const each = [...groups].map(pid => `-${pid}`).join(' ')
    steps.push(`kill -s TERM -- ${each} 2>/dev/null`, 'sleep 1', `kill -s KILL -- ${each} 2>/dev/null`)
  }
  // What came last may stand on what came first: a mount inside a folder.
  steps.push(...[...commands.values()].reverse())
  return steps.join('; ')
}

function killGroups(): void {
  for (const pid of groups) {
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // It is gone already.
    }
  }
}
