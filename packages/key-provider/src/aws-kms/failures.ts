import { KeyProviderError, type KeyProviderErrorCode } from '../errors.ts'

type Known = readonly [KeyProviderErrorCode, string]

const UNAVAILABLE: Known = ['ERR_KEY_UNAVAILABLE', 'KMS does not answer as it should']
const THROTTLED: Known = ['ERR_KEY_UNAVAILABLE', 'KMS asks for fewer requests']
const CREDENTIALS: Known = ['ERR_KEY_FORBIDDEN', 'KMS does not take the credentials of this service']
const SHUT: Known = ['ERR_KEY_UNWRAP_FAILED', 'wrapped key does not open']

/** Errors of the KMS API reference and of AWS's front door, by name; any other is ERR_KEY_UNAVAILABLE. */
const KNOWN: ReadonlyMap<string, Known> = new Map<string, Known>([
  ['ThrottlingException', THROTTLED],
  ['LimitExceededException', THROTTLED],
  ['TooManyRequestsException', THROTTLED],
  ['RequestLimitExceeded', THROTTLED],
  ['AccessDeniedException', ['ERR_KEY_FORBIDDEN', 'no policy allows this service to use the key']],
  ['ExpiredTokenException', CREDENTIALS],
  ['UnrecognizedClientException', CREDENTIALS],
  ['InvalidSignatureException', CREDENTIALS],
  ['IncompleteSignatureException', CREDENTIALS],
  ['InvalidClientTokenId', CREDENTIALS],
  ['MissingAuthenticationTokenException', CREDENTIALS],
  ['OptInRequired', CREDENTIALS],
  ['CredentialsProviderError', ['ERR_KEY_FORBIDDEN', 'this service finds no credentials for AWS']],
  ['TokenProviderError', ['ERR_KEY_FORBIDDEN', 'this service finds no credentials for AWS']],
  ['NotFoundException', ['ERR_KEY_NOT_FOUND', 'KMS has no such key']],
  ['InvalidArnException', ['ERR_KEY_NOT_FOUND', 'KMS has no such key']],
  ['InvalidKeyUsageException', ['ERR_KEY_NOT_FOUND', 'the key is not one for encryption']],
  ['DisabledException', ['ERR_KEY_FORBIDDEN', 'the key is disabled']],
  ['KMSInvalidStateException', ['ERR_KEY_FORBIDDEN', 'the key is in a state in which it cannot be used']],
  ['InvalidCiphertextException', SHUT],
  ['IncorrectKeyException', SHUT],
])

/** Set by the deadline of a call. */
export const TIMEOUT = 'timeout'

interface SdkError {
  readonly name?: unknown
  readonly code?: unknown
  readonly $metadata?: { readonly httpStatusCode?: unknown; readonly requestId?: unknown }
}

/**
 * The error of what the SDK threw. Facts are the error's name, the status and AWS's request id: its message may repeat
 * what it was sent, so neither that nor the cause goes on.
 */
export function errorOf(keyId: string, keyArn: string, thrown: unknown): KeyProviderError {
  if (thrown instanceof KeyProviderError) return thrown
  const error = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as SdkError
  const reason = reasonOf(error)
  const [code, message] = KNOWN.get(reason) ?? UNAVAILABLE
  if (code === 'ERR_KEY_UNWRAP_FAILED') return new KeyProviderError(code, message, { key_id: keyId })
  const { httpStatusCode: status, requestId } = error.$metadata ?? {}
  return new KeyProviderError(code, message, {
    key_id: keyId,
    location: keyArn,
    reason,
    ...(typeof status === 'number' ? { status } : {}),
    ...(typeof requestId === 'string' && /^[\w-]{1,64}$/.test(requestId) ? { request_id: requestId } : {}),
  })
}

/** True where the key itself may say more about why it cannot be used. */
export function isAboutState(thrown: unknown): boolean {
  const { name } = thrown as SdkError
  return name === 'DisabledException' || name === 'KMSInvalidStateException'
}

/** A name of ours, of KMS or of Node: never what a server has made up. */
function reasonOf({ name, code }: SdkError): string {
  if (typeof name === 'string' && KNOWN.has(name)) return name
  // Before the name: the SDK calls a connection that was cut a time-out.
  if (typeof code === 'string' && CODES.test(code)) return code
  if (name === 'AbortError' || name === 'TimeoutError') return TIMEOUT
  return typeof name === 'string' && /^[A-Za-z]{1,64}$/.test(name) ? name : 'unknown'
}

/** Codes of sockets, name look-ups and certificates. */
const CODES = /^(?:E[A-Z_]{2,40}|(?:CERT|DEPTH|SELF|UNABLE|ERR)_[A-Z_]{1,60})$/
