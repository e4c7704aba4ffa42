import { randomBytes } from 'node:crypto'
import { KeyProviderError } from '../errors.ts'
import { assertLength } from '../lengths.ts'
import { type KeyDescription, type KeyProvider, MAX_CONTEXT_BYTES, MAX_DATA_KEY_BYTES } from '../provider.ts'
import { errorOf } from './failures.ts'
import type { KeyAddress, Request } from './messages.ts'
import type { ModuleThreads } from './module-threads.ts'
import type { PinSource } from './token-logins.ts'

const FORMAT_VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const OVERHEAD_BYTES = 1 + NONCE_BYTES + TAG_BYTES

export interface Pkcs11KeyOptions {
  readonly keyId: string
  readonly address: KeyAddress
  readonly pin: PinSource
  readonly threads: ModuleThreads
  readonly timeoutMs: number
}

/**
 * A key that is an object in a PKCS#11 token and never leaves it: CKM_AES_GCM with a random 96-bit nonce of this process.
 *
 * Layout of wrapped bytes and associated data: as `LocalKeyProvider` has them. INVARIANT: bytes of the caller are not
 * moved to another thread, copies are; the copy of a data key is zeroed there.
 */
export class Pkcs11KeyProvider implements KeyProvider {
  readonly keyId: string
  readonly #address: KeyAddress
  readonly #pin: PinSource
  readonly #threads: ModuleThreads
  readonly #timeoutMs: number
  #isDestroyed = false

  constructor({ keyId, address, pin, threads, timeoutMs }: Pkcs11KeyOptions) {
    this.keyId = keyId
    this.#address = address
    this.#pin = pin
    this.#threads = threads
    threads.addUser(address.tokenLabel)
    this.#timeoutMs = timeoutMs
  }

  async wrap(dataKey: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('data key', dataKey.length, 1, MAX_DATA_KEY_BYTES)
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    const nonce = randomBytes(NONCE_BYTES)
    const sealed = { nonce: Uint8Array.from(nonce), aad: this.#aad(context), input: Uint8Array.from(dataKey) }
    const output = await this.#askForBytes({ kind: 'wrap', ...this.#address, ...sealed })
    return Buffer.concat([Buffer.of(FORMAT_VERSION), nonce, output])
  }

  async unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('wrapped key', wrapped.length, OVERHEAD_BYTES + 1, OVERHEAD_BYTES + MAX_DATA_KEY_BYTES)
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    if (wrapped[0] !== FORMAT_VERSION) throw this.#error({ at: 'C_Decrypt', trouble: 'unwrap_failed' })
    const nonce = Uint8Array.from(wrapped.subarray(1, 1 + NONCE_BYTES))
    const input = Uint8Array.from(wrapped.subarray(1 + NONCE_BYTES))
    const length = input.length - TAG_BYTES
    const output = await this.#askForBytes({ kind: 'unwrap', ...this.#address, nonce, aad: this.#aad(context), input })
    // A view of what came: the room behind it was the tag's.
    return Buffer.from(output.buffer, output.byteOffset, length)
  }

  /** Makes the key in the token. Throws ERR_KEY_EXISTS. */
  async create(): Promise<void> {
    await this.#ask({ kind: 'create', ...this.#address })
  }

  describe(): KeyDescription {
    const { tokenLabel, keyLabel } = this.#address
    return {
      key_id: this.keyId,
      provider: 'pkcs11',
      algorithm: 'AES-256-GCM',
      location: `token ${tokenLabel}, key ${keyLabel}`,
    }
  }

  /** Seals and opens a random value in the token. */
  async health(): Promise<string> {
    try {
      await this.#ask({ kind: 'check', ...this.#address })
      return 'ok'
    } catch (error) {
      if (!(error instanceof KeyProviderError)) return 'failed'
      if (error.code === 'ERR_KEY_DESTROYED') return 'destroyed'
      const { reason } = error.facts
      return reason === undefined ? error.message : `${error.message} (${reason})`
    }
  }

  destroy(): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    this.#threads.removeUser(this.#address.tokenLabel)
  }

  async #askForBytes(request: Request): Promise<Uint8Array> {
    const output = await this.#ask(request)
    if (output !== undefined) return output
    throw this.#error({ at: request.kind, trouble: 'unexpected' })
  }

  async #ask(request: Request): Promise<Uint8Array | undefined> {
    this.#assertAlive()
    const answer = await this.#threads.ask(request, this.#pin, this.#timeoutMs)
    if (answer !== undefined && 'failure' in answer) throw this.#error(answer.failure)
    if (answer !== undefined) return answer.output
    this.#assertAlive()
    throw new KeyProviderError('ERR_KEY_UNAVAILABLE', 'the token did not answer in time', {
      key_id: this.keyId,
      token: this.#address.tokenLabel,
      reason: 'timeout',
      timeout_ms: this.#timeoutMs,
    })
  }

  #aad(context: Buffer): Uint8Array {
    const keyId = Buffer.from(this.keyId, 'ascii')
    return Uint8Array.from(Buffer.concat([Buffer.of(FORMAT_VERSION, keyId.length), keyId, context]))
  }

  #error(failure: Parameters<typeof errorOf>[2]): KeyProviderError {
    return errorOf(this.keyId, this.#address, failure)
  }

  #assertAlive(): void {
    if (!this.#isDestroyed) return
    throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { key_id: this.keyId })
  }
}
