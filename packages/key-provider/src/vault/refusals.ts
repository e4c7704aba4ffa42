import { KeyProviderError, type KeyProviderErrorCode } from '../errors.ts'
import { type ExchangeFailure, MAX_ANSWER_BYTES, type VaultAnswer } from './exchange.ts'
import { decoded, memberOf } from './json-bytes.ts'

/** Why the server did not do it: a word of this table, never a word of the server's. */
interface Refusal {
  readonly code: KeyProviderErrorCode
  readonly reason: string
  readonly message: string
}

const refusal = (code: KeyProviderErrorCode, reason: string, message: string): Refusal => ({ code, reason, message })

const NO_KEY = refusal('ERR_KEY_NOT_FOUND', 'key', 'the server has no such Transit key')
const NO_VERSION = refusal('ERR_KEY_NOT_FOUND', 'version', 'the Transit key has no such version')
const ARCHIVED = refusal('ERR_KEY_VERSION_ARCHIVED', 'archived', 'the Transit key does not use this version any more')
const NOT_OPENED = refusal('ERR_KEY_UNWRAP_FAILED', 'ciphertext', 'wrapped key does not open')
const FORBIDDEN = refusal('ERR_KEY_FORBIDDEN', 'forbidden', 'the server forbids this')
const SEALED = refusal('ERR_KEY_UNAVAILABLE', 'sealed', 'the server is sealed')
const STANDBY = refusal('ERR_KEY_UNAVAILABLE', 'standby', 'the server is a standby')
const THROTTLED = refusal('ERR_KEY_UNAVAILABLE', 'throttled', 'the server throttles')
const BEHIND = refusal('ERR_KEY_UNAVAILABLE', 'behind', 'the server has not caught up')
const SERVER_ERROR = refusal('ERR_KEY_UNAVAILABLE', 'server_error', 'the server failed')
const REDIRECTED = refusal('ERR_KEY_UNAVAILABLE', 'redirect', 'the server redirects to another address')
const NO_MOUNT = refusal('ERR_KEY_NOT_FOUND', 'path', 'the server has nothing at this path')
const REFUSED = refusal('ERR_KEY_CONFIGURATION', 'refused', 'the server refuses the request')

/**
 * What Vault and OpenBao say with status 400, as the part that all their versions have in common.
 * The order counts: the first that is found holds.
 */
const SAID: readonly (readonly [text: string, refusal: Refusal])[] = [
  ['disallowed by policy (too old)', ARCHIVED],
  ['less than the minimum encryption key version', ARCHIVED],
  ['version is too new', NO_VERSION],
  ['higher than the latest key version', NO_VERSION],
  ['no such key version', NO_VERSION],
  ['encryption key not found', NO_KEY],
  ['key not found', NO_KEY],
  ['soft-deleted key', refusal('ERR_KEY_NOT_FOUND', 'soft_deleted', 'the Transit key is deleted, and can be restored')],
  ['message authentication failed', NOT_OPENED],
  ['invalid ciphertext', NOT_OPENED],
]

const BY_STATUS: ReadonlyMap<number, Refusal> = new Map([
  [403, FORBIDDEN],
  [404, NO_MOUNT],
  [412, BEHIND],
  [429, THROTTLED],
  [472, STANDBY],
  [473, STANDBY],
  [501, refusal('ERR_KEY_UNAVAILABLE', 'not_initialized', 'the server is not initialized')],
])

/** The error for an answer that is no success. `operation` is a word of ours. Nothing of the answer's text is in it. */
export function refusalOf(answer: VaultAnswer, operation: string): KeyProviderError {
  return errorOf(refusalIn(answer), answer, operation)
}

/** The error for a redirection to the address that was asked. */
export function standbyOf(answer: VaultAnswer, operation: string): KeyProviderError {
  return errorOf(STANDBY, answer, operation)
}

function errorOf({ code, reason, message }: Refusal, answer: VaultAnswer, operation: string): KeyProviderError {
  return new KeyProviderError(code, message, {
    operation,
    status: answer.status,
    reason,
    ...(answer.retryAfterSeconds === undefined ? {} : { retry_after_s: answer.retryAfterSeconds }),
  })
}

/** The error for an answer that never came. */
export function unanswered(failure: ExchangeFailure, operation: string): KeyProviderError {
  const messages = {
    timeout: 'the server did not answer in time',
    not_reachable: 'the server cannot be reached',
    tls: 'the server is not who it should be, or speaks no TLS that we take',
    answer: 'the answer of the server is out of form',
  }
  return new KeyProviderError('ERR_KEY_UNAVAILABLE', messages[failure.reason], {
    operation,
    reason: failure.reason,
    cause_code: failure.causeCode,
    ...(failure.causeCode === 'too_large' ? { max: MAX_ANSWER_BYTES } : {}),
  })
}

/** The error for a success that does not say what it must. `member` is where it was looked for. */
export function outOfForm(operation: string, member: string): KeyProviderError {
  return new KeyProviderError('ERR_KEY_UNAVAILABLE', 'the answer of the server is out of form', {
    operation,
    reason: 'answer',
    member,
  })
}

/** Another try may help at once. */
export function isTemporary(error: KeyProviderError): boolean {
  const { reason, cause_code } = error.facts
  if (error.code !== 'ERR_KEY_UNAVAILABLE') return false
  if (reason === 'answer') return false
  // A wrong certificate stays wrong; a time limit is used up.
  return reason !== 'tls' && reason !== 'timeout' && reason !== 'redirect' && cause_code !== 'UND_ERR_DESTROYED'
}

function refusalIn(answer: VaultAnswer): Refusal {
  const { status } = answer
  if (300 <= status && status < 400) return REDIRECTED
  const said = errorsOf(answer.body)
  if (status === 400) return SAID.find(([text]) => said.includes(text))?.[1] ?? REFUSED
  if (status === 503 && said.includes('sealed')) return SEALED
  // The router has words for a path that leads nowhere; an engine without the key has none.
  if (status === 404 && said === '') return NO_KEY
  return BY_STATUS.get(status) ?? (status >= 500 ? SERVER_ERROR : REFUSED)
}

/** The texts of `errors`. They stay in this file: a server may echo what it was sent. */
function errorsOf(body: Buffer): string {
  const errors = decoded(memberOf(body, 'errors'))
  return Array.isArray(errors) ? errors.filter(text => typeof text === 'string').join('\n') : ''
}
