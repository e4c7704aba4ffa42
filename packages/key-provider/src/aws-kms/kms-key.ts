import { createHash } from 'node:crypto'
import {
  DecryptCommand,
  DescribeKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  type KeyMetadata,
  type KMSClient,
} from '@aws-sdk/client-kms'
import { KeyProviderError } from '../errors.ts'
import { assertLength } from '../lengths.ts'
import {
  DATA_KEY_BYTES,
  type GeneratedDataKey,
  type KeyDescription,
  type KeyProvider,
  MAX_CONTEXT_BYTES,
  MAX_DATA_KEY_BYTES,
} from '../provider.ts'
import { errorOf, isAboutState } from './failures.ts'
import { withDeadline } from './kms-client.ts'

/** KMS API reference, Decrypt: largest CiphertextBlob. */
const MAX_WRAPPED_BYTES = 6144

export interface KmsKeyOptions {
  readonly keyId: string
  readonly keyArn: string
  readonly client: KMSClient
  readonly timeoutMs: number
}

type Send<Output> = (abortSignal: AbortSignal) => Promise<Output>

/**
 * A symmetric key in AWS KMS. Wrapped bytes are KMS's own CiphertextBlob.
 *
 * The encryption context is `rap:key`, the key id, and `rap:context`, the SHA-256 of the context in hexadecimal: KMS
 * authenticates both, and writes both into its audit trail. INVARIANT: each call names the key's ARN, so that a blob of
 * another key does not open, whatever else this service may use.
 */
export class AwsKmsKeyProvider implements KeyProvider {
  readonly keyId: string
  readonly #keyArn: string
  readonly #client: KMSClient
  readonly #timeoutMs: number
  #checked: Promise<void> | undefined
  readonly #underWay = new Set<AbortController>()
  #isDestroyed = false

  constructor({ keyId, keyArn, client, timeoutMs }: KmsKeyOptions) {
    this.keyId = keyId
    this.#keyArn = keyArn
    this.#client = client
    this.#timeoutMs = timeoutMs
  }

