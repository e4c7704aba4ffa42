import { type Reader, Writer } from '../cursor.ts'

/** Component of RDPDR_HEADER. Spec: [MS-RDPEFS] §2.2.1.1. */
export const RDPDR_CTYP = { CORE: 0x4472, PRN: 0x5052 } as const

/** PacketId of RDPDR_HEADER. Spec: [MS-RDPEFS] §2.2.1.1. */
export const PAKID_CORE = {
  SERVER_ANNOUNCE: 0x496e,
  CLIENTID_CONFIRM: 0x4343,
  CLIENT_NAME: 0x434e,
  DEVICELIST_ANNOUNCE: 0x4441,
  DEVICE_REPLY: 0x6472,
  DEVICE_IOREQUEST: 0x4952,
  DEVICE_IOCOMPLETION: 0x4943,
  SERVER_CAPABILITY: 0x5350,
  CLIENT_CAPABILITY: 0x4350,
  DEVICELIST_REMOVE: 0x444d,
  USER_LOGGEDON: 0x554c,
} as const

export interface RdpdrHeader {
  readonly component: number
  readonly packetId: number
}

/** Reads RDPDR_HEADER: Component (2) · PacketId (2). Throws WireError: TRUNCATED. */
export function readRdpdrHeader(reader: Reader): RdpdrHeader {
  return { component: reader.u16le('Component'), packetId: reader.u16le('PacketId') }
}

/** A writer that has the header of a core message. */
export function coreMessage(packetId: number, capacity: number): Writer {
  return new Writer(capacity).u16le(RDPDR_CTYP.CORE).u16le(packetId)
}
