import { assignsCredential } from './assignments.ts'
import { encodedForms, PRIVATE_KEY_BYTES } from './encodings.ts'

/** Longest text that is looked at, in UTF-16 code units; a longer one is refused unread. */
export const MAX_VALUE_CHARACTERS = 16_384

/** What a text is refused for. */
export type ValueRule =
  | 'private_key'
  | 'jwt'
  | 'url_credentials'
  | 'assignment'
  | 'command_line'
  | 'vendor_token'
  | 'authorization_header'
  | 'password_hash'
  | 'value_too_long'

/**
 * Shapes of secrets. INVARIANT: linear time. Every quantifier is bounded, or its run cannot begin again inside itself
 * (a look-behind lets a match start at the start of a run only).
 */
const SHAPES: readonly (readonly [ValueRule, RegExp])[] = [
  // RFC 7468 §10 and §11, RFC 9580 §6.2, RFC 4716 §3.3 and what OpenSSL and ssh.com write; any label, also a cut off one.
  ['private_key', /-{2,5} ?BEGIN [A-Z0-9 ]{0,48}PRIVATE KEY/i],
  [
    'private_key',
    /PuTTY-User-Key-File-|Private-Lines: ?\d|openssh-key-v1|AGE-SECRET-KEY-|AGE-PLUGIN-[A-Z0-9-]{1,40}-1/i,
  ],
  // RFC 3986 §3.2.1, also without a user; a colon and digits before a slash is a port.
  ['url_credentials', /\/\/[^\s/?#@:[\]]{0,256}:(?!\d{1,5}(?:[/?#]|$))[^\s@]{1,256}@/],
  // The same without a scheme; addresses of mail and telephony and digests of images are none.
  [
    'url_credentials',
    /(?<![^\s"'=,;(<])(?!(?:mailto|sips?|xmpp|acct|tel):)[^\s:@/"'=,;(<]{1,128}:[^\s@/]{1,128}@(?!sha(?:256|512):)[A-Za-z0-9[]/i,
  ],
  [
    'command_line',
    /(?:^|[\s"'])(?:\/(?:p|pass|password|gp):|--?(?:p|pw|pass|passwd|password|pwd|token|secret|api-?key)(?: |=))[^\s-]/i,
  ],
  ['command_line', /(?:^|\s)(?:-u|--user|--proxy-user)[ =]?[^\s:/]{1,128}:[^\s/]/],
  ['command_line', /password 51:b:|\blogin\s{1,8}\S{1,64}\s{1,8}password\s{1,8}\S/i],
  [
    'authorization_header',
    /\b(?:bearer|dpop|token|negotiate|ntlm|apikey|hawk)\s+(?=[^\s\d]{0,256}\d)[A-Za-z0-9+/=_.~-]{12}/i,
  ],
  ['authorization_header', /\bAWS4-HMAC-SHA256 Credential=/],
  // LM and NT hash as tools print them, and stored password hashes in their usual forms.
  ['password_hash', /\b[0-9a-f]{32}:[0-9a-f]{32}\b/i],
  [
    'password_hash',
    /\$(?:1|2[abxy]?|5|6|7|y|gy|md5|sha1|argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]{0,12}|krb5(?:asrep|tgs)|NT|mskrb5|DCC2)\$[^\s$]{1,128}\$/i,
  ],
  ['password_hash', /\{(?:S?SHA(?:256|384|512)?|S?MD5|CRYPT|ARGON2|PBKDF2[A-Z0-9-]{0,12})\}[^\s]{8}/i],
]

/** Marks that vendors put in front of their tokens so that scanners can find them. */
const VENDOR_TOKENS: readonly RegExp[] = [
  /\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{12}/,
  /\b(?:gh[pousr]_[A-Za-z0-9]{16}|github_pat_[A-Za-z0-9_]{16})/,
  /\b(?:gl(?:pat|dt|ptt|rt|cbt|imt|agent|soat|ffct|oas)-|GR1348941)[A-Za-z0-9_-]{16}/,
  /\bxox[abcdeoprs]-[A-Za-z0-9-]{8}|\bxapp-\d-[A-Z0-9]/,
  /hooks\.slack\.com\/(?:services|workflows|triggers)\/[A-Za-z0-9]{8}|\.webhook\.office\.com\/webhookb2\/|discord(?:app)?\.com\/api\/webhooks\/\d/,
  /\b(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{10}|\bwhsec_[A-Za-z0-9+/]{16}/,
  /\bhv[sbr]\.[A-Za-z0-9_-]{16}|(?<![A-Za-z0-9.])[sbr]\.[A-Za-z0-9]{24}(?![A-Za-z0-9.])/,
  /\bya29\.[A-Za-z0-9_-]{8}|\bAIza[A-Za-z0-9_-]{30}|\bGOCSPX-[A-Za-z0-9_-]{16}|\b1\/\/0[A-Za-z0-9_-]{24}/,
  /\bsk-(?=[A-Za-z_-]{0,40}\d)[A-Za-z0-9_-]{20}|\bhf_[A-Za-z0-9]{20}|\br8_[A-Za-z0-9]{20}|\bgsk_[A-Za-z0-9]{20}/,
  /\bnpm_[A-Za-z0-9]{20}|\bpypi-[A-Za-z0-9_-]{16}|\boy2[a-z0-9]{43}|\brubygems_[a-f0-9]{16}|\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{16}/,
  /\bdo[opr]_v1_[a-f0-9]{16}|\bSG\.[A-Za-z0-9_-]{16,32}\.|\bkey-[0-9a-f]{32}|\b[0-9a-f]{32}-us\d/,
  /\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{16}|\bATATT3[A-Za-z0-9_-]{16}|\bATBB[A-Za-z0-9]{24}|\bsq0[a-z]{3}-[A-Za-z0-9_-]{16}/,
  /\blin_api_[A-Za-z0-9]{16}|\bntn_[A-Za-z0-9]{16}|\bglsa_[A-Za-z0-9]{16}|\bglc_[A-Za-z0-9+/]{16}|\bNRAK-[A-Z0-9]{16}|\bdapi[a-f0-9]{32}/,
  /\bops_eyJ|\bA3-[A-Z0-9]{6}-[A-Z0-9]{5,11}-|\btskey-[a-z]{3,8}-|\bpul-[a-f0-9]{32}|\btfp_[A-Za-z0-9]{16}|\.atlasv1\./,
  /\bPMAK-[a-f0-9]{16}|\brap_(?:at|rt|jt)_[A-Za-z0-9_-]{8}|\bxkeysib-[a-f0-9]{16}|\bEAACEdEose0cBA|\beyJrIjoi|\bPRIVATE-TOKEN:/,
  /\d{8,10}:AA[A-Za-z0-9_-]{32}|8Q~[A-Za-z0-9_.~-]{31}/,
]

/** A run of three or more dotted parts begins with a part; only its head is decoded. */
const DOTTED = /(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{8,})(?=\.[A-Za-z0-9_-]*\.)/g
const HEAD_CHARACTERS = 1024

/** The rule by which a text is refused, or undefined. Time is linear in its length. */
export function isCredentialValue(value: string): ValueRule | undefined {
  if (value.length > MAX_VALUE_CHARACTERS) return 'value_too_long'
  for (const text of encodedForms(value)) {
    if (text === PRIVATE_KEY_BYTES) return 'private_key'
    const rule = shapeOf(text)
    if (rule !== undefined) return rule
  }
  return undefined
}

function shapeOf(text: string): ValueRule | undefined {
  if (holdsJwt(text)) return 'jwt'
  if (holdsPrivateJwk(text)) return 'private_key'
  if (holdsBasicHeader(text)) return 'authorization_header'
  const shape = SHAPES.find(([, pattern]) => pattern.test(text))
  if (shape !== undefined) return shape[0]
  if (VENDOR_TOKENS.some(pattern => pattern.test(text))) return 'vendor_token'
  return assignsCredential(text) ? 'assignment' : undefined
}

/** JWS and JWE in compact form (RFC 7515 §7.1, RFC 7516 §7.1): the first part is a JSON object that names an algorithm. */
function holdsJwt(text: string): boolean {
  for (const [, head = ''] of text.matchAll(DOTTED)) {
    const json = Buffer.from(head.slice(0, HEAD_CHARACTERS), 'base64url').toString('latin1')
    if (json.trimStart().startsWith('{') && /"(?:alg|enc|typ|kid|zip)"/.test(json)) return true
  }
  return false
}

/** A JSON Web Key as text, with its private or symmetric part (RFC 7518 §6). */
function holdsPrivateJwk(text: string): boolean {
  return text.includes('"kty"') && /"[dk]"\s?:\s?"[A-Za-z0-9_-]{16}/.test(text)
}

const BASIC = /\bbasic\s+([A-Za-z0-9+/_-]{4,})/gi

/** RFC 7617 §2: a user and a password with a colon between, in base64; "basic setup" is not. */
function holdsBasicHeader(text: string): boolean {
  for (const [, credentials = ''] of text.matchAll(BASIC)) {
    if (/^[^\p{Cc}:]*:[^\p{Cc}]*$/u.test(Buffer.from(credentials, 'base64').toString())) return true
  }
  return false
}
