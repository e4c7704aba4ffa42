import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'
import { CB, encodeCliprdrPdu } from './pdu.ts'

const CAPSTYPE_GENERAL = 0x0001
const GENERAL_BYTES = 12

/** generalFlags. Spec: [MS-RDPECLIP] §2.2.2.1.1.1. */
export const CB_GENERAL = {
  USE_LONG_FORMAT_NAMES: 0x00000002,
  STREAM_FILECLIP_ENABLED: 0x00000004,
  FILECLIP_NO_FILE_PATHS: 0x00000008,
  CAN_LOCK_CLIPDATA: 0x00000010,
  HUGE_FILE_SUPPORT_ENABLED: 0x00000020,
} as const

/** What one side says of itself in its General Capability Set. */
export interface ClipboardCapabilities {
  readonly version: number
  readonly generalFlags: number
}

/** What holds for a side that sends no general set. Spec: [MS-RDPECLIP] §2.2.2.1. */
export const NO_CLIPBOARD_CAPABILITIES: ClipboardCapabilities = { version: 1, generalFlags: 0 }

/**
 * The General Capability Set of a Clipboard Capabilities PDU; of several the last one counts.
 *
 * Spec: [MS-RDPECLIP] §2.2.2.1. Layout of the data: cCapabilitiesSets (2) · pad1 (2) · sets of capabilitySetType (2) · lengthCapability (2) · rest.
 * Throws WireError: TRUNCATED, INVALID_FIELD (lengthCapability).
 */
export function decodeClipboardCapabilities(data: Uint8Array): ClipboardCapabilities {
  const reader = new Reader(data, 'CLIPRDR_CAPS')
  const count = reader.u16le('cCapabilitiesSets')
  reader.skip(2, 'pad1')
  let capabilities = NO_CLIPBOARD_CAPABILITIES
  for (let index = 0; index < count; index++) {
    const type = reader.u16le('capabilitySetType')
    const length = reader.u16le('lengthCapability')
    if (length < (type === CAPSTYPE_GENERAL ? GENERAL_BYTES : 4)) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'capability set is shorter than its fields', {
        structure: 'CLIPRDR_CAPS_SET',
        field: 'lengthCapability',
        received: length,
      })
    }
    const set = new Reader(reader.take(length - 4, 'capabilityData'), 'CLIPRDR_GENERAL_CAPABILITY')
    if (type !== CAPSTYPE_GENERAL) continue
    capabilities = { version: set.u32le('version'), generalFlags: set.u32le('generalFlags') }
  }
  return capabilities
}

/** A whole Clipboard Capabilities PDU with one General Capability Set. */
export function encodeClipboardCapabilities({ version, generalFlags }: ClipboardCapabilities): Uint8Array {
  const data = new Writer(4 + GENERAL_BYTES)
    .u16le(1) // cCapabilitiesSets
    .u16le(0) // pad1
    .u16le(CAPSTYPE_GENERAL)
    .u16le(GENERAL_BYTES)
    .u32le(version)
    .u32le(generalFlags)
    .finish()
  return encodeCliprdrPdu({ msgType: CB.CLIP_CAPS, msgFlags: 0, data })
}
