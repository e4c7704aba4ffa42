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
 * Networks that no target is in unless it is listed: this machine, link-local addresses and the metadata services of clouds, multicast, and
 * what is no host at all. Through them a resource could make the worker attack what stands beside it.
 */
const FORBIDDEN = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['224.0.0.0', 3],
  // Metadata and host services of two large clouds, in the middle of networks that hosts are in.
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
] as const) {
  FORBIDDEN.addSubnet(network, prefix, 'ipv4')
}
for (const [network, prefix] of [
  // The unspecified address, loopback, and IPv4 written as IPv6 the old way.
  ['::', 96],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
  // Translated and tunnelled IPv4, which would go round the IPv4 rules (RFC 2765, 3056, 4380, 8215).
  ['::ffff:0:0:0', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  // Metadata services of two large clouds over IPv6.
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
] as const) {
  FORBIDDEN.addSubnet(network, prefix, 'ipv6')
}
const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

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
 * An empty list allows everything but the forbidden networks; with `loopback` it allows this machine too. With a list only what is listed is
 * allowed, and a forbidden network only by CIDR or address: a name can be made to resolve to anything. Throws TypeError for an entry out of form.
 */
export function targetPolicyOf(
  entries: readonly string[],
  { loopback = false }: { readonly loopback?: boolean } = {},
): TargetPolicy {
  // One list for each family: in a common one `::/0` would contain every IPv4 address.
  const listed = { ipv4: new BlockList(), ipv6: new BlockList() }
  const patterns: RegExp[] = []
  for (const entry of entries) {
    const network = parseNetwork(entry)
    if (network !== undefined) listed[network.family].addSubnet(network.address, network.bits, network.family)
    else patterns.push(parsePattern(entry))
  }
  const allowsAll = entries.length === 0
  return {
    allowsName: host => patterns.some(pattern => pattern.test(host.toLowerCase().replace(/\.$/, ''))),
    allowsAddress(address, byName) {
      const plain = withoutDisguise(address)
      if (plain === undefined) return false
      const family = isIP(plain) === 4 ? 'ipv4' : 'ipv6'
      if (listed[family].check(plain, family)) return true
      if (allowsAll && loopback && LOOPBACK.check(plain, family)) return true
      if (FORBIDDEN.check(plain, family)) return false
      return allowsAll || byName
    },
  }
}

function parseNetwork(entry: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } | undefined {
  const [, address = '', digits] = entry.match(/^([0-9A-Fa-f:.]+)(?:\/(\d{1,3}))?$/) ?? []
  const version = isIP(address)
  if (version === 0) return undefined
  const width = version === 4 ? 32 : 128
  const bits = digits === undefined ? width : Number(digits)
  if (bits > width) throw new TypeError('a network is written as address/prefix')
  return { address, bits, family: version === 4 ? 'ipv4' : 'ipv6' }
}

function parsePattern(entry: string): RegExp {
  // Anything that begins like an address and is none is a slip of the pen, not a host.
  const isHost = /^(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(entry) && !/^[0-9.-]+$/.test(entry)
  if (!isHost) throw new TypeError('an entry is a network as address/prefix, an address or a host pattern')
  const escaped = entry.toLowerCase().replaceAll('.', '\\.').replace('*', '[^.]+(?:\\.[^.]+)*')
  return new RegExp(`^${escaped}$`)
}

/**
 * The address that is dialled in truth: `::ffff:127.0.0.1` and, behind a NAT64, `64:ff9b::7f00:1` are 127.0.0.1, and an IPv4 rule may not be gone
 * round by writing it so. A zone (`fe80::1%eth0`) is left out. Undefined for what is no address.
 */
function withoutDisguise(address: string): string | undefined {
  const bare = address.replace(/%.*$/, '')
  if (isIP(bare) === 4) return bare
  if (!isIPv6(bare)) return undefined
  const canonical = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const match = canonical.match(/^(?:::ffff:|64:ff9b::)([0-9a-f]{1,4})(?::([0-9a-f]{1,4}))?$/)
  if (match === null) return canonical
  const groups = match[2] === undefined ? ['0', match[1]] : [match[1], match[2]]
  const [high, low] = groups.map(group => Number.parseInt(group ?? '', 16)) as [number, number]
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.')
}
