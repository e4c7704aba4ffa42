import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** Spec: [MS-RDPBCGR] §2.2.10.1.1 infoType. */
export const INFOTYPE = { LOGON: 0, LOGON_LONG: 1, LOGON_PLAINNOTIFY: 2, LOGON_EXTENDED_INFO: 3 } as const

/** Spec: [MS-RDPBCGR] §2.2.10.1.1.4 FieldsPresent. */
export const LOGON_EX = { AUTORECONNECTCOOKIE: 0x1, LOGONERRORS: 0x2 } as const

const PLAIN_NOTIFY_PAD_BYTES = 576
const LOGON_LONG_PAD_BYTES = 558
const EXTENDED_PAD_BYTES = 570
const DOMAIN_BYTES = 52
const USER_NAME_BYTES = 512
const COOKIE_BYTES = 28
/** Bounds what a server can make us keep of one name, in bytes. */
const MAX_NAME_BYTES = 1024

/** Spec: [MS-RDPBCGR] §2.2.10.1.1.4.1.1 TS_LOGON_ERRORS_INFO. */
export interface LogonErrorsInfo {
  readonly errorNotificationType: number
  readonly errorNotificationData: number
}

/** Names are raw UTF-16LE with their terminator. */
export type SaveSessionInfo =
  | {
      readonly infoType: 0 | 1
      readonly domain: Uint8Array
      readonly userName: Uint8Array
      readonly sessionId: number
    }
  | { readonly infoType: 2 }
  | {
      readonly infoType: 3
      /** 28 bytes of ARC_SC_PRIVATE_PACKET: whoever has it can take the session over without a password. */
      readonly autoReconnectCookie?: Uint8Array
      readonly logonErrors?: LogonErrorsInfo
    }

/**
 * Takes what follows the share data header. Padding may be missing or short, as servers differ.
 *
 * Spec: [MS-RDPBCGR] §2.2.10.1.1 TS_SAVE_SESSION_INFO_PDU_DATA.
 * Throws WireError: TRUNCATED, INVALID_FIELD, TOO_LARGE, UNEXPECTED_MESSAGE (infoType).
 */
export function decodeSaveSessionInfo(body: Uint8Array): SaveSessionInfo {
  const reader = new Reader(body, 'TS_SAVE_SESSION_INFO_PDU_DATA')
  const infoType = reader.u32le('infoType')
  switch (infoType) {
    case INFOTYPE.LOGON: {
      const cbDomain = boundedSize(reader, 'cbDomain', DOMAIN_BYTES)
      const domain = reader.take(DOMAIN_BYTES, 'Domain').subarray(0, cbDomain)
      const cbUserName = boundedSize(reader, 'cbUserName', USER_NAME_BYTES)
      const userName = reader.take(USER_NAME_BYTES, 'UserName').subarray(0, cbUserName)
      return { infoType, domain, userName, sessionId: reader.u32le('SessionId') }
    }
    case INFOTYPE.LOGON_LONG: {
      reader.skip(6, 'Version, Size')
      const sessionId = reader.u32le('SessionId')
      const cbDomain = boundedSize(reader, 'cbDomain', MAX_NAME_BYTES)
      const cbUserName = boundedSize(reader, 'cbUserName', MAX_NAME_BYTES)
      reader.skip(LOGON_LONG_PAD_BYTES, 'Pad')
      const domain = reader.take(cbDomain, 'Domain')
      return { infoType, domain, userName: reader.take(cbUserName, 'UserName'), sessionId }
    }
    case INFOTYPE.LOGON_PLAINNOTIFY:
      return { infoType }
    case INFOTYPE.LOGON_EXTENDED_INFO:
      return readExtended(reader)
    default:
      throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'information type is not known', {
        structure: reader.structure,
        field: 'infoType',
        received: infoType,
      })
  }
}

/** What follows the share data header. */
export function encodeSaveSessionInfo(info: SaveSessionInfo): Uint8Array {
  const writer = new Writer(640).u32le(info.infoType)
  switch (info.infoType) {
    case INFOTYPE.LOGON:
      if (info.domain.length > DOMAIN_BYTES || info.userName.length > USER_NAME_BYTES) {
        throw new TypeError('name does not fit its field')
      }
      writer
        .u32le(info.domain.length)
        .bytes(info.domain)
        .zeros(DOMAIN_BYTES - info.domain.length)
      writer
        .u32le(info.userName.length)
        .bytes(info.userName)
        .zeros(USER_NAME_BYTES - info.userName.length)
      writer.u32le(info.sessionId)
      break
    case INFOTYPE.LOGON_LONG:
      // Size counts the fixed fields without the padding: that is what Windows writes, [MS-RDPBCGR] §4.3.1.
      writer.u16le(1).u32le(18).u32le(info.sessionId).u32le(info.domain.length).u32le(info.userName.length)
      writer.zeros(LOGON_LONG_PAD_BYTES).bytes(info.domain).bytes(info.userName)
      break
    case INFOTYPE.LOGON_PLAINNOTIFY:
      writer.zeros(PLAIN_NOTIFY_PAD_BYTES)
      break
    default:
      writeExtended(writer, info)
  }
  return writer.finish()
}

