import type { Reader } from '../cursor.ts'
import { WireError } from '../errors.ts'

/** MajorFunction of DR_DEVICE_IOREQUEST. Spec: [MS-RDPEFS] §2.2.1.4. */
export const IRP_MJ = {
  CREATE: 0x00,
  CLOSE: 0x02,
  READ: 0x03,
  WRITE: 0x04,
  QUERY_INFORMATION: 0x05,
  SET_INFORMATION: 0x06,
  QUERY_VOLUME_INFORMATION: 0x0a,
  SET_VOLUME_INFORMATION: 0x0b,
  DIRECTORY_CONTROL: 0x0c,
  DEVICE_CONTROL: 0x0e,
  LOCK_CONTROL: 0x11,
} as const

const IRP_MN_QUERY_DIRECTORY = 1
const IRP_MN_NOTIFY_CHANGE_DIRECTORY = 2
/** RDP_LOWIO_OP_SHAREDLOCK to RDP_LOWIO_OP_UNLOCK_MULTIPLE. Spec: [MS-RDPEFS] §2.2.3.3.12. */
const FIRST_LOCK_OPERATION = 2
const LAST_LOCK_OPERATION = 5
/** A path is the separator, a name of at most 255 units, and what may stand around them; a longer one names nothing. */
const MAX_PATH_UNITS = 520

/** Behind RDPDR_HEADER: DeviceId (4) · FileId (4) · CompletionId (4) · MajorFunction (4) · MinorFunction (4). */
export interface IoRequestHeader {
  readonly deviceId: number
  readonly fileId: number
  readonly completionId: number
  readonly majorFunction: number
  readonly minorFunction: number
}

/**
 * What is asked of the device. INVARIANT: nothing of the message is kept but numbers and a path of at most 520 units, so that requests that
 * wait are small; a path that is longer is undefined.
 */
export type IoRequest =
  | {
      readonly type: 'create'
      readonly desiredAccess: number
      readonly createDisposition: number
      readonly createOptions: number
      readonly path: string | undefined
    }
  | { readonly type: 'close' }
  | { readonly type: 'read'; readonly length: number; readonly offset: bigint }
  | { readonly type: 'write' }
  | { readonly type: 'query_information'; readonly informationClass: number }
  | { readonly type: 'set_information'; readonly length: number }
  | { readonly type: 'query_volume'; readonly informationClass: number }
  | { readonly type: 'set_volume'; readonly length: number }
  /** `path` is there in an initial query alone. */
  | {
      readonly type: 'query_directory'
      readonly informationClass: number
      readonly isInitial: boolean
      readonly path: string | undefined
    }
  | { readonly type: 'notify' }
  | { readonly type: 'lock' }
  | { readonly type: 'control' }

/** Reads what stands between RDPDR_HEADER and the request itself. Throws WireError: TRUNCATED. */
export function readIoRequestHeader(reader: Reader): IoRequestHeader {
  return {
    deviceId: reader.u32le('DeviceId'),
    fileId: reader.u32le('FileId'),
    completionId: reader.u32le('CompletionId'),
    majorFunction: reader.u32le('MajorFunction'),
    minorFunction: reader.u32le('MinorFunction'),
  }
}

/**
 * Reads a request behind its header.
 *
 * Spec: [MS-RDPEFS] §2.2.3.3. Padding at the end may be missing, and data that would only be refused are not read.
 * Throws WireError: TRUNCATED, INVALID_FIELD (PathLength, Operation), UNEXPECTED_MESSAGE (MajorFunction, MinorFunction).
 */
export function readIoRequest(reader: Reader, header: IoRequestHeader): IoRequest {
  switch (header.majorFunction) {
    case IRP_MJ.CREATE: {
      const desiredAccess = reader.u32le('DesiredAccess')
      reader.skip(16, 'AllocationSize') // with FileAttributes (4) and SharedAccess (4)
      const createDisposition = reader.u32le('CreateDisposition')
      const createOptions = reader.u32le('CreateOptions')
      const path = readPath(reader, reader.u32le('PathLength'))
      return { type: 'create', desiredAccess, createDisposition, createOptions, path }
    }
    case IRP_MJ.CLOSE:
      return { type: 'close' }
    case IRP_MJ.READ:
      return { type: 'read', length: reader.u32le('Length'), offset: reader.u64le('Offset') }
    case IRP_MJ.WRITE:
      return { type: 'write' }
    case IRP_MJ.QUERY_INFORMATION:
      return { type: 'query_information', informationClass: reader.u32le('FsInformationClass') }
    case IRP_MJ.SET_INFORMATION:
      reader.skip(4, 'FsInformationClass')
      return { type: 'set_information', length: reader.u32le('Length') }
    case IRP_MJ.QUERY_VOLUME_INFORMATION:
      return { type: 'query_volume', informationClass: reader.u32le('FsInformationClass') }
    case IRP_MJ.SET_VOLUME_INFORMATION:
      reader.skip(4, 'FsInformationClass')
      return { type: 'set_volume', length: reader.u32le('Length') }
    case IRP_MJ.DIRECTORY_CONTROL:
      return readDirectoryControl(reader, header.minorFunction)
    case IRP_MJ.DEVICE_CONTROL:
      return { type: 'control' }
    case IRP_MJ.LOCK_CONTROL: {
      const operation = reader.u32le('Operation')
      if (operation < FIRST_LOCK_OPERATION || operation > LAST_LOCK_OPERATION) throw invalid('Operation', operation)
      return { type: 'lock' }
    }
    default:
      throw unexpected('MajorFunction', header.majorFunction)
  }
}

function readDirectoryControl(reader: Reader, minorFunction: number): IoRequest {
  if (minorFunction === IRP_MN_NOTIFY_CHANGE_DIRECTORY) return { type: 'notify' }
  if (minorFunction !== IRP_MN_QUERY_DIRECTORY) throw unexpected('MinorFunction', minorFunction)
  const informationClass = reader.u32le('FsInformationClass')
  const isInitial = reader.u8('InitialQuery') !== 0
  const pathLength = reader.u32le('PathLength')
  if (!isInitial) return { type: 'query_directory', informationClass, isInitial, path: undefined }
  if (pathLength > 0) reader.skip(23, 'Padding')
  return { type: 'query_directory', informationClass, isInitial, path: readPath(reader, pathLength) }
}

/** UTF-16LE with or without its zero. */
function readPath(reader: Reader, pathLength: number): string | undefined {
  if (pathLength % 2 !== 0) throw invalid('PathLength', pathLength)
  const bytes = reader.take(pathLength, 'Path')
  if (pathLength > MAX_PATH_UNITS * 2) return undefined
  let path = ''
  for (let at = 0; at < pathLength; at += 2) {
    path += String.fromCharCode((bytes[at] as number) | ((bytes[at + 1] as number) << 8))
  }
  return path.endsWith('\0') ? path.slice(0, -1) : path
}

function invalid(field: string, received: number): WireError {
  return new WireError('ERR_WIRE_INVALID_FIELD', 'field has no valid value', {
    structure: 'DR_DEVICE_IOREQUEST',
    field,
    received,
  })
}

function unexpected(field: string, received: number): WireError {
  return new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'request is not known', {
    structure: 'DR_DEVICE_IOREQUEST',
    field,
    received,
  })
}
