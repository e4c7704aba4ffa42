import { Reader, Writer } from './cursor.ts'

/** Flags of the basic security header. Spec: [MS-RDPBCGR] §2.2.8.1.1.2.1. */
export const SEC = {
  EXCHANGE_PKT: 0x0001,
  TRANSPORT_REQ: 0x0002,
  TRANSPORT_RSP: 0x0004,
  ENCRYPT: 0x0008,
  RESET_SEQNO: 0x0010,
  IGNORE_SEQNO: 0x0020,
  INFO_PKT: 0x0040,
  LICENSE_PKT: 0x0080,
  LICENSE_ENCRYPT: 0x0200,
  REDIRECTION_PKT: 0x0400,
  SECURE_CHECKSUM: 0x0800,
  AUTODETECT_REQ: 0x1000,
  AUTODETECT_RSP: 0x2000,
  HEARTBEAT: 0x4000,
  FLAGSHI_VALID: 0x8000,
} as const

export interface SecurityHeader {
  readonly flags: number
  readonly flagsHi: number
  /** What follows, as a view. */
  readonly body: Uint8Array
}

/**
 * Basic security header: under TLS only Client Info, licensing and message channel PDUs carry one.
 *
 * Spec: [MS-RDPBCGR] §2.2.8.1.1.2.1 TS_SECURITY_HEADER. Layout: flags (2) · flagsHi (2). Throws WireError TRUNCATED.
 */
export function decodeSecurityHeader(bytes: Uint8Array): SecurityHeader {
  const reader = new Reader(bytes, 'TS_SECURITY_HEADER')
  const flags = reader.u16le('flags')
  const flagsHi = reader.u16le('flagsHi')
  return { flags, flagsHi, body: reader.take(reader.remaining, 'body') }
}

export function encodeSecurityHeader(flags: number, flagsHi = 0): Uint8Array {
  return new Writer(4).u16le(flags).u16le(flagsHi).finish()
}
