import { randomBytes } from 'node:crypto'
import { mayReconnect, TAG_IS_WRONG } from './failures.ts'
import { call, type Handle, type Library, Pkcs11Failure, p11, trouble } from './library.ts'

export const NONCE_BYTES = 12
export const TAG_BYTES = 16

/** What one AES-GCM call goes over (CK_GCM_PARAMS, PKCS#11 v2.40 §2.12.3). */
export interface Sealed {
  readonly nonce: Uint8Array
  readonly aad: Uint8Array
  readonly input: Uint8Array
}

const mechanismOf = ({ nonce, aad }: Sealed) => ({
  mechanism: p11.CKM_AES_GCM,
  parameter: {
    type: p11.CK_PARAMS_GCM,
    iv: bytes(nonce),
    ivBits: NONCE_BYTES * 8,
    aad: bytes(aad),
    tagBits: TAG_BYTES * 8,
  },
})

/** Ciphertext and tag. */
export function encrypt(library: Library, session: Handle, key: Handle, sealed: Sealed): Uint8Array<ArrayBuffer> {
  const output = new Uint8Array(sealed.input.length + TAG_BYTES)
  call('C_EncryptInit', () => library.C_EncryptInit(session, mechanismOf(sealed), key))
  const { length } = call('C_Encrypt', () => library.C_Encrypt(session, bytes(sealed.input), bytes(output)))
  if (length !== output.length) throw new Pkcs11Failure({ at: 'C_Encrypt', ckr: 0x71 })
  return output
}

/** The plaintext. Throws `unwrap_failed` where the key works and these bytes do not open. */
export function decrypt(library: Library, session: Handle, key: Handle, sealed: Sealed): Uint8Array<ArrayBuffer> {
  // Libraries ask for room for the whole input before they know what the tag takes away.
  const output = new Uint8Array(sealed.input.length)
  call('C_DecryptInit', () => library.C_DecryptInit(session, mechanismOf(sealed), key))
  try {
    const { length } = call('C_Decrypt', () => library.C_Decrypt(session, bytes(sealed.input), bytes(output)))
    if (length !== output.length - TAG_BYTES) throw trouble('C_Decrypt', 'unwrap_failed')
    return output
  } catch (error) {
    output.fill(0)
    const ckr = error instanceof Pkcs11Failure ? error.failure.ckr : undefined
    if (ckr === undefined) throw error
    // Many tokens say CKR_GENERAL_ERROR for a wrong tag: one that still opens what it seals itself meant the tag.
    if (TAG_IS_WRONG.has(ckr) || (mayReconnect(ckr) && works(library, session, key))) {
      throw trouble('C_Decrypt', 'unwrap_failed')
    }
    throw error
  }
}

/** True where the key opens what it has just sealed. */
export function works(library: Library, session: Handle, key: Handle): boolean {
  try {
    prove(library, session, key)
    return true
  } catch {
    return false
  }
}

/** Seals 32 random bytes and opens them again. Throws what the token says. */
export function prove(library: Library, session: Handle, key: Handle): void {
  const input = randomBytes(32)
  const nonce = randomBytes(NONCE_BYTES)
  const aad = Buffer.from('rap self-test')
  const ciphertext = encrypt(library, session, key, { nonce, aad, input })
  const output = new Uint8Array(ciphertext.length)
  call('C_DecryptInit', () => library.C_DecryptInit(session, mechanismOf({ nonce, aad, input }), key))
  const opened = call('C_Decrypt', () => library.C_Decrypt(session, bytes(ciphertext), bytes(output)))
  if (!input.equals(opened)) throw new Pkcs11Failure({ at: 'C_Decrypt', ckr: 0x06 })
}

/** The same memory as a Buffer, which is all that the native module takes. */
function bytes(view: Uint8Array): Buffer {
  return Buffer.from(view.buffer, view.byteOffset, view.byteLength)
}
