import { BlockList, isIP, isIPv6 } from 'node:net'
import { TargetFailure } from './failure.ts'

/** A target as a resource names it. */
export interface TargetAddress {
  /** Name or literal address, without brackets. */
  readonly host: string
  readonly port: number
}

const HOST = /^(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\.?$/

/** Reads `host:port`, `[v6]:port`. Throws TargetFailure ERR_TARGET_ADDRESS_INVALID. */
export function parseTargetAddress(address: string): TargetAddress {
  const match = address.match(/^(?:\[([0-9A-Fa-f:.]{2,45})\]|([^:[\]]{1,253})):(\d{1,5})$/)
  const [, v6, name, digits] = match ?? []
  const port = Number(digits)
  const host = v6 ?? name
  const valid = host !== undefined && (v6 === undefined ? isIP(host) === 4 || HOST.test(host) : isIPv6(host))
  if (!valid || !(1 <= port && port <= 65_535)) throw new TargetFailure('ERR_TARGET_ADDRESS_INVALID')
  return { host, port }
}

/**
 * Networks that no target is in unless it is listed: this machine, link-local addresses (cloud metadata services answer
 * there), multicast, and what is no host at all. Through them a resource could make the worker attack what stands beside it.
 */
const FORBIDDEN = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['224.0.0.0', 3],
] as const) {
  FORBIDDEN.addSubnet(network, prefix, 'ipv4')
}
for (const [network, prefix] of [
  ['::', 128],
  ['::1', 128],
  ['fe80::', 10],
  ['ff00::', 8],
  // The metadata service of one large cloud over IPv6.
  ['fd00:ec2::254', 128],
] as const) {
  FORBIDDEN.addSubnet(network, prefix, 'ipv6')
}

/** Which addresses a worker may dial. */
export interface TargetPolicy {
  /** True where the name, as the resource gives it, is listed by a host pattern. */
  allowsName(host: string): boolean
  /** True for an address (never a name) that may be dialled; `byName` says that the name was listed. */
  allowsAddress(address: string, byName: boolean): boolean
}

/**
 * Reads RDP_WORKER_TARGET_ALLOW: CIDRs (`10.0.0.0/8`, `::1/128`), addresses, and host patterns (`*.corp.example`).
 *
 * An empty list allows everything but the forbidden networks. With a list only what is listed is allowed, and a forbidden network
 * only by CIDR or address: a name can be made to resolve to anything. Throws TypeError for an entry out of form.
 */
export function targetPolicyOf(entries: readonly string[]): TargetPolicy {
  const listed = new BlockList()
  const patterns: RegExp[] = []
  for (const entry of entries) {
    const [network = '', prefix] = entry.split('/')
    const family = isIP(network)
    if (family !== 0) {
      const bits = prefix === undefined ? (family === 4 ? 32 : 128) : Number(prefix)
      if (!Number.isInteger(bits) || !(0 <= bits && bits <= (family === 4 ? 32 : 128))) {
        throw new TypeError('a network is written as address/prefix')
      }
      listed.addSubnet(network, bits, family === 4 ? 'ipv4' : 'ipv6')
    } else if (/^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(entry)) {
      const escaped = entry.toLowerCase().replaceAll('.', '\\.').replace('*', '[^.]+(?:\\.[^.]+)*')
      patterns.push(new RegExp(`^${escaped}$`))
    } else {
      throw new TypeError('an entry is a network, an address or a host pattern')
    }
  }
  return {
    allowsName: host => patterns.some(pattern => pattern.test(host.toLowerCase().replace(/\.$/, ''))),
    allowsAddress(address, byName) {
      const plain = unmapped(address)
      const family = isIP(plain) === 4 ? 'ipv4' : 'ipv6'
      if (listed.check(plain, family)) return true
      if (FORBIDDEN.check(plain, family)) return false
      return entries.length === 0 || byName
    },
  }
}

/** `::ffff:127.0.0.1` is 127.0.0.1: an IPv4 rule may not be gone round by writing it as IPv6. */
function unmapped(address: string): string {
  if (!isIPv6(address)) return address
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const match = canonical.match(/^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/)
  if (match === null) return canonical
  const [high, low] = [Number.parseInt(match[1] ?? '', 16), Number.parseInt(match[2] ?? '', 16)]
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
}
