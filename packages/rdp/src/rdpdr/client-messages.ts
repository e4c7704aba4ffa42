import { utf16 } from '../utf16.ts'
import { coreMessage, PAKID_CORE } from './header.ts'
import { CAP_TYPE, EXTENDED_PDU } from './server-messages.ts'

/** Versions 1.12: I/O and capabilities as every Windows since Vista has them. Spec: [MS-RDPEFS] §2.2.2.3. */
const VERSION_MAJOR = 1
const VERSION_MINOR = 12
/** All requests that are "unused, always set", and neither of the two for security descriptors. Spec: §2.2.2.7.1. */
const IO_CODES = 0x00003fff
const GENERAL_CAPABILITY_VERSION_02 = 2
const GENERAL_CAPS_SET_BYTES = 44
const DRIVE_CAPABILITY_VERSION_02 = 2
const DRIVE_CAPS_SET_BYTES = 8
const RDPDR_DTYP_FILESYSTEM = 0x00000008
const PREFERRED_DOS_NAME_BYTES = 8

/** Client Announce Reply. Spec: [MS-RDPEFS] §2.2.2.3. */
export function encodeClientAnnounceReply(clientId: number): Uint8Array {
  return coreMessage(PAKID_CORE.CLIENTID_CONFIRM, 12).u16le(VERSION_MAJOR).u16le(VERSION_MINOR).u32le(clientId).finish()
}

/** Client Name Request, in UTF-16LE. Spec: [MS-RDPEFS] §2.2.2.4. */
export function encodeClientName(computerName: string): Uint8Array {
  const name = utf16(`${computerName}\0`)
  return coreMessage(PAKID_CORE.CLIENT_NAME, 16 + name.length)
    .u32le(1) // UnicodeFlag
    .u32le(0) // CodePage
    .u32le(name.length)
    .bytes(name)
    .finish()
}

/**
 * Client Core Capability Response with the least that a drive needs: the general set and the drive set.
 *
 * Spec: [MS-RDPEFS] §2.2.2.8, §2.2.2.7.1, §2.2.2.7.4. No ENABLE_ASYNCIO: reads of one file come one by one.
 */
export function encodeClientCapabilities(): Uint8Array {
  return coreMessage(PAKID_CORE.CLIENT_CAPABILITY, 60)
    .u16le(2) // numCapabilities
    .u16le(0) // Padding
    .u16le(CAP_TYPE.GENERAL)
    .u16le(GENERAL_CAPS_SET_BYTES)
    .u32le(GENERAL_CAPABILITY_VERSION_02)
    .u32le(0) // osType, ignored
    .u32le(0) // osVersion
    .u16le(VERSION_MAJOR)
    .u16le(VERSION_MINOR)
    .u32le(IO_CODES)
    .u32le(0) // ioCode2
    .u32le(EXTENDED_PDU.DEVICE_REMOVE | EXTENDED_PDU.CLIENT_DISPLAY_NAME | EXTENDED_PDU.USER_LOGGEDON)
    .u32le(0) // extraFlags1
    .u32le(0) // extraFlags2
    .u32le(0) // SpecialTypeDeviceCap
    .u16le(CAP_TYPE.DRIVE)
    .u16le(DRIVE_CAPS_SET_BYTES)
    .u32le(DRIVE_CAPABILITY_VERSION_02)
    .finish()
}

/**
 * Client Device List Announce with one file system device.
 *
 * Spec: [MS-RDPEFS] §2.2.3.1, §2.2.1.3. `name` is ASCII. PreferredDosName takes seven characters and a zero. DeviceData has the
 * whole name and a zero, one byte a character: the specification says Unicode, but Windows reads bytes, and every client
 * that is known to work with it (FreeRDP, rdesktop, IronRDP) sends them.
 */
export function encodeDeviceListAnnounce(deviceId: number, name: string): Uint8Array {
  const data = new TextEncoder().encode(`${name}\0`)
  const dosName = new Uint8Array(PREFERRED_DOS_NAME_BYTES)
  dosName.set(data.subarray(0, Math.min(data.length, PREFERRED_DOS_NAME_BYTES) - 1))
  return coreMessage(PAKID_CORE.DEVICELIST_ANNOUNCE, 28 + data.length)
    .u32le(1) // DeviceCount
    .u32le(RDPDR_DTYP_FILESYSTEM)
    .u32le(deviceId)
    .bytes(dosName)
    .u32le(data.length)
    .bytes(data)
    .finish()
}

/** Client Drive Device List Remove with one device. Spec: [MS-RDPEFS] §2.2.3.2. */
export function encodeDeviceListRemove(deviceId: number): Uint8Array {
  return coreMessage(PAKID_CORE.DEVICELIST_REMOVE, 12).u32le(1).u32le(deviceId).finish()
}
