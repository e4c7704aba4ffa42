import type { Logger } from '@rap/service-kit'

/**
 * That this worker, or the certificate that it came with, is revoked. It stays so for the life of the process: whoever is let
 * in again enrols anew.
 */
export class RevokedState {
  readonly #logger: Logger
  #code: string | undefined
  #act: (() => void) | undefined

  constructor(logger: Logger) {
    this.#logger = logger
  }

  get isRevoked(): boolean {
    return this.#code !== undefined
  }

  /** The control plane has said so; only the first time counts. */
  learn(code: string): void {
    if (this.#code !== undefined) return
    this.#code = code
    this.#logger.error(
      { event: 'worker_revoked', code },
      'this worker is revoked: it closes its sessions and takes no more',
    )
    this.#act?.()
  }

  /** What to do about it; at once where it is known already. */
  onRevoked(act: () => void): void {
    this.#act = act
    if (this.isRevoked) act()
  }

  /** For `/readyz`; undefined where nothing is revoked. */
  status(): string | undefined {
    return this.#code === undefined
      ? undefined
      : `revoked (${this.#code}): nothing is served; a worker that is to come back enrols anew and starts again`
  }
}
