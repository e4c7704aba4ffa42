import { isIP } from 'node:net'
import { canonicalIpAddress } from '@rap/pki'
import { problems } from '../errors.ts'

/** Names that certificates of an identity carry, each in its one spelling. */
export interface RegisteredNames {
  readonly dnsNames: string[]
  readonly ipAddresses: string[]
}

/** Most names of one kind. */
const MAX_NAMES = 32
/** RFC 1035 §2.3.4, and no wildcard: a worker answers for hosts, not for domains. */
const DNS_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/

/**
 * Brings names into one spelling: DNS in lower case without a final dot, IPv6 as RFC 5952 writes it.
 * Throws ProblemError ERR_IDENTITY_NAMES_INVALID, which names the one that is wrong.
 */
export function registeredNames(given: {
  readonly dns_names?: readonly string[] | undefined
  readonly ip_addresses?: readonly string[] | undefined
}): RegisteredNames {
  const dnsNames = [...new Set((given.dns_names ?? []).map(dnsName))]
  const ipAddresses = [...new Set((given.ip_addresses ?? []).map(ipAddress))]
  if (dnsNames.length + ipAddresses.length === 0) {
    throw problems.ERR_IDENTITY_NAMES_INVALID({ detail: 'Give at least one DNS name or IP address' })
  }
  if (dnsNames.length > MAX_NAMES || ipAddresses.length > MAX_NAMES) {
    throw problems.ERR_IDENTITY_NAMES_INVALID({ detail: `At most ${MAX_NAMES} names of a kind` })
  }
  return { dnsNames, ipAddresses }
}

/** True where every asked-for name is a registered one. */
export function isWithin(asked: RegisteredNames, registered: RegisteredNames): boolean {
  return (
    asked.dnsNames.every(name => registered.dnsNames.includes(name.toLowerCase())) &&
    asked.ipAddresses.every(address => registered.ipAddresses.includes(canonicalIpAddress(address) ?? ''))
  )
}

/** Whether the host of a URL is one of the names. */
export function namesHost({ dnsNames, ipAddresses }: RegisteredNames, hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  return isIP(host) === 0 ? dnsNames.includes(host) : ipAddresses.includes(canonicalIpAddress(host) ?? '')
}

function dnsName(given: string): string {
  const name = given.trim().toLowerCase().replace(/\.$/, '')
  // A name of digits alone would be read as an address by some.
  if (DNS_NAME.test(name) && !/^[\d.]+$/.test(name)) return name
  throw problems.ERR_IDENTITY_NAMES_INVALID({ detail: `Not a DNS name: ${given.slice(0, 100)}` })
}

function ipAddress(given: string): string {
  const address = canonicalIpAddress(given.trim())
  if (address !== undefined) return address
  throw problems.ERR_IDENTITY_NAMES_INVALID({ detail: `Not an IP address: ${given.slice(0, 100)}` })
}
