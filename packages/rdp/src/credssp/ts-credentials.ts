import { derExplicit, derInteger, derOctetString, derSequence } from '../der.ts'
import { utf16le } from './ntlm-crypto.ts'

const CRED_TYPE_PASSWORD = 1

export interface TsPasswordCreds {
  readonly domain: string
  readonly username: string
  /** UTF-16LE. */
  readonly password: Uint8Array
}

/**
 * TSCredentials with TSPasswordCreds, the plaintext of authInfo.
 *
 * Spec: [MS-CSSP] §2.2.1.2, §2.2.1.2.1. The caller zeroes the result; every copy made on the way is zeroed here.
 */
export function encodeTsCredentials({ domain, username, password }: TsPasswordCreds): Uint8Array {
  const octets = derOctetString(password)
  const field = derExplicit(2, octets)
  const names = [derExplicit(0, derOctetString(utf16le(domain))), derExplicit(1, derOctetString(utf16le(username)))]
  const passwordCreds = derSequence(...names, field)
  const credentialsOctets = derOctetString(passwordCreds)
  const credentials = derExplicit(1, credentialsOctets)
  const tsCredentials = derSequence(derExplicit(0, derInteger(CRED_TYPE_PASSWORD)), credentials)
  for (const copy of [octets, field, passwordCreds, credentialsOctets, credentials]) copy.fill(0)
  return tsCredentials
}
