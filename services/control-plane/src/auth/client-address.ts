import { isIPv6 } from 'node:net'

/**
 * The key under which attempts of one client address are counted: an IPv4 address whole, an IPv6 address by its /64,
 * because one household or server has 2^64 addresses to try from (RFC 6177 §2).
 */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!isIPv6(address)) return address.slice(0, 64)
  const groups = expand(address.split('%', 1)[0] ?? address)
  return `${groups.slice(0, 4).join(':')}::/64`
}

function expand(address: string): string[] {
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const missing = tail === undefined ? 0 : 8 - left.length - right.length
  return [...left, ...Array<string>(Math.max(0, missing)).fill('0'), ...right].map(group =>
    Number.parseInt(group, 16).toString(16),
  )
}
