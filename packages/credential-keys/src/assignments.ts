import { credentialNameRule, type NameRefusal } from './names.ts'

/**
 * Assignments that are looked at in one text. INVARIANT: bounds the work; a text with more of them is taken for one that
 * holds a credential.
 */
const MAX_ASSIGNMENTS = 256

/**
 * `Password=…;`, `"password": "…"`, `?access_token=…`. A name is a run of word characters, or two; a match starts at the
 * start of a run only, so the time is linear.
 */
const ASSIGNMENT =
  /(?<![\p{L}\p{N}_.-])([\p{L}\p{N}_.-]+(?: [\p{L}\p{N}_.-]{1,32})?)["']?\s*(?:=|:(?!\/\/))\s*["']?[^\s"';,&]/gu
/** `<password>…</password>`. */
const XML_ELEMENT = /<([\p{L}_][\p{L}\p{N}_.:-]{0,63})(?:\s[^<>]{0,256})?>[^<\s]/gu
/** The end of a name says what it is. */
const NAME_CHARACTERS = 64

/** Names that name a secret by themselves. A user or a domain in a note is no secret: what logs on is what goes with it. */
const SECRET_RULES: ReadonlySet<NameRefusal | undefined> = new Set<NameRefusal>([
  'password',
  'token',
  'private_key',
  'api_key',
  'secret',
  'credential',
  'authorization',
  'one_time_code',
  'password_hash',
])

/** Whether a text gives a value to the name of a secret. */
export function assignsCredential(text: string): boolean {
  if (!/[=:>]/.test(text)) return false
  let count = 0
  for (const pattern of [ASSIGNMENT, XML_ELEMENT]) {
    for (const [, name = ''] of text.matchAll(pattern)) {
      count += 1
      if (count > MAX_ASSIGNMENTS || SECRET_RULES.has(credentialNameRule(name.slice(-NAME_CHARACTERS)))) return true
    }
  }
  return false
}
