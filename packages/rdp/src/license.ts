import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'
import { SEC } from './security-header.ts'

/** bMsgType. Spec: [MS-RDPBCGR] §2.2.1.12.1.1; [MS-RDPELE] §2.2.2. */
export const LICENSE_MESSAGE = {
  LICENSE_REQUEST: 0x01,
  PLATFORM_CHALLENGE: 0x02,
  NEW_LICENSE: 0x03,
  UPGRADE_LICENSE: 0x04,
  LICENSE_INFO: 0x12,
  NEW_LICENSE_REQUEST: 0x13,
  PLATFORM_CHALLENGE_RESPONSE: 0x15,
  ERROR_ALERT: 0xff,
} as const

/** Spec: [MS-RDPBCGR] §2.2.1.12.1.3 dwErrorCode; with ST_NO_TRANSITION it ends licensing successfully. */
export const STATUS_VALID_CLIENT = 7
export const ST_NO_TRANSITION = 2

const PREAMBLE_BYTES = 4
/** Preamble version 3 of RDP 5 and later. */
const PREAMBLE_VERSION_3 = 0x03

/** A licensing message as far as a relay must know it. */
export interface LicenseMessage {
  readonly messageType: number
  readonly flags: number
  /** There when messageType is ERROR_ALERT. */
  readonly errorCode?: number
  readonly stateTransition?: number
}

/**
 * Takes what follows the security header (SEC_LICENSE_PKT); bodies other than an error alert are not looked into.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.12.1.1 LICENSE_PREAMBLE: bMsgType (1) · flags (1) · wMsgSize (2, bytes, preamble included).
 * Bytes behind wMsgSize are left alone, as clients do. Throws WireError: TRUNCATED, INVALID_FIELD (size).
 */
export function decodeLicenseMessage(bytes: Uint8Array): LicenseMessage {
  const reader = new Reader(bytes, 'LICENSE_PREAMBLE')
  const messageType = reader.u8('bMsgType')
  const flags = reader.u8('flags')
  const size = reader.u16le('wMsgSize')
  if (size < PREAMBLE_BYTES) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'length is shorter than its own header', {
      structure: 'LICENSE_PREAMBLE',
      field: 'wMsgSize',
      received: size,
      expected: PREAMBLE_BYTES,
    })
  }
  const body = new Reader(reader.take(size - PREAMBLE_BYTES, 'body'), 'LICENSE_ERROR_MESSAGE')
  if (messageType !== LICENSE_MESSAGE.ERROR_ALERT) return { messageType, flags }
  return {
    messageType,
    flags,
    errorCode: body.u32le('dwErrorCode'),
    stateTransition: body.u32le('dwStateTransition'),
  }
}

/**
 * Whether the user data of an MCS message is a security header with a licensing message that fills it.
 *
 * flagsHi says nothing: xrdp writes the size into it.
 */
export function looksLikeLicenseMessage(userData: Uint8Array): boolean {
  if (userData.length < 4 + PREAMBLE_BYTES) return false
  const flags = (userData[0] as number) | ((userData[1] as number) << 8)
  const size = (userData[6] as number) | ((userData[7] as number) << 8)
  return (flags & ~SEC.LICENSE_ENCRYPT) === SEC.LICENSE_PKT && size === userData.length - 4
}

/** License Error PDU - Valid Client, without a security header. Spec: [MS-RDPBCGR] §2.2.1.12. */
export function encodeLicenseValidClient(): Uint8Array {
  return new Writer(16)
    .u8(LICENSE_MESSAGE.ERROR_ALERT)
    .u8(PREAMBLE_VERSION_3)
    .u16le(16)
    .u32le(STATUS_VALID_CLIENT)
    .u32le(ST_NO_TRANSITION)
    .u16le(4) // bbErrorInfo: BB_ERROR_BLOB, empty
    .u16le(0)
    .finish()
}