  async wrap(dataKey: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('data key', dataKey.length, 1, MAX_DATA_KEY_BYTES)
    const input = { ...this.#input(context), Plaintext: dataKey }
    const answer = await this.#use(abortSignal => this.#client.send(new EncryptCommand(input), { abortSignal }))
    return this.#wrapped(answer)
  }

  async unwrap(wrapped: Buffer, context: Buffer): Promise<Buffer> {
    this.#assertAlive()
    assertLength('wrapped key', wrapped.length, 1, MAX_WRAPPED_BYTES)
    const input = { ...this.#input(context), CiphertextBlob: wrapped }
    const answer = await this.#use(abortSignal => this.#client.send(new DecryptCommand(input), { abortSignal }))
    const dataKey = taken(answer.Plaintext)
    if (answer.KeyId === this.#keyArn && dataKey.length >= 1 && dataKey.length <= MAX_DATA_KEY_BYTES) return dataKey
    dataKey.fill(0)
    throw this.#unexpected()
  }

  async generateDataKey(context: Buffer): Promise<GeneratedDataKey> {
    this.#assertAlive()
    const input = { ...this.#input(context), KeySpec: 'AES_256' as const }
    const answer = await this.#use(abortSignal => this.#client.send(new GenerateDataKeyCommand(input), { abortSignal }))
    const dataKey = taken(answer.Plaintext)
    try {
      if (dataKey.length !== DATA_KEY_BYTES) throw this.#unexpected()
      return { dataKey, wrapped: this.#wrapped(answer) }
    } catch (error) {
      dataKey.fill(0)
      throw error
    }
  }

  describe(): KeyDescription {
    return { key_id: this.keyId, provider: 'aws-kms', algorithm: 'SYMMETRIC_DEFAULT', location: this.#keyArn }
  }

  /** Asks KMS for the key's state; says nothing about the permission to use it. */
  async health(): Promise<string> {
    try {
      this.#assertAlive()
      await this.#check()
      return 'ok'
    } catch (error) {
      if (!(error instanceof KeyProviderError)) return 'failed'
      if (error.code === 'ERR_KEY_DESTROYED') return 'destroyed'
      return `${error.message} (${error.facts.reason ?? error.code})`
    }
  }

  destroy(): void {
    this.#isDestroyed = true
    for (const abort of this.#underWay) abort.abort()
    this.#client.destroy()
  }

  #input(context: Buffer) {
    assertLength('context', context.length, 0, MAX_CONTEXT_BYTES)
    const digest = createHash('sha256').update(context).digest('hex')
    return { KeyId: this.#keyArn, EncryptionContext: { 'rap:key': this.keyId, 'rap:context': digest } }
  }

  /** One call of the key, after its kind was looked at once. */
  async #use<Output extends object>(send: Send<Output>): Promise<Output> {
    this.#checked ??= this.#check()
    try {
      await this.#checked
    } catch (error) {
      this.#checked = undefined
      throw error
    }
    try {
      return await this.#send(send)
    } catch (error) {
      // The key's description says why, and until when.
      if (error instanceof StateRefusal) await this.#check()
      throw error instanceof StateRefusal ? error.error : error
    }
  }

  async #send<Output extends object>(send: Send<Output>): Promise<Output> {
    this.#assertAlive()
    const abort = new AbortController()
    this.#underWay.add(abort)
    try {
      return await withDeadline(this.#timeoutMs, abort, send)
    } catch (thrown) {
      this.#assertAlive()
      const error = errorOf(this.keyId, this.#keyArn, thrown)
      throw isAboutState(thrown) ? new StateRefusal(error) : error
    } finally {
      this.#underWay.delete(abort)
    }
  }

  /** Throws where the key is not a symmetric one for encryption, or cannot be used now. */
  async #check(): Promise<void> {
    const command = new DescribeKeyCommand({ KeyId: this.#keyArn })
    const { KeyMetadata } = await this.#send(abortSignal => this.#client.send(command, { abortSignal }))
    if (KeyMetadata?.Arn !== this.#keyArn) throw this.#unexpected()
    const { KeySpec, KeyUsage, KeyState } = KeyMetadata
    if (KeySpec !== 'SYMMETRIC_DEFAULT' || KeyUsage !== 'ENCRYPT_DECRYPT') {
      throw this.#error('ERR_KEY_NOT_FOUND', 'the key is not a symmetric key for encryption', {
        reason: 'key_unfit',
        key_spec: String(KeySpec),
        key_usage: String(KeyUsage),
      })
    }
    if (KeyState !== 'Enabled') throw this.#stateError(KeyMetadata)
  }

  #stateError({ KeyState, DeletionDate: date }: KeyMetadata): KeyProviderError {
    const state: string = KeyState ?? 'unknown'
    const facts = { reason: state, ...(date === undefined ? {} : { deletion_date: date.toISOString() }) }
    if (state === 'PendingDeletion') {
      const when = date === undefined ? '' : ` on ${date.toISOString().slice(0, 10)}`
      return this.#error(
        'ERR_KEY_FORBIDDEN',
        `the key will be deleted${when}: cancel that with aws kms cancel-key-deletion`,
        facts,
      )
    }
    const passes = state === 'Creating' || state === 'Updating' || state === 'Unavailable'
    return this.#error(passes ? 'ERR_KEY_UNAVAILABLE' : 'ERR_KEY_FORBIDDEN', `the key's state is ${state}`, facts)
  }

  #wrapped({ CiphertextBlob, KeyId }: { CiphertextBlob?: Uint8Array | undefined; KeyId?: string | undefined }): Buffer {
    const length = CiphertextBlob?.length ?? 0
    if (KeyId !== this.#keyArn || length < 1 || length > MAX_WRAPPED_BYTES) throw this.#unexpected()
    return Buffer.from(CiphertextBlob ?? [])
  }

  #unexpected(): KeyProviderError {
    return this.#error('ERR_KEY_UNAVAILABLE', 'KMS answers what it should not', { reason: 'unexpected_answer' })
  }

  #error(code: KeyProviderError['code'], message: string, facts: Record<string, string>): KeyProviderError {
    return new KeyProviderError(code, message, { key_id: this.keyId, location: this.#keyArn, ...facts })
  }

  #assertAlive(): void {
    if (!this.#isDestroyed) return
    throw new KeyProviderError('ERR_KEY_DESTROYED', 'key was destroyed', { key_id: this.keyId })
  }
}

/** KMS says that the key's state does not permit it, and not which state that is. */
class StateRefusal extends Error {
  readonly error: KeyProviderError

  constructor(error: KeyProviderError) {
    super(error.message)
    this.error = error
  }
}

/** A copy of its own; what the SDK has decoded, perhaps in memory that it shares, is zeroed. */
function taken(bytes: Uint8Array | undefined): Buffer {
  const copy = Buffer.alloc(bytes?.length ?? 0)
  if (bytes !== undefined) copy.set(bytes)
  bytes?.fill(0)
  return copy
}
