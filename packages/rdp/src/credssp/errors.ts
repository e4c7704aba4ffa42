/** Every way a CredSSP logon ends without success; each is stable and safe to show. */
export type CredSspErrorCode =
  // What this client found wrong.
  | 'ERR_CREDSSP_MALFORMED_MESSAGE'
  | 'ERR_CREDSSP_UNEXPECTED_MESSAGE'
  | 'ERR_CREDSSP_VERSION'
  | 'ERR_CREDSSP_WEAK_NEGOTIATION'
  | 'ERR_CREDSSP_MECHANISM_REFUSED'
  | 'ERR_CREDSSP_MESSAGE_ALTERED'
  | 'ERR_CREDSSP_PUBLIC_KEY_MISMATCH'
  | 'ERR_CREDSSP_PEER_CLOSED'
  // What the server said (errorCode of TSRequest).
  | 'ERR_CREDSSP_LOGON_FAILED'
  | 'ERR_CREDSSP_ACCOUNT_LOCKED'
  | 'ERR_CREDSSP_ACCOUNT_DISABLED'
  | 'ERR_CREDSSP_ACCOUNT_EXPIRED'
  | 'ERR_CREDSSP_ACCOUNT_RESTRICTED'
  | 'ERR_CREDSSP_ACCOUNT_LOGON_HOURS'
  | 'ERR_CREDSSP_ACCOUNT_WORKSTATION'
  | 'ERR_CREDSSP_ACCOUNT_LOGON_TYPE'
  | 'ERR_CREDSSP_PASSWORD_EXPIRED'
  | 'ERR_CREDSSP_PASSWORD_MUST_CHANGE'
  | 'ERR_CREDSSP_SMARTCARD_REQUIRED'
  | 'ERR_CREDSSP_ACCESS_DENIED'
  | 'ERR_CREDSSP_AUTHENTICATION_FIREWALL'
  | 'ERR_CREDSSP_NTLM_BLOCKED'
  | 'ERR_CREDSSP_NO_LOGON_SERVER'
  | 'ERR_CREDSSP_DOMAIN_TRUST'
  | 'ERR_CREDSSP_TIME_SKEW'
  | 'ERR_CREDSSP_CHANNEL_BINDING'
  | 'ERR_CREDSSP_SERVER_ERROR'

export interface CredSspErrorOptions extends ErrorOptions {
  /** NTSTATUS or SECURITY_STATUS of the server, unsigned 32 bits. */
  readonly ntStatus?: number
}

/** The end of a failed logon. INVARIANT: carries no user name, no password and no message bytes. */
export class CredSspError extends Error {
  override readonly name = 'CredSspError'
  readonly code: CredSspErrorCode
  readonly ntStatus?: number

  constructor(code: CredSspErrorCode, message: string, options: CredSspErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    if (options.ntStatus !== undefined) this.ntStatus = options.ntStatus
  }
}
