import { KeyProviderError, type KeyProviderErrorCode } from '../errors.ts'
import type { Failure, KeyAddress, Trouble } from './messages.ts'

interface Known {
  readonly name: string
  readonly code: KeyProviderErrorCode
  readonly message: string
  /** A new session, found and logged in again, may help. */
  readonly reconnect?: true
}

const gone = (name: string): Known => ({
  name,
  code: 'ERR_KEY_UNAVAILABLE',
  message: 'the token does not answer',
  reconnect: true,
})
const refused = (name: string, message: string): Known => ({ name, code: 'ERR_KEY_FORBIDDEN', message })
const unfit = (name: string, message: string): Known => ({ name, code: 'ERR_KEY_CONFIGURATION', message })

/** Return values of PKCS#11 v2.40 §5.1 (and 0x42 of v3.0) that mean something here; any other is ERR_KEY_UNAVAILABLE. */
const RETURN_VALUES: ReadonlyMap<number, Known> = new Map([
  [0x05, gone('CKR_GENERAL_ERROR')],
  [0x06, gone('CKR_FUNCTION_FAILED')],
  [0x30, gone('CKR_DEVICE_ERROR')],
  [0x32, gone('CKR_DEVICE_REMOVED')],
  [0x60, gone('CKR_KEY_HANDLE_INVALID')],
  [0x82, gone('CKR_OBJECT_HANDLE_INVALID')],
  [0x90, gone('CKR_OPERATION_ACTIVE')],
  [0x91, gone('CKR_OPERATION_NOT_INITIALIZED')],
  [0xb0, gone('CKR_SESSION_CLOSED')],
  [0xb3, gone('CKR_SESSION_HANDLE_INVALID')],
  [0xe0, gone('CKR_TOKEN_NOT_PRESENT')],
  [0xe1, gone('CKR_TOKEN_NOT_RECOGNIZED')],
  [0x101, gone('CKR_USER_NOT_LOGGED_IN')],
  [0x190, gone('CKR_CRYPTOKI_NOT_INITIALIZED')],
  [0x03, gone('CKR_SLOT_ID_INVALID')],
  [0x31, { name: 'CKR_DEVICE_MEMORY', code: 'ERR_KEY_UNAVAILABLE', message: 'the token has no room' }],
  [0xb1, { name: 'CKR_SESSION_COUNT', code: 'ERR_KEY_UNAVAILABLE', message: 'the token gives no more sessions' }],
  [0x02, { name: 'CKR_HOST_MEMORY', code: 'ERR_KEY_UNAVAILABLE', message: 'the library has no memory' }],
  [0xa0, refused('CKR_PIN_INCORRECT', 'the token refuses the PIN')],
  [0xa1, refused('CKR_PIN_INVALID', 'the token refuses the PIN')],
  [0xa2, refused('CKR_PIN_LEN_RANGE', 'the token refuses the PIN')],
  [0xa3, refused('CKR_PIN_EXPIRED', 'the PIN has expired: set a new one')],
  [0xa4, refused('CKR_PIN_LOCKED', 'the PIN is locked: the security officer has to reset it')],
  [0x102, refused('CKR_USER_PIN_NOT_INITIALIZED', 'the token has no user PIN: the security officer has to set one')],
  [0x104, refused('CKR_USER_ANOTHER_ALREADY_LOGGED_IN', 'another user of this process is logged in to the token')],
  [0x68, refused('CKR_KEY_FUNCTION_NOT_PERMITTED', 'the key does not permit this')],
  [0x200, refused('CKR_FUNCTION_REJECTED', 'the token rejects this')],
  [0xe2, refused('CKR_TOKEN_WRITE_PROTECTED', 'the token is write-protected')],
  [0x54, unfit('CKR_FUNCTION_NOT_SUPPORTED', 'the library cannot do this')],
  [0x70, unfit('CKR_MECHANISM_INVALID', 'the token has no CKM_AES_GCM')],
  [0x71, unfit('CKR_MECHANISM_PARAM_INVALID', 'the token takes no nonce from outside for CKM_AES_GCM')],
  [0x08, unfit('CKR_NEED_TO_CREATE_THREADS', 'the library cannot be used by several threads')],
  [0x0a, unfit('CKR_CANT_LOCK', 'the library cannot be used by several threads')],
])

