/**
 * One authentication conversation of a GSS mechanism, as CredSSP drives it.
 *
 * Spec: RFC 2743 in spirit; NTLM and SPNEGO implement it, Kerberos may later.
 * INVARIANT: `seal` and `unseal` work only once `established` is true.
 */
export interface SecurityContext {
  /** True once the session keys exist and the last token of the client was handed out. */
  readonly established: boolean
  /** The first token. Called once. */
  initiate(): Uint8Array
  /** The answer to one token of the server, or undefined when there is none. */
  respond(token: Uint8Array): Uint8Array | undefined
  /** Signature and ciphertext, in this order. */
  seal(plaintext: Uint8Array): Uint8Array
  /** The plaintext of signature and ciphertext. Throws CredSspError ERR_CREDSSP_MESSAGE_ALTERED. */
  unseal(sealed: Uint8Array): Uint8Array
  /**
   * Takes the server's last token, which comes beside its first sealed message; undefined when there was none.
   * Throws CredSspError when the mechanism needs one and it is missing, or has no use for it.
   */
  finish(token: Uint8Array | undefined): void
  /** Zeroes the keys. */
  destroy(): void
}

/** A mechanism that can also sign without sealing, as SPNEGO needs for its mechListMIC. */
export interface MechanismContext extends SecurityContext {
  /** Signature over the mechanism list; leaves the key stream as it was. */
  getMechListMic(mechList: Uint8Array): Uint8Array
  /** Throws CredSspError ERR_CREDSSP_MESSAGE_ALTERED. */
  verifyMechListMic(mechList: Uint8Array, mic: Uint8Array): void
}
