import type { Logger } from '../log.ts'
import type { IdentityListener, IdentityMaterial } from './platform-identity.ts'

/** Who wants to know of an identity's changes. */
export class IdentityListeners {
  readonly #logger: Logger
  readonly #onChange: IdentityListener[] = []
  readonly #onRevoked: (() => void)[] = []
  readonly #refused = new Set<IdentityListener>()
  #newest: IdentityMaterial | undefined
  #isRevoked = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  get isRevoked(): boolean {
    return this.#isRevoked
  }

  /** Whoever comes after a change is told of it too. */
  onChange(listener: IdentityListener): void {
    this.#onChange.push(listener)
    if (this.#newest !== undefined) void this.#hand(listener, this.#newest)
  }

  onRevoked(listener: () => void): void {
    if (this.#isRevoked) this.#tell(listener)
    else this.#onRevoked.push(listener)
  }

  /** Hands new material to everybody, one after the other. True where all of them took it. */
  async changed(material: IdentityMaterial): Promise<boolean> {
    this.#newest = material
    this.#refused.clear()
    for (const listener of [...this.#onChange]) await this.#hand(listener, material)
    return this.#refused.size === 0
  }

  /** Hands the newest material again to those who did not take it. */
  async retry(): Promise<void> {
    for (const listener of [...this.#refused]) {
      if (this.#newest !== undefined) await this.#hand(listener, this.#newest)
    }
  }

  async #hand(listener: IdentityListener, material: IdentityMaterial): Promise<void> {
    try {
      await listener(material)
      this.#refused.delete(listener)
    } catch (error) {
      this.#refused.add(listener)
      this.#logger.error(
        { event: 'identity_change_refused', err: error },
        'a part of this service keeps its old identity',
      )
    }
  }

  revoked(): void {
    this.#isRevoked = true
    for (const listener of this.#onRevoked.splice(0)) this.#tell(listener)
  }

  #tell(listener: () => void): void {
    try {
      listener()
    } catch (error) {
      this.#logger.error({ event: 'identity_listener_failed', err: error }, 'a part of this service could not be told')
    }
  }
}
