import type { Logger, Sql } from '@rap/service-kit'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'
import { InstanceRecord } from './instances.ts'
import { workOnRewrap } from './jobs.ts'
import { activateConfigured, registerSources, type SourceTrouble } from './register.ts'

/** Well below the time after which a resolver is taken for gone. */
const ROUND_INTERVAL_MS = 10_000

export interface HousekeepingOptions {
  readonly sql: Sql
  readonly keys: KeyWrapPort
  readonly logger: Logger
  /** The source whose key the environment wants to be active. */
  readonly configuredSource: string
  /** Reads the configured sources again. */
  readonly reloadSources: () => Promise<void>
}

/**
 * What a resolver does about master keys beside requests: it says which sources it has, reads their configuration again,
 * lets a newly configured key become active, and goes on with a re-wrap that is under way.
 */
export class Housekeeping {
  readonly #options: HousekeepingOptions
  readonly #instance: InstanceRecord
  readonly #stopping = new AbortController()
  readonly #timer: NodeJS.Timeout
  /** What the log was told last about sources that cannot be used. */
  readonly #troubles = new Map<string, string>()
  #round: Promise<void> = Promise.resolve()
  #rewrap: Promise<void> | undefined

  private constructor(options: HousekeepingOptions) {
    this.#options = options
    this.#instance = new InstanceRecord(options.sql)
    this.#timer = setInterval(() => this.#next(), ROUND_INTERVAL_MS)
    this.#timer.unref()
  }

  /** Resolves when this process is on the list of running resolvers. */
  static async start(options: HousekeepingOptions): Promise<Housekeeping> {
    const housekeeping = new Housekeeping(options)
    await housekeeping.#beat()
    // A re-wrap that the last run left is gone on with; the rest was done by the start, and is done again by the first round.
    housekeeping.kickRewrap()
    return housekeeping
  }

  /** Goes on with a re-wrap now and not at the next round. */
  kickRewrap(): void {
    this.#rewrap ??= this.#guarded('rewrap_interrupted', () =>
      workOnRewrap({ ...this.#options, signal: this.#stopping.signal }),
    ).finally(() => {
      this.#rewrap = undefined
    })
  }

  /** Ends a re-wrap between two batches, and takes this process off the list. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#stopping.abort(new Error('service is stopping'))
    await Promise.allSettled([this.#round, this.#rewrap])
    await this.#guarded('instance_not_removed', () => this.#instance.remove())
  }

  #next(): void {
    this.#round = this.#round.then(() => this.#guarded('key_round_failed', () => this.#keepHouse()))
    this.kickRewrap()
  }

  async #keepHouse(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    const { reloadSources, configuredSource, logger } = this.#options
    // A file that is wrong now does not take away what was read before.
    await this.#guarded('key_providers_not_read', reloadSources)
    await this.#beat()
    const activation = await activateConfigured(configuredSource, this.#options)
    if (activation === 'activated') logger.info({ event: 'master_key_activated', name: configuredSource }, 'key active')
  }

  /** Tells which sources can be used now; the log is told when that changes, and not every round. */
  async #beat(): Promise<void> {
    const { logger } = this.#options
    const warn = (trouble: SourceTrouble, message: string) => {
      if (this.#troubles.get(trouble.name) !== trouble.reason) logger.warn(trouble, message)
      this.#troubles.set(trouble.name, trouble.reason)
    }
    const usable = await registerSources({ ...this.#options, logger: { warn } })
    for (const name of usable) {
      if (this.#troubles.delete(name)) logger.info({ event: 'key_source_usable', name }, 'key source usable again')
    }
    await this.#instance.beat(usable)
  }

  async #guarded(event: string, act: () => Promise<void>): Promise<void> {
    try {
      await act()
    } catch (err) {
      // The next round tries again; requests do not depend on it.
      if (!this.#stopping.signal.aborted) this.#options.logger.warn({ event, err }, 'housekeeping failed')
    }
  }
}
