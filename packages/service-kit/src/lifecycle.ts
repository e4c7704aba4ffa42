import type { Static, TObject } from '@sinclair/typebox'
import {
  type AppEnv,
  ConfigError,
  isProduction,
  type LoadConfigOptions,
  loadConfig,
  secretVariables,
} from './config.ts'
import { hardenProcess, leakingOptions } from './harden-process.ts'
import { IdentityError } from './identity/identity-error.ts'
import { createLogger, type Logger } from './log.ts'

/** sysexits(3) EX_CONFIG: something was found in an unconfigured or misconfigured state. */
export const EXIT_CONFIG = 78

export interface ServiceContext<T extends TObject> {
  readonly config: Readonly<Static<T>>
  readonly logger: Logger
  /** Aborted as soon as the service is told to stop; `buildServer({ draining: signal })` turns `/readyz` to 503 on it. */
  readonly signal: AbortSignal
  /** Registers what to close at the end; the last one registered is closed first. */
  readonly onShutdown: (name: string, close: () => unknown) => void
}

/** Fields of the `service_ready` line, such as `public_url`, `internal_url` and `health_url`. */
export type ReadyFields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>

export interface ServiceDefinition<T extends TObject> {
  name: string
  /** `configSchema` of the service; a `LOG_LEVEL` in it sets the level of the log. */
  schema: T
  /** Starts the service and returns once it serves; what it returns is printed with the `service_ready` line. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a service without listeners returns nothing.
  main: (context: ServiceContext<T>) => Promise<ReadyFields | void>
  /** Rules between variables. */
  check?: LoadConfigOptions<T>['check']
  /** Errors of the start that no restart cures, such as a key of another length: the process exits with 78. */
  isConfigError?: (error: unknown) => boolean
  /** Field names of this service that its log may print. */
  logFields?: readonly string[]
  /** Time for an orderly end, in milliseconds; after it the process exits with 1. */
  shutdownTimeoutMs?: number
}

const DEFAULT_SHUTDOWN_TIMEOUT_MS = 25_000

function readConfig<T extends TObject>(definition: ServiceDefinition<T>): Readonly<Static<T>> {
  const { name, schema, check } = definition
  try {
    const config = loadConfig(schema, process.env, {
      ...(check !== undefined && { check }),
      onWarning: message => process.stderr.write(`${name}: warning: ${message}\n`),
    })
    // Children of this process and crash reports do not need them any more.
    for (const variable of secretVariables(schema)) delete process.env[variable]
    return config
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const { variable, message } of error.issues) process.stderr.write(`${name}: ${variable}: ${message}\n`)
    process.exit(EXIT_CONFIG)
  }
}

function refuseLeakingOptions(name: string, config: { readonly APP_ENV?: AppEnv }): void {
  if (config.APP_ENV === undefined || !isProduction(config.APP_ENV)) return
  const problems = leakingOptions()
  for (const problem of problems) process.stderr.write(`${name}: ${problem}\n`)
  if (problems.length > 0) process.exit(EXIT_CONFIG)
}

/** Runs the closers in reverse order; one that fails is logged and does not keep the others from running. */
async function closeAll(closers: readonly [string, () => unknown][], logger: Logger): Promise<boolean> {
  let isClean = true
  for (const [name, close] of [...closers].reverse()) {
    try {
      await close()
    } catch (error) {
      isClean = false
      logger.error({ event: 'shutdown_step_failed', component: name, err: error }, 'shutdown step failed')
    }
  }
  return isClean
}

/**
 * The frame of a service's `main.ts`: config, log, start, and an orderly end.
 *
 * Exit codes: 0 after SIGTERM or SIGINT with everything closed; 1 when the start, a closer or the deadline failed, or
 * after an unhandled error; 78 when the environment is wrong, or would let secrets out in production (`leakingOptions`), with
 * one line for each variable on stderr, or where what it names is (`isConfigError`, and a platform identity that cannot be used); 128 + signal number when a second signal asks for the end at once.
 *
 * Before anything is read the process is hardened (`hardenProcess`): a core file of it holds no memory. Start scripts and
 * containers set `ulimit -c 0` all the same, so that there is none (docs/operations/configuration.md).
 */
export async function runService<T extends TObject>(definition: ServiceDefinition<T>): Promise<void> {
  const { name, main, logFields = [], shutdownTimeoutMs = DEFAULT_SHUTDOWN_TIMEOUT_MS } = definition
  const coreFilesAreClosed = hardenProcess()
  const config = readConfig(definition)
  refuseLeakingOptions(name, config)
  const level = (config as Record<string, unknown>).LOG_LEVEL
  const logger = createLogger({ service: name, fields: logFields, ...(typeof level === 'string' && { level }) })
  if (!coreFilesAreClosed) {
    logger.warn({ event: 'core_files_not_closed', remedy: 'ulimit -c 0' }, 'a core file of this process holds secrets')
  }
  const controller = new AbortController()
  const closers: [string, () => unknown][] = []
  let isStopping = false

  const stop = async (reason: string, exitCode: number) => {
    if (isStopping) return
    isStopping = true
    logger.info({ event: 'service_stopping', reason }, 'service stopping')
    const deadline = setTimeout(() => {
      logger.fatal({ event: 'shutdown_timed_out', timeout_ms: shutdownTimeoutMs }, 'shutdown timed out')
      process.exit(1)
    }, shutdownTimeoutMs)
    controller.abort(new Error(`service is stopping: ${reason}`))
    const isClean = await closeAll(closers, logger)
    clearTimeout(deadline)
    logger.info({ event: 'service_stopped', reason, outcome: isClean ? 'ok' : 'failed' }, 'service stopped')
    process.exit(isClean ? exitCode : 1)
  }

  const onSignal = (signal: NodeJS.Signals, number: number) => {
    if (isStopping) process.exit(128 + number)
    void stop(signal, 0)
  }
  process.on('SIGTERM', signal => onSignal(signal, 15))
  process.on('SIGINT', signal => onSignal(signal, 2))
  const onUnhandled = (event: string) => (error: unknown) => {
    logger.fatal({ event, err: error }, 'unhandled error')
    // The state of the process is not known any more: closers may hang on it, so it ends now.
    process.exit(1)
  }
  process.on('uncaughtException', onUnhandled('uncaught_exception'))
  process.on('unhandledRejection', onUnhandled('unhandled_rejection'))

  try {
    const onShutdown = (component: string, close: () => unknown) => {
      closers.push([component, close])
    }
    const ready = await main({ config, logger, signal: controller.signal, onShutdown })
    if (!isStopping) logger.info({ event: 'service_ready', ...ready, pid: process.pid }, 'service ready')
  } catch (error) {
    // A signal during the start aborts what main waits for; that end is an orderly one and already under way.
    if (isStopping) return
    logger.fatal({ event: 'service_start_failed', err: error }, 'service did not start')
    if (error instanceof IdentityError) process.stderr.write(`${name}: ${error.message}\n`)
    const isLasting = error instanceof IdentityError ? error.isLasting : definition.isConfigError?.(error) === true
    await stop('start failed', isLasting ? EXIT_CONFIG : 1)
  }
}
