import { open } from 'node:fs/promises'
import { type Logger, PacedAttempts } from '@rap/service-kit'
import { type KeyLookup, type KeySetLookup, keyLookupOfPem, VerificationKeyError } from '@rap/token-claims'

/** Largest file that is read, in bytes. */
const MAX_FILE_BYTES = 16_384
/** Time between two looks at the file, in milliseconds. */
const LOOK_MS = 5000
/** Least time between two looks because of keys that are not in it, in milliseconds: anybody can make one up. */
const COOLDOWN_MS = 200

/** Where the text with the public keys comes from. */
export type PemSource = { readonly file: string } | { readonly text: string }

/** The key that signs and the one that will, as the control plane says. */
export interface SigningKids {
  readonly active_kid: string | null
  readonly next_kid: string | null
}

export interface PemKeysOptions {
  readonly source: PemSource
  readonly logger: Logger
  /** Told of a token whose key is not here: the control plane may sign with another by now. */
  readonly onUnknownKey: () => void
  /** Default LOOK_MS. */
  readonly lookMs?: number | undefined
}

/**
 * Verification keys of a worker without a key set: PEM, in a file that is read again when its content changes.
 *
 * The content is compared: file system notices are lost when a directory is swapped by symbolic link, as Kubernetes does. Content that
 * cannot be used leaves the keys as they are, and the log says so.
 */
export class PemKeys {
  readonly #options: PemKeysOptions
  readonly #looks = new PacedAttempts({ attempt: () => this.#look(), pauseMs: COOLDOWN_MS })
  #text: string
  #keys: KeySetLookup
  #failure: string | undefined
  #signing: SigningKids | undefined
  #timer: NodeJS.Timeout | undefined

  private constructor(options: PemKeysOptions, first: { readonly text: string; readonly keys: KeySetLookup }) {
    this.#options = options
    this.#text = first.text
    this.#keys = first.keys
    if ('file' in options.source) {
      this.#timer = setInterval(() => void this.#looks.any(), options.lookMs ?? LOOK_MS)
      this.#timer.unref()
    }
  }

  /** Reads the keys. Throws VerificationKeyError, or what the file system says, where a worker could verify nothing. */
  static async open(options: PemKeysOptions): Promise<PemKeys> {
    const text = await readText(options.source)
    return new PemKeys(options, { text, keys: await keyLookupOfPem(text) })
  }

  /** For `verifyToken`. Before a key is said to be unknown, the file is looked at once more. */
  get lookup(): KeyLookup {
    return async kid => {
      const known = await this.#keys(kid)
      if (known !== undefined) return known
      if ('file' in this.#options.source) await this.#looks.fresh()
      const found = await this.#keys(kid)
      if (found === undefined) this.#options.onUnknownKey()
      return found
    }
  }

  /** Takes the control plane's word which keys sign; a missing one is told once. */
  learn(signing: SigningKids): void {
    const { active_kid, next_kid } = signing
    const last = this.#signing
    this.#signing = signing
    if (active_kid !== last?.active_kid) this.#warn(active_kid, 'verification_key_missing', 'the key that signs')
    if (next_kid !== last?.next_kid)
      this.#warn(next_kid, 'next_verification_key_missing', 'the key that will sign next')
  }

  /** False where the control plane signs with a key that is not here. */
  get verifiesNewTokens(): boolean {
    return this.#has(this.#signing?.active_kid)
  }

  status(): string {
    if (this.verifiesNewTokens) return 'ok'
    return `the control plane signs with ${this.#signing?.active_kid}, which is not configured here`
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #has(kid: string | null | undefined): boolean {
    return kid === null || kid === undefined || this.#keys.kids.includes(kid)
  }

  #warn(kid: string | null, event: string, what: string): void {
    if (!this.#has(kid)) this.#options.logger.warn({ event, kid }, `${what} is not configured here`)
  }

  async #look(): Promise<void> {
    const { source, logger } = this.#options
    try {
      const text = await readText(source)
      if (text === this.#text) {
        this.#failure = undefined
        return
      }
      this.#keys = await keyLookupOfPem(text)
      this.#text = text
      this.#failure = undefined
      logger.info({ event: 'verification_keys_read', count: this.#keys.kids.length }, 'verification keys read again')
    } catch (error) {
      const failure = (error as { code?: string }).code ?? 'other'
      if (failure !== this.#failure)
        logger.error({ event: 'verification_keys_not_read', err: error }, 'verification keys stay as they were')
      this.#failure = failure
    }
  }
}

async function readText(source: PemSource): Promise<string> {
  if ('text' in source) return source.text
  const handle = await open(source.file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(MAX_FILE_BYTES + 1), 0)
    if (bytesRead > MAX_FILE_BYTES)
      throw new VerificationKeyError('ERR_VERIFICATION_KEY_INVALID', 'file with public keys is too large')
    return buffer.toString('latin1', 0, bytesRead)
  } finally {
    await handle.close()
  }
}
