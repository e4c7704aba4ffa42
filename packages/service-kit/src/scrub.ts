/** What stands in the place of a removed value. */
export const REDACTED = '[redacted]'

/**
 * Two or more parts of base64url with dots between: host names and file names too, so the match is looked at again.
 * The look-behind lets a match start at the beginning of a run only; without it, hostile text costs quadratic time.
 */
const DOTTED_PARTS = /(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{11,}\.[A-Za-z0-9_.-]*/g
/** The header of a JSON Web Token or JWE is JSON, and `{"` in base64url is `eyJ`. */
const TOKEN_MARK = 'eyJ'

/** Shapes of secrets that are known by their looks; every quantifier is bounded or cannot overlap with what follows it. */
const SHAPES: readonly [RegExp, string][] = [
  // Opaque tokens of the control plane.
  [/rap_(at|rt|jt)_[A-Za-z0-9_-]{8,}/g, REDACTED],
  [/-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*(-----END [A-Z ]{0,20}PRIVATE KEY-----)?/g, REDACTED],
  [/\b(Bearer|Basic|DPoP|Negotiate|NTLM) [A-Za-z0-9+/=_.~-]{8,}/gi, `$1 ${REDACTED}`],
  // The user part of a URL: `postgres://user:password@host`.
  [/([a-z][a-z0-9+.-]{1,20}:\/\/)[^/\s"@:]{0,256}:[^/\s"@]{1,1024}@/gi, `$1${REDACTED}@`],
]

/** Removes what looks like a token, a private key or a URL password from a line of text, whatever field it stands in. */
export function scrubText(text: string): string {
  let scrubbed = text.replace(DOTTED_PARTS, match => (match.includes(TOKEN_MARK) ? REDACTED : match))
  for (const [shape, replacement] of SHAPES) scrubbed = scrubbed.replace(shape, replacement)
  return scrubbed
}
