import { isIP, SocketAddress } from 'node:net'
import { PkiError } from './errors.ts'
import { x509 } from './library.ts'

/** RFC 1035 §2.3.4: a name is at most 255 octets on the wire, which is 253 characters. */
const MAX_DNS_CHARACTERS = 253
const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i
/** RFC 5280 Appendix A.1: ub-common-name. */
export const MAX_COMMON_NAME_CHARACTERS = 64
const MAX_URI_CHARACTERS = 2048

export interface SubjectNames {
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
  readonly uris?: readonly string[]
}

/** A subject with one common name, built as a value: text of a distinguished name is never parsed. */
export function commonNameSubject(commonName: string): x509.Name {
  const hasControl = [...commonName].some(character => character < ' ' || character === '\u007f')
  if (commonName === '' || commonName.length > MAX_COMMON_NAME_CHARACTERS || hasControl) refuse('commonName')
  return new x509.Name([{ CN: [{ utf8String: commonName }] }])
}

/**
 * The subjectAltName extension for these names, or undefined for none.
 *
 * Spec: RFC 5280 §4.2.1.6; RFC 6125 §6.4.3 (a wildcard is the whole left-most label).
 * Throws PkiError INVALID_NAME: every name is checked, because a name with a comma or a null character in it has
 * forged identities in peers that read the extension as text.
 */
export function subjectAlternativeNames(names: SubjectNames): x509.SubjectAlternativeNameExtension | undefined {
  const { dnsNames = [], ipAddresses = [], uris = [] } = names
  for (const name of dnsNames) if (!isDnsName(name)) refuse('dnsNames')
  const addresses = ipAddresses.map(address => canonicalIpAddress(address) ?? refuse('ipAddresses'))
  for (const uri of uris) if (!isUri(uri)) refuse('uris')
  const items: x509.JsonGeneralNames = [
    ...dnsNames.map(value => ({ type: 'dns' as const, value })),
    ...addresses.map(address => ({ type: 'ip' as const, value: inGroups(address) })),
    ...uris.map(value => ({ type: 'url' as const, value })),
  ]
  return items.length === 0 ? undefined : new x509.SubjectAlternativeNameExtension(items)
}

/** An IP address in its one spelling (RFC 5952 for IPv6), or undefined for what is none or names an interface. */
export function canonicalIpAddress(address: string): string | undefined {
  const family = isIP(address)
  if (family === 0 || address.includes('%')) return undefined
  return new SocketAddress({ address, family: family === 4 ? 'ipv4' : 'ipv6' }).address
}

/** An address without dotted decimals in IPv6: the library would write others than are meant. */
function inGroups(address: string): string {
  return isIP(address) === 4 ? address : new URL(`http://[${address}]`).hostname.slice(1, -1)
}

export function isDnsName(name: string): boolean {
  if (name.length > MAX_DNS_CHARACTERS) return false
  const labels = name.split('.')
  if (labels[0] === '*' && labels.length >= 3) labels.shift()
  return labels.every(label => DNS_LABEL.test(label))
}

export function isUri(uri: string): boolean {
  return uri.length <= MAX_URI_CHARACTERS && /^[\x21-\x7e]+$/.test(uri) && !uri.includes(',') && URL.canParse(uri)
}

function refuse(field: string): never {
  throw new PkiError('ERR_PKI_INVALID_NAME', 'invalid name', { field })
}
