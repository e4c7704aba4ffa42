import { Writer } from '../cursor.ts'
import { utf16 } from '../utf16.ts'
import { ALLOCATION_UNIT_BYTES } from './file-information.ts'

/** FsInformationClass. Spec: [MS-FSCC] §2.5; which of them a drive knows: [MS-RDPEFS] §2.2.3.3.6. */
const FS_CLASS = { VOLUME: 1, SIZE: 3, DEVICE: 4, ATTRIBUTE: 5, FULL_SIZE: 7 } as const

const FILE_CASE_PRESERVED_NAMES = 0x00000002
const FILE_UNICODE_ON_DISK = 0x00000004
const FILE_READ_ONLY_VOLUME = 0x00080000
const FILE_DEVICE_DISK = 0x00000007
const FILE_READ_ONLY_DEVICE = 0x00000002
const MAXIMUM_COMPONENT_UNITS = 255
const BYTES_PER_SECTOR = 512
const FILE_SYSTEM_NAME = 'RAP'
/** Every volume has one; it tells nothing. */
const VOLUME_SERIAL_NUMBER = 0x00504152

export interface VolumeFacts {
  readonly label: string
  /** FILETIME of its last change. */
  readonly changedAt: bigint
  /** What its files take together. */
  readonly allocationUnits: bigint
}

/** The buffer of a volume query: full, with no room, and read-only; undefined for a class that rdpdr has not. */
export function encodeVolumeInformation(informationClass: number, volume: VolumeFacts): Uint8Array | undefined {
  const sectorsPerUnit = ALLOCATION_UNIT_BYTES / BYTES_PER_SECTOR
  switch (informationClass) {
    case FS_CLASS.VOLUME: {
      const label = utf16(volume.label)
      return new Writer(17 + label.length)
        .u64le(volume.changedAt)
        .u32le(VOLUME_SERIAL_NUMBER)
        .u32le(label.length)
        .u8(0) // SupportsObjects
        .bytes(label)
        .finish()
    }
    case FS_CLASS.SIZE:
      return new Writer(24)
        .u64le(volume.allocationUnits)
        .u64le(0n) // AvailableAllocationUnits
        .u32le(sectorsPerUnit)
        .u32le(BYTES_PER_SECTOR)
        .finish()
    case FS_CLASS.FULL_SIZE:
      return new Writer(32)
        .u64le(volume.allocationUnits)
        .u64le(0n) // CallerAvailableAllocationUnits
        .u64le(0n) // ActualAvailableAllocationUnits
        .u32le(sectorsPerUnit)
        .u32le(BYTES_PER_SECTOR)
        .finish()
    case FS_CLASS.ATTRIBUTE: {
      const name = utf16(FILE_SYSTEM_NAME)
      return new Writer(12 + name.length)
        .u32le(FILE_CASE_PRESERVED_NAMES | FILE_UNICODE_ON_DISK | FILE_READ_ONLY_VOLUME)
        .u32le(MAXIMUM_COMPONENT_UNITS)
        .u32le(name.length)
        .bytes(name)
        .finish()
    }
    case FS_CLASS.DEVICE:
      return new Writer(8).u32le(FILE_DEVICE_DISK).u32le(FILE_READ_ONLY_DEVICE).finish()
    default:
      return undefined
  }
}
