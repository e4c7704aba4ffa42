import { createHash, randomBytes } from 'node:crypto'

/** Life of an access token: 15 minutes, which bounds what a leaked one is worth. */
export const ACCESS_TOKEN_SECONDS = 15 * 60
/** Life of a refresh token without use: 24 hours, so that an abandoned browser is logged out the next day. */
export const REFRESH_TOKEN_SECONDS = 24 * 60 * 60
/** Life of a log-in, whatever is refreshed: 7 days. */
export const FAMILY_SECONDS = 7 * 24 * 60 * 60

const PREFIXES = { access: 'rap_at_', refresh: 'rap_rt_' } as const
type Kind = keyof typeof PREFIXES

const SECRET_BYTES = 32
/** The prefix, and 32 bytes in base64url. */
const TOKEN = { access: /^rap_at_[A-Za-z0-9_-]{43}$/, refresh: /^rap_rt_[A-Za-z0-9_-]{43}$/ } as const

/** Longest text that can be a token of either kind, in characters. */
export const MAX_TOKEN_CHARACTERS = 50

/** A new token: a prefix that secret scanners find, and 256 random bits. */
export function newToken(kind: Kind): { readonly token: string; readonly hash: Buffer } {
  const token = PREFIXES[kind] + randomBytes(SECRET_BYTES).toString('base64url')
  return { token, hash: hashOf(token) }
}

/** What is stored and looked up for a token, or undefined where the text is no token of this kind. */
export function hashOfToken(kind: Kind, text: string): Buffer | undefined {
  return text.length <= MAX_TOKEN_CHARACTERS && TOKEN[kind].test(text) ? hashOf(text) : undefined
}

// 256 random bits cannot be guessed, so a plain digest is enough; a slow hash is for passwords.
function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
