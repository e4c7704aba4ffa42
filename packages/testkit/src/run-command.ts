import { TestkitError } from './errors.ts'
import { type ProcessOptions, startProcess } from './process.ts'

export interface CommandOptions extends Omit<ProcessOptions, 'readyWhen' | 'readyTimeoutMs' | 'command' | 'args'> {
  /** Milliseconds until the command is stopped, default 60 seconds. */
  readonly timeoutMs?: number
}

/**
 * Runs a command to its end and returns what it wrote.
 *
 * Throws TestkitError: ERR_TESTKIT_COMMAND_FAILED (exit code not 0), ERR_TESTKIT_TIMEOUT, ERR_TESTKIT_NOT_INSTALLED.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { timeoutMs = 60_000, ...rest } = options
  const running = await startProcess({ ...rest, command, args })
  const timer = setTimeout(() => void running.stop(), timeoutMs)
  const started = performance.now()
  const { code, signal } = await running.exited
  clearTimeout(timer)
  if (code === 0) return running.log()
  const late = performance.now() - started >= timeoutMs
  throw new TestkitError(
    late ? 'ERR_TESTKIT_TIMEOUT' : 'ERR_TESTKIT_COMMAND_FAILED',
    `${running.name} ended with ${signal ?? code}`,
    { what: running.name, exitCode: code, signal, output: running.log().trimEnd().split('\n').slice(-30).join('\n') },
  )
}
