import { timingSafeEqual } from 'node:crypto'
import { CredSspError } from './errors.ts'
import { hmacMd5, type NtlmDirection, sealingKey, signingKey } from './ntlm-crypto.ts'
import { Rc4 } from './rc4.ts'

const SIGNATURE_BYTES = 16

/**
 * Signing and sealing in one direction: the handle of [MS-NLMP] §3.4, with its own keys, key stream and sequence.
 *
 * Spec: [MS-NLMP] §3.4.3, §3.4.4.2 (extended session security with key exchange), §2.2.2.9.2.
 * INVARIANT: sequence numbers start at 0 and rise by one; a replayed or dropped message does not verify.
 */
export class NtlmHandle {
  readonly #signingKey: Uint8Array
  readonly #sealingKey: Uint8Array
  #cipher: Rc4
  #sequence = 0

  constructor(exportedSessionKey: Uint8Array, direction: NtlmDirection) {
    this.#signingKey = signingKey(exportedSessionKey, direction)
    this.#sealingKey = sealingKey(exportedSessionKey, direction)
    this.#cipher = new Rc4(this.#sealingKey)
  }

  /** GSS_WrapEx: NTLMSSP_MESSAGE_SIGNATURE, then the ciphertext. */
  seal(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#cipher.update(plaintext)
    const signature = this.#sign(plaintext)
    this.#sequence++
    return Buffer.concat([signature, ciphertext])
  }

  /** GSS_UnwrapEx. Throws CredSspError ERR_CREDSSP_MESSAGE_ALTERED; the plaintext is zeroed then. */
  unseal(sealed: Uint8Array): Uint8Array {
    if (sealed.length < SIGNATURE_BYTES) throw altered()
    const plaintext = this.#cipher.update(sealed.subarray(SIGNATURE_BYTES))
    const expected = this.#sign(plaintext)
    if (!timingSafeEqual(expected, sealed.subarray(0, SIGNATURE_BYTES))) {
      plaintext.fill(0)
      throw altered()
    }
    this.#sequence++
    return plaintext
  }

  /**
   * GSS_GetMICEx over the mechanism list of SPNEGO, the first message of a direction.
   *
   * Spec: [MS-SPNG] §3.3.5.1: the key stream starts anew after it; the sequence number has moved on.
   */
  getMechListMic(mechList: Uint8Array): Uint8Array {
    const signature = this.#sign(mechList)
    this.#sequence++
    this.#cipher.destroy()
    this.#cipher = new Rc4(this.#sealingKey)
    return signature
  }

  verifyMechListMic(mechList: Uint8Array, mic: Uint8Array): void {
    const expected = this.getMechListMic(mechList)
    if (mic.length !== SIGNATURE_BYTES || !timingSafeEqual(expected, mic)) throw altered()
  }

  destroy(): void {
    this.#signingKey.fill(0)
    this.#sealingKey.fill(0)
    this.#cipher.destroy()
  }

  #sign(message: Uint8Array): Uint8Array {
    const signature = new Uint8Array(SIGNATURE_BYTES)
    const view = new DataView(signature.buffer)
    view.setUint32(0, 1, true) // Version
    view.setUint32(12, this.#sequence, true)
    const digest = hmacMd5(this.#signingKey, signature.subarray(12), message)
    signature.set(this.#cipher.update(digest.subarray(0, 8)), 4)
    return signature
  }
}

function altered(): CredSspError {
  return new CredSspError('ERR_CREDSSP_MESSAGE_ALTERED', 'message of the server does not verify')
}
