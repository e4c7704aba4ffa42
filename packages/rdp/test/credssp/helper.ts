import { inspect } from 'node:util'
import type { CredSspOptions } from '../../src/credssp/client.ts'

/** Bytes of a hexadecimal text; white space is for the reader. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'))
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

export function utf16(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'utf16le'))
}

/** Random bytes that a test can foresee: 1, 2, 3, … across all calls. */
export function countingRandom(): (size: number) => Uint8Array {
  let next = 1
  return size => Uint8Array.from({ length: size }, () => next++ & 0xff)
}

export const PASSWORD = 'Str0ng Pässword'

/** A subjectPublicKey is an RSAPublicKey SEQUENCE; CredSSP does not look inside. */
export const SERVER_PUBLIC_KEY = hex(`3082010a02820101${'5c'.repeat(64)}0203010001`)

export function clientOptions(changes: Partial<CredSspOptions> = {}): CredSspOptions {
  return {
    username: 'svc-rdp',
    domain: 'CORP',
    password: utf16(PASSWORD),
    serverPublicKey: SERVER_PUBLIC_KEY,
    targetName: 'TERMSRV/host.example',
    workstation: 'RAP-WORKER',
    random: countingRandom(),
    nowFileTime: 133_800_000_000_000_000n,
    ...changes,
  }
}

/** The error that `action` throws; a test that expects one fails without it. */
export function thrownBy(action: () => unknown): Error & { code?: string; ntStatus?: number } {
  try {
    action()
  } catch (error) {
    if (error instanceof Error) return error
    throw new TypeError(`not an error: ${inspect(error)}`)
  }
  throw new TypeError('nothing was thrown')
}
