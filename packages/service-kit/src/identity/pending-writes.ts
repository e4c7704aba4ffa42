import type { Logger } from '../log.ts'

/** Writes of what is in force already. One that the disk refuses is tried again later, and memory serves meanwhile. */
export class PendingWrites {
  readonly #logger: Logger
  readonly #writes = new Map<string, () => Promise<void>>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** What is not on the disk yet, by its names. */
  get names(): readonly string[] {
    return [...this.#writes.keys()]
  }

  /** Writes now, in place of an earlier write of this name. Never rejects. */
  async write(name: string, write: () => Promise<void>): Promise<void> {
    this.#writes.set(name, write)
    try {
      await write()
      this.#writes.delete(name)
    } catch (error) {
      this.#logger.error({ event: 'identity_not_stored', name, err: error }, 'in use, but not on the disk')
    }
  }

  async retry(): Promise<void> {
    for (const [name, write] of [...this.#writes]) await this.write(name, write)
  }
}
