import { Reader } from '../cursor.ts'
import { WireError } from '../errors.ts'
import { PAKID_CORE, RDPDR_CTYP, readRdpdrHeader } from './header.ts'
import { type IoRequestHeader, readIoRequestHeader } from './io-request.ts'

/** CapabilityType of CAPABILITY_HEADER. Spec: [MS-RDPEFS] §2.2.1.2. */
export const CAP_TYPE = { GENERAL: 1, PRINTER: 2, PORT: 3, DRIVE: 4, SMARTCARD: 5 } as const
/** extendedPDU of GENERAL_CAPS_SET. Spec: [MS-RDPEFS] §2.2.2.7.1. */
export const EXTENDED_PDU = { DEVICE_REMOVE: 1, CLIENT_DISPLAY_NAME: 2, USER_LOGGEDON: 4 } as const
/** Bounds numCapabilities; five types are known. */
const MAX_CAPABILITIES = 32
/** CAPABILITY_HEADER: CapabilityType (2), CapabilityLength (2), Version (4). */
const CAPABILITY_HEADER_BYTES = 8

/** What a server says outside of I/O: an I/O request is cut behind its header, and `reader` stands there. */
export type RdpdrServerMessage =
  | { readonly type: 'server_announce'; readonly versionMinor: number; readonly clientId: number }
  | { readonly type: 'client_id_confirm'; readonly clientId: number }
  /** `extendedPdu` is that of the general capability set, 0 without one. */
  | { readonly type: 'capability_request'; readonly extendedPdu: number }
  | { readonly type: 'user_logged_on' }
  | { readonly type: 'device_reply'; readonly deviceId: number; readonly resultCode: number }
  | { readonly type: 'io_request'; readonly header: IoRequestHeader; readonly reader: Reader }

/**
 * Takes one whole message of a server on the channel rdpdr.
 *
 * Spec: [MS-RDPEFS] §2.2.2, §2.2.1.4. Bytes behind the end are not looked at: servers pad.
 * Throws WireError: TRUNCATED, INVALID_FIELD (CapabilityLength), TOO_LARGE (numCapabilities), UNEXPECTED_MESSAGE.
 */
export function decodeRdpdrServerMessage(message: Uint8Array): RdpdrServerMessage {
  const reader = new Reader(message, 'RDPDR_HEADER')
  const { component, packetId } = readRdpdrHeader(reader)
  if (component !== RDPDR_CTYP.CORE) throw unexpected('Component', component)
  switch (packetId) {
    case PAKID_CORE.SERVER_ANNOUNCE: {
      reader.skip(2, 'VersionMajor')
      return { type: 'server_announce', versionMinor: reader.u16le('VersionMinor'), clientId: reader.u32le('ClientId') }
    }
    case PAKID_CORE.CLIENTID_CONFIRM: {
      reader.skip(4, 'Version')
      return { type: 'client_id_confirm', clientId: reader.u32le('ClientId') }
    }
    case PAKID_CORE.SERVER_CAPABILITY:
      return { type: 'capability_request', extendedPdu: readExtendedPdu(reader) }
    case PAKID_CORE.USER_LOGGEDON:
      return { type: 'user_logged_on' }
    case PAKID_CORE.DEVICE_REPLY:
      return { type: 'device_reply', deviceId: reader.u32le('DeviceId'), resultCode: reader.u32le('ResultCode') }
    case PAKID_CORE.DEVICE_IOREQUEST:
      return { type: 'io_request', header: readIoRequestHeader(reader), reader }
    default:
      throw unexpected('PacketId', packetId)
  }
}

/** DR_CORE_CAPABILITY_REQ: numCapabilities (2) · Padding (2) · CAPABILITY_SETs. */
function readExtendedPdu(reader: Reader): number {
  const count = reader.u16le('numCapabilities')
  if (count > MAX_CAPABILITIES) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'more capability sets than the limit', {
      structure: 'DR_CORE_CAPABILITY_REQ',
      field: 'numCapabilities',
      received: count,
      expected: MAX_CAPABILITIES,
    })
  }
  reader.skip(2, 'Padding')
  let extendedPdu = 0
  for (let index = 0; index < count; index++) {
    const type = reader.u16le('CapabilityType')
    const length = reader.u16le('CapabilityLength')
    reader.skip(4, 'Version')
    if (length < CAPABILITY_HEADER_BYTES) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'capability set is shorter than its header', {
        structure: 'CAPABILITY_HEADER',
        field: 'CapabilityLength',
        received: length,
        expected: CAPABILITY_HEADER_BYTES,
      })
    }
    const data = new Reader(reader.take(length - CAPABILITY_HEADER_BYTES, 'capabilityData'), 'GENERAL_CAPS_SET')
    if (type !== CAP_TYPE.GENERAL) continue
    // osType (4), osVersion (4), protocol version (4), ioCode1 (4), ioCode2 (4)
    data.skip(20, 'osType')
    extendedPdu = data.u32le('extendedPDU')
  }
  return extendedPdu
}

function unexpected(field: string, received: number): WireError {
  return new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'message is not known', {
    structure: 'RDPDR_HEADER',
    field,
    received,
  })
}