/** How a token says that a tag is wrong, where it says it in so many words. */
export const TAG_IS_WRONG: ReadonlySet<number> = new Set([
  0x40, // CKR_ENCRYPTED_DATA_INVALID
  0x41, // CKR_ENCRYPTED_DATA_LEN_RANGE
  0x42, // CKR_AEAD_DECRYPT_FAILED
  0x20, // CKR_DATA_INVALID
])

/** Answers of C_Login that count as a try, or that another try with the same PIN cannot change. */
const PIN_REFUSALS = new Set([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0x102])

const TROUBLES: Readonly<Record<Trouble, readonly [KeyProviderErrorCode, string]>> = {
  load_failed: ['ERR_KEY_CONFIGURATION', 'the PKCS#11 library cannot be loaded'],
  // A network HSM that is out of reach looks the same as one that never was there.
  token_missing: ['ERR_KEY_UNAVAILABLE', 'no token has this label'],
  token_ambiguous: ['ERR_KEY_CONFIGURATION', 'several tokens have this label: give each its own'],
  key_missing: ['ERR_KEY_NOT_FOUND', 'the token has no AES key with this label'],
  key_ambiguous: ['ERR_KEY_NOT_FOUND', 'the token has several AES keys with this label: rename all but one'],
  key_exists: ['ERR_KEY_EXISTS', 'the token has an AES key with this label'],
  key_unfit: ['ERR_KEY_NOT_FOUND', 'the key is not fit to wrap: make a new one under another label'],
  pin_final_try: [
    'ERR_KEY_FORBIDDEN',
    'one more wrong PIN would lock the token: correct the PIN file, then log in once by hand',
  ],
  pin_locked: ['ERR_KEY_FORBIDDEN', 'the PIN is locked: the security officer has to reset it'],
  pin_refused_before: ['ERR_KEY_FORBIDDEN', 'the token refused this PIN before: correct the PIN file'],
  pin_file: ['ERR_KEY_FILE_UNREADABLE', 'the PIN file cannot be used'],
  unwrap_failed: ['ERR_KEY_UNWRAP_FAILED', 'wrapped key does not open'],
  busy: ['ERR_KEY_UNAVAILABLE', 'too many calls wait for the token'],
  thread_ended: ['ERR_KEY_UNAVAILABLE', 'the thread of the PKCS#11 library ended'],
  unexpected: ['ERR_KEY_UNAVAILABLE', 'the PKCS#11 library could not be called'],
}

export function mayReconnect(ckr: number): boolean {
  return RETURN_VALUES.get(ckr)?.reconnect === true
}

/** True where a token is away even for a new session. */
export function isLost({ ckr, trouble }: Failure): boolean {
  return trouble === 'token_missing' || (ckr !== undefined && mayReconnect(ckr))
}

/** True where the same PIN must not be tried again: tokens lock after a few wrong ones. */
export function isPinRefusal(failure: Failure): boolean {
  return failure.ckr !== undefined && PIN_REFUSALS.has(failure.ckr)
}

/** The error of a failure; facts are labels, the function and the name of the return value. */
export function errorOf(keyId: string, address: KeyAddress, failure: Failure): KeyProviderError {
  const place = { key_id: keyId, token: address.tokenLabel, key: address.keyLabel }
  if (failure.trouble === 'unwrap_failed') {
    return new KeyProviderError('ERR_KEY_UNWRAP_FAILED', TROUBLES.unwrap_failed[1], { key_id: keyId })
  }
  if (failure.trouble !== undefined) {
    const [code, message] = TROUBLES[failure.trouble]
    const detail = failure.detail === undefined ? {} : { detail: failure.detail }
    return new KeyProviderError(code, message, { ...place, reason: failure.trouble, ...detail })
  }
  const known = RETURN_VALUES.get(failure.ckr ?? -1)
  const reason = known?.name ?? `CKR 0x${(failure.ckr ?? 0).toString(16)}`
  const { code, message } = known ?? { code: 'ERR_KEY_UNAVAILABLE' as const, message: 'the token failed' }
  return new KeyProviderError(code, message, { ...place, reason, at: failure.at })
}
