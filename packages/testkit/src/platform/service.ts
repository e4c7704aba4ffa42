import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ProcessExit, type RunningProcess, startProcess } from '../process.ts'
import { SERVICES } from './state.ts'

export type ServiceName = 'control-plane' | 'secret-resolver' | 'gateway' | 'rdp-worker'

export type ServiceEnv = Readonly<Record<string, string | undefined>>

export interface ServiceOptions {
  readonly service: ServiceName
  /** Names the log file and the process in errors, default the service. */
  readonly name?: string
  readonly env: ServiceEnv
  readonly logDir: string
}

/** One real process of a service. */
export interface Service {
  readonly name: string
  readonly logFile: string
  readonly pid: number
  isRunning(): boolean
  /** Everything it wrote, over restarts too. */
  log(): string
  /** Ends it and starts it again with changed variables; those of an earlier restart stay changed. */
  restart(changes?: ServiceEnv): Promise<void>
  /** Ends it at once, as a crash does. */
  crash(): Promise<ProcessExit>
  stop(): Promise<ProcessExit>
}

/** Starts a service and waits for its `service_ready`. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const name = options.name ?? options.service
  const logFile = join(options.logDir, `${name}.log`)
  let env = options.env
  const start = () =>
    startProcess({
      name,
      command: process.execPath,
      args: [join(SERVICES, options.service, 'src/main.ts')],
      env,
      logFile,
      readyWhen: /service_ready/,
      readyTimeoutMs: 60_000,
      stopTimeoutMs: 20_000,
    })
  let running: RunningProcess = await start()
  return {
    name,
    logFile,
    get pid() {
      return running.pid
    },
    isRunning: () => running.isRunning(),
    log: () => readFileSync(logFile, 'utf8'),
    async restart(changes = {}) {
      await running.stop()
      env = { ...env, ...changes }
      running = await start()
    },
    async crash() {
      running.kill('SIGKILL')
      return running.exited
    },
    stop: () => running.stop(),
  }
}
