import { randomBytes } from 'node:crypto'
import { ntowfv1 } from '@rap/rdp/credssp'

/** A password that occurs nowhere by chance: letters and digits only, so that no encoding for text changes it. */
export function newCanary(): string {
  return `Canary${randomBytes(15).toString('hex')}9A`
}

/** How a secret may lie around, by name; each form is searched for as bytes. */
function formsOf(secret: string): ReadonlyMap<string, Buffer> {
  const utf8 = Buffer.from(secret, 'utf8')
  const utf16 = Buffer.from(secret, 'utf16le')
  const ntHash = Buffer.from(ntowfv1(utf16))
  const forms = new Map<string, Buffer>([
    ['text', utf8],
    ['UTF-16', utf16],
    ['UTF-16 as bytea text', Buffer.from([...secret].join('\\000'))],
    ['UTF-16 as bytea text in COPY', Buffer.from([...secret].join('\\\\000'))],
    ['percent-encoding', Buffer.from(encodeURIComponent(secret))],
    // Whoever has the hash can log in with it.
    ['NT hash', ntHash],
  ])
  for (const [name, bytes] of [
    ['text', utf8],
    ['UTF-16', utf16],
    ['NT hash', ntHash],
  ] as const) {
    forms.set(`${name} in hexadecimal`, Buffer.from(bytes.toString('hex')))
    forms.set(`${name} in upper case hexadecimal`, Buffer.from(bytes.toString('hex').toUpperCase()))
    for (const offset of [0, 1, 2]) {
      forms.set(`${name} in base64 at offset ${offset}`, Buffer.from(base64Core(bytes, offset)))
      forms.set(`${name} in base64url at offset ${offset}`, Buffer.from(toUrl(base64Core(bytes, offset))))
    }
  }
  return forms
}

/** The characters that base64 of any text holds which holds these bytes after `offset` (mod 3) others. */
function base64Core(bytes: Buffer, offset: number): string {
  const encoded = Buffer.concat([Buffer.alloc(offset), bytes])
    .toString('base64')
    .replace(/=+$/, '')
  const firstWhole = Math.ceil((offset * 8) / 6)
  const lastWhole = Math.floor(((offset + bytes.length) * 8) / 6)
  return encoded.slice(firstWhole, lastWhole)
}

function toUrl(base64: string): string {
  return base64.replaceAll('+', '-').replaceAll('/', '_')
}

/** The forms in which a secret occurs in this text or these bytes; none is what a test wants. */
export function findSecret(haystack: string | Uint8Array, secret: string): string[] {
  const bytes = typeof haystack === 'string' ? Buffer.from(haystack) : Buffer.from(haystack)
  return [...formsOf(secret)].filter(([, form]) => bytes.includes(form)).map(([name]) => name)
}
