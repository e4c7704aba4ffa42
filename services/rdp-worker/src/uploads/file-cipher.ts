import { type CipherGCM, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { UploadError } from './errors.ts'

const ALGORITHM = 'aes-256-gcm'
const TAG_BYTES = 16
const NONCE_BYTES = 12

/** Bytes that are sealed together; a read opens whole blocks. With 64 KiB the tags of 10 GiB are 2.5 MiB. */
export const BLOCK_BYTES = 65_536

/**
 * AES-256-GCM ([NIST SP 800-38D]) over one file, block for block, under a key that only this object has. The nonce is the number of the block;
 * the tags stay in memory, so that a file is as long on the disk as it is.
 *
 * INVARIANT: no block is encrypted twice, since `append` goes forward only and a file whose write failed is given up with its key. INVARIANT: what
 * `open` returns was given to `append` for this place of this file: whoever can write to the disk can take bytes away, and change none.
 */
export class FileCipher {
  readonly #key = randomBytes(32)
  /** One after the other; those of blocks that are whole, and after `seal` of the last one too. */
  #tags = Buffer.alloc(TAG_BYTES)
  #blocks = 0
  #block: CipherGCM | undefined
  #filled = 0
  #state: 'open' | 'sealed' | 'destroyed' = 'open'

  /** Bytes that are held for the tags. */
  get tagBytes(): number {
    return this.#tags.length
  }

  /** The next bytes of the file, encrypted; `plaintext` is not kept. */
  append(plaintext: Uint8Array): Buffer {
    if (this.#state !== 'open') throw new TypeError('nothing is appended any more')
    const parts: Buffer[] = []
    for (let at = 0; at < plaintext.length; ) {
      const part = plaintext.subarray(at, at + BLOCK_BYTES - this.#filled)
      this.#block ??= createCipheriv(ALGORITHM, this.#key, nonceOf(this.#blocks))
      parts.push(this.#block.update(part))
      at += part.length
      this.#filled += part.length
      if (this.#filled === BLOCK_BYTES) this.#endBlock()
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
  }

  /** No `append` from now on, and the last block can be opened too. */
  seal(): void {
    if (this.#state !== 'open') return
    this.#state = 'sealed'
    this.#endBlock()
    this.#tags = Buffer.from(this.#tags.subarray(0, this.#blocks * TAG_BYTES))
  }

  /**
   * Opens whole blocks from `firstBlock` on; the last one of the file may be shorter. Throws UploadError ERR_UPLOAD_DAMAGED where they are not what
   * was written there.
   */
  open(firstBlock: number, ciphertext: Uint8Array): Buffer {
    if (this.#state === 'destroyed') throw new TypeError('the key is gone')
    const parts: Buffer[] = []
    for (let at = 0, block = firstBlock; at < ciphertext.length; at += BLOCK_BYTES, block++) {
      parts.push(this.#openBlock(block, ciphertext.subarray(at, at + BLOCK_BYTES)))
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
  }

  /** Zeroes the key: what is on the disk is noise from now on. */
  destroy(): void {
    if (this.#state === 'destroyed') return
    // OpenSSL's copy of the key goes with the block that is ended.
    this.#endBlock()
    this.#state = 'destroyed'
    this.#key.fill(0)
    this.#tags = Buffer.alloc(0)
  }

  #endBlock(): void {
    if (this.#block === undefined) return
    this.#block.final()
    const at = this.#blocks * TAG_BYTES
    if (at === this.#tags.length) this.#tags = Buffer.concat([this.#tags, Buffer.alloc(at)])
    this.#block.getAuthTag().copy(this.#tags, at)
    this.#block = undefined
    this.#filled = 0
    this.#blocks++
  }

  #openBlock(block: number, ciphertext: Uint8Array): Buffer {
    if (block >= this.#blocks) throw new UploadError('ERR_UPLOAD_DAMAGED')
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonceOf(block))
    decipher.setAuthTag(this.#tags.subarray(block * TAG_BYTES, (block + 1) * TAG_BYTES))
    const plaintext = decipher.update(ciphertext)
    try {
      decipher.final()
    } catch (cause) {
      plaintext.fill(0)
      throw new UploadError('ERR_UPLOAD_DAMAGED', { cause })
    }
    return plaintext
  }
}

function nonceOf(block: number): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES)
  nonce.writeUIntBE(block, NONCE_BYTES - 6, 6)
  return nonce
}
