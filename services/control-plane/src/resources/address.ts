import { isIPv4, isIPv6 } from 'node:net'

/** The port of RDP, for addresses that name none. */
export const DEFAULT_RDP_PORT = 3389
/** Longest address, in characters: a host name of 253, a colon and a port, with room for brackets. */
export const MAX_ADDRESS_CHARACTERS = 300

const HOST_LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/
const PORT = /^[1-9][0-9]{0,4}$/

/**
 * Reads the address of a target and returns its one spelling `host:port`, or undefined.
 *
 * A host is a name (RFC 1123 §2.1, underscores allowed), a dotted-decimal IPv4 address, or an IPv6 address in brackets
 * (RFC 3986 §3.2.2) without a zone. Other spellings of IPv4 (`127.1`, `0x7f000001`, `2130706433`) are refused: they are
 * read differently by different libraries, and an allow-list must see what is dialled.
 */
export function parseAddress(text: string): string | undefined {
  if (text.length < 1 || text.length > MAX_ADDRESS_CHARACTERS) return undefined
  if (text.startsWith('[')) return parseBracketed(text)
  const [host = '', port, ...rest] = text.toLowerCase().split(':')
  if (rest.length > 0) return undefined
  const portNumber = parsePort(port)
  if (portNumber === undefined || !isHost(host)) return undefined
  return `${host}:${portNumber}`
}

function parseBracketed(text: string): string | undefined {
  const match = /^\[([0-9a-fA-F:.]{2,45})\](?::([0-9]+))?$/.exec(text)
  const [, host = '', port] = match ?? []
  const portNumber = parsePort(port)
  if (match === null || portNumber === undefined || !isIPv6(host)) return undefined
  // The URL parser writes the one canonical form (RFC 5952).
  return `${new URL(`http://[${host}]`).hostname}:${portNumber}`
}

function parsePort(port: string | undefined): number | undefined {
  if (port === undefined) return DEFAULT_RDP_PORT
  if (!PORT.test(port)) return undefined
  const number = Number(port)
  return number <= 65_535 ? number : undefined
}

function isHost(host: string): boolean {
  if (isIPv4(host)) return true
  if (host.length > 253) return false
  const labels = host.split('.')
  if (!labels.every(label => HOST_LABEL.test(label))) return false
  // A last label of digits only is an IPv4 address in another spelling, never a name (RFC 3696 §2).
  return !/^(0x[0-9a-f]*|[0-9]+)$/.test(labels.at(-1) ?? '')
}
