import type { KeyProviderError } from '../errors.ts'
import type { SourceLogger } from '../logger.ts'
import { fingerprintOf } from '../private-file.ts'
import type { LoginTurn } from './call-thread.ts'
import { isPinRefusal } from './failures.ts'
import type { Failure } from './messages.ts'
import { readPinFile } from './pin-file.ts'

/** Where the PIN of a token is, as one source says it. */
export interface PinSource {
  readonly path: string
  readonly allowOpenPermissions: boolean
  readonly logger?: SourceLogger | undefined
}

/**
 * The log-ins to one token: one at a time over all threads, each with the PIN file as it is at that moment.
 *
 * INVARIANT: a PIN that the token has refused is not sent again before its file changes, because tokens lock after a few
 * wrong ones.
 */
export class TokenLogins {
  readonly #tokenLabel: string
  readonly #refusedVersions = new Map<string, string>()
  #last: Promise<void> = Promise.resolve()

  constructor(tokenLabel: string) {
    this.#tokenLabel = tokenLabel
  }

  async takeTurn(source: PinSource): Promise<LoginTurn> {
    const before = this.#last
    let finish = (): void => {}
    this.#last = new Promise(resolve => {
      finish = resolve
    })
    await before
    // The version comes first: a file that changes while it is read counts as the older one, and is tried again.
    const version = await fingerprintOf(source.path)
    const wasRefused = this.#refusedVersions.get(source.path) === version
    return {
      pin: wasRefused ? { at: 'C_Login', trouble: 'pin_refused_before' } : await read(source),
      settled: failure => {
        if (failure !== undefined && isPinRefusal(failure)) this.#refuse(source, version)
        finish()
      },
    }
  }

  #refuse(source: PinSource, version: string): void {
    this.#refusedVersions.set(source.path, version)
    source.logger?.warn(
      { token: this.#tokenLabel, path: source.path },
      'Token refuses the PIN; it is not tried again before the file changes',
    )
  }
}

async function read({ path, allowOpenPermissions }: PinSource): Promise<Uint8Array<ArrayBuffer> | Failure> {
  try {
    return await readPinFile(path, allowOpenPermissions)
  } catch (error) {
    return { at: 'C_Login', trouble: 'pin_file', detail: (error as KeyProviderError).code }
  }
}
