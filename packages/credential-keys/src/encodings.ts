/** Stands for bytes that are the DER form of a private key. */
export const PRIVATE_KEY_BYTES = '\u0000private key\u0000'

const BASE64_RUN = /(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{20,}/g
const HEX_RUN = /(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}){16,}/g
/** The label of a PEM key as base64 writes it, from each of the three places where it can begin. */
const LABEL_IN_BASE64: readonly string[] = [0, 1, 2].map(shift =>
  Buffer.from(`${' '.repeat(shift)}PRIVATE KEY`)
    .toString('base64')
    .slice(shift === 0 ? 0 : shift + 1, -4),
)
const TEXT = /^[\t\n\r\x20-\x7e]*$/

/** Encodings inside one another that are undone. */
const MAX_LAYERS = 3

/**
 * The text, and what stands behind up to three layers of escapes, percent-encoding, base64 or hex, as far as that is text
 * again or a private key. Every layer is at most as long as the one before it, whatever it is decoded from.
 */
export function encodedForms(value: string): ReadonlySet<string> {
  const forms = new Set([value.normalize('NFKC').replaceAll(/\p{Default_Ignorable_Code_Point}/gu, '')])
  let layer = [...forms]
  for (let depth = 0; depth < MAX_LAYERS && layer.length > 0; depth++) {
    layer = layer.flatMap(text => [unescapeOnce(text), ...decodedRuns(text)]).filter(text => !forms.has(text))
    for (const text of layer) forms.add(text)
  }
  return forms
}

/** One layer of `\n`, `\/` and `\u0040` as JSON writes them (RFC 8259 §7), and of percent-encoding (RFC 3986 §2.1). */
function unescapeOnce(text: string): string {
  return text
    .replaceAll(/\\u([0-9A-Fa-f]{4})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .replaceAll(/\\[nrt]/g, '\n')
    .replaceAll(/\\(["/\\])/g, '$1')
    .replaceAll(/%([0-7][0-9A-Fa-f])/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

function decodedRuns(text: string): string[] {
  // Encoders break lines, and a sentence may stand around a run: it is looked for with breaks and without.
  const joined = text.replaceAll(/\s+/g, '')
  if (LABEL_IN_BASE64.some(label => joined.includes(label))) return [PRIVATE_KEY_BYTES]
  return [...new Set([text, joined])]
    .flatMap(view => [
      ...[...view.matchAll(BASE64_RUN)].map(([run]) => Buffer.from(run, 'base64')),
      ...[...view.matchAll(HEX_RUN)].map(([run]) => Buffer.from(run, 'hex')),
    ])
    .flatMap(bytes => {
      if (isPrivateKeyDer(bytes)) return [PRIVATE_KEY_BYTES]
      const decoded = bytes.toString('latin1')
      return decoded.startsWith('openssh-key-v1') || TEXT.test(decoded) ? [decoded] : []
    })
}

/**
 * PKCS #8 (RFC 5208 §5, RFC 5958 §2), PKCS #1 (RFC 8017 A.1.2), SEC 1 (RFC 5915 §3) and PKCS #12 (RFC 7292 §4) begin with a
 * SEQUENCE whose first member is a small version number; certificates, requests and public keys begin otherwise.
 */
function isPrivateKeyDer(bytes: Buffer): boolean {
  if (bytes[0] !== 0x30) return false
  const length = bytes[1] ?? 0
  const content = length < 0x80 ? 2 : 2 + (length & 0x7f)
  return bytes[content] === 0x02 && bytes[content + 1] === 0x01 && (bytes[content + 2] ?? 0xff) <= 3
}
