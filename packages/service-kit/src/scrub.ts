/** What stands in the place of a removed value. */
export const REDACTED = '[redacted]'

/**
 * Shapes of secrets that are known by their looks. Every quantifier is bounded or runs over one character class without
 * overlap with what follows, so that the time is linear in the length of the line.
 */
const SHAPES: readonly [RegExp, string][] = [
  // JSON Web Tokens and JWEs in compact form: the first part always starts with `{"` in base64url.
  [/eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_.-]*/g, REDACTED],
  // Opaque tokens of the control plane.
  [/rap_(at|rt|jt)_[A-Za-z0-9_-]{8,}/g, REDACTED],
  [/-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*(-----END [A-Z ]{0,20}PRIVATE KEY-----)?/g, REDACTED],
  [/\b(Bearer|Basic|DPoP|Negotiate|NTLM) [A-Za-z0-9+/=_.~-]{8,}/gi, `$1 ${REDACTED}`],
  // The user part of a URL: `postgres://user:password@host`.
  [/([a-z][a-z0-9+.-]{1,20}:\/\/)[^/\s"@:]{0,256}:[^/\s"@]{1,1024}@/gi, `$1${REDACTED}@`],
]

/** Removes what looks like a token, a private key or a URL password from a line of text, whatever field it stands in. */
export function scrubText(text: string): string {
  let scrubbed = text
  for (const [shape, replacement] of SHAPES) scrubbed = scrubbed.replace(shape, replacement)
  return scrubbed
}
