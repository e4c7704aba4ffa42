import { writeFileSync } from 'node:fs'
import inspector from 'node:inspector'

/** core(5): which mappings the kernel writes into a core file; a process inherits it, and each may change its own. */
const CORE_FILTER = '/proc/self/coredump_filter'
const OWNER_ONLY = 0o077

/** Options of Node that write what memory or a connection holds to a place of somebody else's choice. */
const LEAKING_OPTION = /^--(heapsnapshot-|tls-keylog|trace-tls$)/
/** Variables that do the same, or that take the verification of certificates away. */
const LEAKING_VARIABLES = ['NODE_DEBUG', 'NODE_DEBUG_NATIVE', 'NODE_TLS_REJECT_UNAUTHORIZED']

/**
 * Closes the ways in which the memory of a service leaves it, before anything secret is in it.
 *
 * - A core file holds no mapped memory (Linux): what is left of it is the registers and the list of mappings.
 * - SIGUSR1 does not open the inspector; diagnostic reports are not written on signals, faults or exceptions, and
 *   hold no environment.
 * - New files are for the owner alone.
 *
 * INVARIANT: afterwards no signal makes the process write or publish what its memory holds. Whoever may trace the
 * process, or is root, can still read it. Returns false where core files could not be closed.
 */
export function hardenProcess(): boolean {
  // Node opens the inspector on this signal unless the program has a handler of its own.
  process.on('SIGUSR1', () => {})
  const { report } = process
  report.reportOnSignal = false
  report.reportOnFatalError = false
  report.reportOnUncaughtException = false
  report.excludeEnv = true
  process.umask(OWNER_ONLY)
  return closeCoreFiles()
}

function closeCoreFiles(): boolean {
  try {
    writeFileSync(CORE_FILTER, '0')
    return true
  } catch {
    // Another system than Linux, or a container without its /proc.
    return false
  }
}

/**
 * What somebody started this process with that a service in production is not started with, each as one line for its
 * operator. INVARIANT: names only, no values.
 */
export function leakingOptions(
  execArgv: readonly string[] = process.execArgv,
  env: Readonly<Record<string, string | undefined>> = process.env,
): string[] {
  const given = [...execArgv, ...(env.NODE_OPTIONS ?? '').split(/[\s"']+/)].map(nameOf)
  const options = new Set(given.filter(option => LEAKING_OPTION.test(option)))
  if (inspector.url() !== undefined || given.some(isInspector)) options.add('--inspect')
  const variables = LEAKING_VARIABLES.filter(name => (env[name] ?? '') !== '')
  return [...options, ...variables].map(name => `${name}: is not allowed in production`)
}

/** Node takes underscores for dashes. */
function nameOf(option: string): string {
  return (option.split('=', 1)[0] ?? '').replaceAll('_', '-')
}

function isInspector(option: string): boolean {
  return /^--inspect(-brk|-wait)?$/.test(option)
}