export interface ScrubbedSessionInfo {
  readonly infoType: number
  readonly logonErrors?: LogonErrorsInfo
  /** What the client may get in its place; undefined when nothing is left to tell. */
  readonly body?: Uint8Array
}

/**
 * Leaves of a Save Session Info body what a client may learn: that somebody logged on, and logon errors; no names, no
 * session id, no auto-reconnect cookie.
 *
 * Throws WireError when the body is too short for its type, or extended information is malformed.
 */
export function scrubSaveSessionInfo(body: Uint8Array): ScrubbedSessionInfo {
  const infoType = new Reader(body, 'TS_SAVE_SESSION_INFO_PDU_DATA').u32le('infoType')
  switch (infoType) {
    case INFOTYPE.LOGON:
    case INFOTYPE.LOGON_LONG:
    case INFOTYPE.LOGON_PLAINNOTIFY:
      // Nothing of the old body is kept, so it need not be well-formed.
      return { infoType, body: encodeSaveSessionInfo({ infoType: INFOTYPE.LOGON_PLAINNOTIFY }) }
    case INFOTYPE.LOGON_EXTENDED_INFO: {
      const info = decodeSaveSessionInfo(body)
      if (info.infoType !== INFOTYPE.LOGON_EXTENDED_INFO || info.logonErrors === undefined) return { infoType }
      const { logonErrors } = info
      return { infoType, logonErrors, body: encodeSaveSessionInfo({ infoType: 3, logonErrors }) }
    }
    default:
      return { infoType }
  }
}

function readExtended(reader: Reader): SaveSessionInfo {
  reader.skip(2, 'Length')
  const fieldsPresent = reader.u32le('FieldsPresent')
  const info: { infoType: 3; autoReconnectCookie?: Uint8Array; logonErrors?: LogonErrorsInfo } = { infoType: 3 }
  if ((fieldsPresent & LOGON_EX.AUTORECONNECTCOOKIE) !== 0) {
    info.autoReconnectCookie = reader.take(exactSize(reader, COOKIE_BYTES), 'autoReconnectCookie')
  }
  if ((fieldsPresent & LOGON_EX.LOGONERRORS) !== 0) {
    exactSize(reader, 8)
    info.logonErrors = {
      errorNotificationType: reader.u32le('ErrorNotificationType'),
      errorNotificationData: reader.u32le('ErrorNotificationData'),
    }
  }
  return info
}

function writeExtended(writer: Writer, info: SaveSessionInfo & { infoType: 3 }): void {
  const { autoReconnectCookie: cookie, logonErrors: errors } = info
  const fields = (cookie === undefined ? 0 : LOGON_EX.AUTORECONNECTCOOKIE) | (errors ? LOGON_EX.LOGONERRORS : 0)
  const length = 6 + (cookie === undefined ? 0 : 4 + COOKIE_BYTES) + (errors ? 12 : 0)
  writer.u16le(length).u32le(fields)
  if (cookie !== undefined) {
    if (cookie.length !== COOKIE_BYTES) throw new TypeError('cookie is not 28 bytes')
    writer.u32le(COOKIE_BYTES).bytes(cookie)
  }
  if (errors) writer.u32le(8).u32le(errors.errorNotificationType).u32le(errors.errorNotificationData)
  writer.zeros(EXTENDED_PAD_BYTES)
}

function boundedSize(reader: Reader, field: string, limit: number): number {
  const size = reader.u32le(field)
  if (size <= limit) return size
  throw new WireError('ERR_WIRE_TOO_LARGE', 'name is longer than its field', {
    structure: reader.structure,
    field,
    received: size,
    expected: limit,
  })
}

function exactSize(reader: Reader, expected: number): number {
  const size = reader.u32le('cbFieldData')
  if (size === expected) return size
  throw new WireError('ERR_WIRE_INVALID_FIELD', 'field has another size', {
    structure: reader.structure,
    field: 'cbFieldData',
    received: size,
    expected,
  })
}
