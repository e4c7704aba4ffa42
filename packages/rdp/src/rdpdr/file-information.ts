import { Writer } from '../cursor.ts'
import type { DriveFile } from '../relay/types.ts'
import { utf16 } from '../utf16.ts'

/** What is told of one file, or of the root. */
export interface FileFacts {
  readonly name: string
  readonly isDirectory: boolean
  readonly size: number
  /** Milliseconds of the Unix epoch. */
  readonly modifiedAt: number
}

/** FileInformationClass of queries. Spec: [MS-FSCC] §2.4; which of them a drive knows: [MS-RDPEFS] §2.2.3.3.8. */
const FILE_CLASS = { BASIC: 0x04, STANDARD: 0x05, ATTRIBUTE_TAG: 0x23 } as const
/** FileInformationClass of directory queries. Spec: [MS-RDPEFS] §2.2.3.3.10. */
const DIRECTORY_CLASS = { DIRECTORY: 0x01, FULL: 0x02, BOTH: 0x03, NAMES: 0x0c } as const

const FILE_ATTRIBUTE_DIRECTORY = 0x10
/**
 * A file has no attribute, not even FILE_ATTRIBUTE_READONLY: copies take the attribute with them, and a person could not
 * edit the copy. That nothing can be written here is said of the volume.
 */
const FILE_ATTRIBUTE_NORMAL = 0x80
/** Bytes of one allocation unit: what a file takes is a multiple of it. */
export const ALLOCATION_UNIT_BYTES = 4096
/** FILETIME of the Unix epoch, in units of 100 ns since 1601. */
const UNIX_EPOCH_FILETIME = 116_444_736_000_000_000n
const NO_TIME = 0n

export function factsOf({ name, size, modifiedAt }: DriveFile): FileFacts {
  return { name, isDirectory: false, size, modifiedAt }
}

/** Allocation units of a file. */
export function allocationUnits(size: number): bigint {
  return (BigInt(size) + BigInt(ALLOCATION_UNIT_BYTES - 1)) / BigInt(ALLOCATION_UNIT_BYTES)
}

/** A FILETIME; zero, which means that none is known, for what cannot be one. */
export function fileTime(milliseconds: number): bigint {
  if (!Number.isFinite(milliseconds) || milliseconds < 0) return NO_TIME
  return UNIX_EPOCH_FILETIME + BigInt(Math.trunc(milliseconds)) * 10_000n
}

/** The buffer of a file query, without the Reserved fields that rdpdr leaves out; undefined for a class that it has not. */
export function encodeFileInformation(informationClass: number, facts: FileFacts): Uint8Array | undefined {
  switch (informationClass) {
    case FILE_CLASS.BASIC:
      return writeTimes(new Writer(36), facts).u32le(attributes(facts)).finish()
    case FILE_CLASS.STANDARD:
      return writeSizes(new Writer(22), facts, 'allocation')
        .u32le(1) // NumberOfLinks
        .u8(0) // DeletePending
        .u8(facts.isDirectory ? 1 : 0)
        .finish()
    case FILE_CLASS.ATTRIBUTE_TAG:
      return new Writer(8).u32le(attributes(facts)).u32le(0).finish()
    default:
      return undefined
  }
}

/** One entry of a directory query; undefined for a class that rdpdr has not. */
export function encodeDirectoryEntry(informationClass: number, facts: FileFacts): Uint8Array | undefined {
  const name = utf16(facts.name)
  const writer = new Writer(93 + name.length)
    .u32le(0) // NextEntryOffset: one entry an answer
    .u32le(0) // FileIndex
  if (informationClass === DIRECTORY_CLASS.NAMES) return writer.u32le(name.length).bytes(name).finish()
  writeSizes(writeTimes(writer, facts), facts, 'end_of_file').u32le(attributes(facts)).u32le(name.length)
  switch (informationClass) {
    case DIRECTORY_CLASS.DIRECTORY:
      return writer.bytes(name).finish()
    case DIRECTORY_CLASS.FULL:
      return writer.u32le(0).bytes(name).finish() // EaSize
    case DIRECTORY_CLASS.BOTH:
      return writer.u32le(0).u8(0).zeros(24).bytes(name).finish() // EaSize, ShortNameLength, ShortName
    default:
      return undefined
  }
}

/** CreationTime, LastAccessTime, LastWriteTime, ChangeTime: a file that never changes has one time. */
function writeTimes(writer: Writer, facts: FileFacts): Writer {
  const time = fileTime(facts.modifiedAt)
  return writer.u64le(time).u64le(time).u64le(time).u64le(time)
}

/** AllocationSize and EndOfFile; the two kinds of structure have them in a different order. */
function writeSizes(writer: Writer, facts: FileFacts, first: 'allocation' | 'end_of_file'): Writer {
  const allocation = allocationUnits(facts.size) * BigInt(ALLOCATION_UNIT_BYTES)
  const endOfFile = BigInt(facts.size)
  return first === 'allocation' ? writer.u64le(allocation).u64le(endOfFile) : writer.u64le(endOfFile).u64le(allocation)
}

function attributes(facts: FileFacts): number {
  return facts.isDirectory ? FILE_ATTRIBUTE_DIRECTORY : FILE_ATTRIBUTE_NORMAL
}
