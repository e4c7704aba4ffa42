import { type Cipher, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const ALGORITHM = 'aes-256-ctr'
const BLOCK_BYTES = 16
const COUNTERS = 1n << 128n

/**
 * AES-256-CTR ([NIST SP 800-38A] §6.5) over one file under a key that only this object has.
 *
 * INVARIANT: no position is encrypted twice, since `append` goes forward only and a file whose write failed is given up with its key; so nobody who
 * reads the disk sees two texts under one keystream. It keeps the content from readers of the disk; it does not tell who changed it there.
 */
export class FileCipher {
  readonly #key = randomBytes(32)
  readonly #start = randomBytes(BLOCK_BYTES)
  #appender: Cipher | undefined = createCipheriv(ALGORITHM, this.#key, this.#start)
  #destroyed = false

  /** The next bytes of the file, encrypted; `plaintext` is not kept. */
  append(plaintext: Uint8Array): Buffer {
    if (this.#appender === undefined) throw new TypeError('nothing is appended any more')
    return this.#appender.update(plaintext)
  }

  /** No `append` from now on; OpenSSL's copy of the key goes with the appender. */
  seal(): void {
    this.#appender?.final()
    this.#appender = undefined
  }

  /** Opens what stands at `offset` of the file. */
  decrypt(offset: number, ciphertext: Uint8Array): Buffer {
    if (this.#destroyed) throw new TypeError('the key is gone')
    const skipped = offset % BLOCK_BYTES
    const decipher = createDecipheriv(ALGORITHM, this.#key, this.#counterAt((offset - skipped) / BLOCK_BYTES))
    if (skipped > 0) decipher.update(Buffer.alloc(skipped))
    return decipher.update(ciphertext)
  }

  /** Zeroes the key: what is on the disk is noise from now on. */
  destroy(): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.seal()
    this.#key.fill(0)
  }

  #counterAt(block: number): Buffer {
    const counter = (BigInt(`0x${this.#start.toString('hex')}`) + BigInt(block)) % COUNTERS
    return Buffer.from(counter.toString(16).padStart(2 * BLOCK_BYTES, '0'), 'hex')
  }
}
