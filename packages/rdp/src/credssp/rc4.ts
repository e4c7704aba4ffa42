/**
 * The RC4 stream cipher, which NTLM session security is built on and OpenSSL 3 no longer offers.
 *
 * Spec: [MS-NLMP] §3.4.3 and §6 (RC4K, RC4Init, RC4).
 * The cipher is broken in general; in CredSSP every byte of it travels inside TLS.
 */
export class Rc4 {
  readonly #state = new Uint8Array(256)
  #i = 0
  #j = 0

  constructor(key: Uint8Array) {
    if (key.length === 0 || key.length > 256) throw new TypeError('key is not 1 to 256 bytes')
    const state = this.#state
    for (let index = 0; index < 256; index++) state[index] = index
    let j = 0
    for (let index = 0; index < 256; index++) {
      const value = state[index] ?? 0
      j = (j + value + (key[index % key.length] ?? 0)) & 0xff
      state[index] = state[j] ?? 0
      state[j] = value
    }
  }

  /** Encrypts or decrypts `bytes` with the next bytes of the key stream; the result is a copy. */
  update(bytes: Uint8Array): Uint8Array {
    const state = this.#state
    const result = new Uint8Array(bytes.length)
    for (let index = 0; index < bytes.length; index++) {
      this.#i = (this.#i + 1) & 0xff
      const a = state[this.#i] ?? 0
      this.#j = (this.#j + a) & 0xff
      const b = state[this.#j] ?? 0
      state[this.#i] = b
      state[this.#j] = a
      result[index] = (bytes[index] ?? 0) ^ (state[(a + b) & 0xff] ?? 0)
    }
    return result
  }

  /** Zeroes the key stream; the cipher is useless afterwards. */
  destroy(): void {
    this.#state.fill(0)
    this.#i = 0
    this.#j = 0
  }
}

/** One message under its own key: RC4K of [MS-NLMP] §6. */
export function rc4Once(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const cipher = new Rc4(key)
  try {
    return cipher.update(bytes)
  } finally {
    cipher.destroy()
  }
}
