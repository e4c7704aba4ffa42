import { DATA_KEY_BYTES, MAX_DATA_KEY_BYTES } from '../provider.ts'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { ciphertextVersion } from './ciphertext.ts'
import type { VaultCall, VaultClient } from './client.ts'
import { decoded, jsonObject, memberOf, plainString } from './json-bytes.ts'
import { type KeySettings, settingsOf } from './key-settings.ts'
import { outOfForm } from './refusals.ts'
import type { TransitPlace } from './transit-place.ts'

/** Bytes that Transit wrapped, and the version that they say did it. */
export interface Ciphertext {
  readonly wrapped: Buffer
  readonly version: number
}

/** What Transit takes as a context: the base64 that goes into the request. */
export type ContextText = Buffer

/**
 * The requests of the Transit engine that a key provider needs, as Vault's and OpenBao's HTTP API has them
 * (Secrets engines › Transit). Plaintext travels as base64 in Buffers that are zeroed. Every function throws KeyProviderError.
 */
export class TransitApi {
  readonly #client: VaultClient
  readonly #place: TransitPlace

  constructor(client: VaultClient, place: TransitPlace) {
    this.#client = client
    this.#place = place
  }

  /** Read Key. */
  async read(): Promise<KeySettings> {
    return await this.#client.call(
      { operation: 'read', method: 'GET', path: this.#path('keys'), isIdempotent: true },
      body => {
        return settingsOf(body) ?? raise(outOfForm('read', 'data'))
      },
    )
  }

  /** Create Key: derived, AES-256-GCM. A server that has the key already answers as if it had made it. */
  async create(): Promise<void> {
    const body = jsonObject({ type: 'aes256-gcm96', derived: true })
    const path = this.#path('keys')
    await this.#client.call({ operation: 'create', method: 'POST', path, body, isIdempotent: false }, () => undefined)
  }

  /** Rotate Key. */
  async rotate(): Promise<void> {
    const path = `${this.#path('keys')}/rotate`
    const body = jsonObject({})
    await this.#client.call({ operation: 'rotate', method: 'POST', path, body, isIdempotent: false }, () => undefined)
  }

  /** Encrypt Data. */
  async encrypt(dataKey: Buffer, context: ContextText, version: number): Promise<Ciphertext> {
    const plaintext = encodeBase64(dataKey)
    const body = jsonObject({ plaintext, context, key_version: version })
    plaintext.fill(0)
    return await this.#client.call(this.#use('encrypt', body), answer => ciphertextIn(answer, 'encrypt'))
  }

  /** Decrypt Data; the caller zeroes the data key. */
  async decrypt(wrapped: Buffer, context: ContextText): Promise<Buffer> {
    const body = jsonObject({ ciphertext: wrapped, context })
    return await this.#client.call(this.#use('decrypt', body), answer =>
      plaintextIn(answer, 'decrypt', 1, MAX_DATA_KEY_BYTES),
    )
  }

  /** Generate Data Key, 256 bits; the caller zeroes it. A server may use another version than it was asked for. */
  async dataKey(context: ContextText, version: number): Promise<Ciphertext & { readonly dataKey: Buffer }> {
    const body = jsonObject({ bits: DATA_KEY_BYTES * 8, context, key_version: version })
    return await this.#client.call(this.#use('datakey/plaintext', body), answer => {
      const ciphertext = ciphertextIn(answer, 'datakey')
      return { ...ciphertext, dataKey: plaintextIn(answer, 'datakey', DATA_KEY_BYTES, DATA_KEY_BYTES) }
    })
  }

  /** Rewrap Data. */
  async rewrap(wrapped: Buffer, context: ContextText, version: number): Promise<Ciphertext> {
    const body = jsonObject({ ciphertext: wrapped, context, key_version: version })
    return await this.#client.call(this.#use('rewrap', body), answer => ciphertextIn(answer, 'rewrap'))
  }

  #path(what: string): string {
    return `${this.#place.mount}/${what}/${this.#place.key}`
  }

  /** None of them changes anything at the server, so all may be sent again. */
  #use(
    what: 'encrypt' | 'decrypt' | 'datakey/plaintext' | 'rewrap',
    body: Buffer,
  ): VaultCall & { readonly body: Buffer } {
    return { operation: what.split('/')[0] ?? what, method: 'POST', path: this.#path(what), body, isIdempotent: true }
  }
}

function ciphertextIn(answer: Buffer, operation: string): Ciphertext {
  const text = plainString(memberOf(answer, 'data', 'ciphertext'))
  const version = text === undefined ? undefined : ciphertextVersion(text)
  if (text === undefined || version === undefined) throw outOfForm(operation, 'data.ciphertext')
  const said = decoded(memberOf(answer, 'data', 'key_version'))
  if (said !== undefined && said !== version) throw outOfForm(operation, 'data.key_version')
  return { wrapped: Buffer.from(text), version }
}

function plaintextIn(answer: Buffer, operation: string, min: number, max: number): Buffer {
  const text = plainString(memberOf(answer, 'data', 'plaintext'))
  const bytes = text === undefined ? undefined : decodeBase64(text)
  if (bytes === undefined || bytes.length < min || bytes.length > max) {
    bytes?.fill(0)
    throw outOfForm(operation, 'data.plaintext')
  }
  return bytes
}

function raise(error: Error): never {
  throw error
}
