import type { Logger } from '../log.ts'
import type { IdentityListener, IdentityMaterial } from './platform-identity.ts'

/** Who wants to know of an identity's changes. */
export class IdentityListeners {
  readonly #logger: Logger
  readonly #onChange: IdentityListener[] = []
  readonly #onRevoked: (() => void)[] = []
  #isRevoked = false

  constructor(logger: Logger) {
    this.#logger = logger
  }

  get isRevoked(): boolean {
    return this.#isRevoked
  }

  onChange(listener: IdentityListener): void {
    this.#onChange.push(listener)
  }

  onRevoked(listener: () => void): void {
    if (this.#isRevoked) this.#tell(listener)
    else this.#onRevoked.push(listener)
  }

  /** Hands new material to everybody. True where all of them took it. */
  async changed(material: IdentityMaterial): Promise<boolean> {
    let isTaken = true
    for (const listener of this.#onChange) {
      try {
        await listener(material)
      } catch (error) {
        isTaken = false
        this.#logger.error(
          { event: 'identity_change_refused', err: error },
          'a part of this service keeps its old identity',
        )
      }
    }
    return isTaken
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
