import { Reader } from './cursor.ts'
import { WireError } from './errors.ts'
import { PDUTYPE } from './share.ts'

/** Spec: [MS-RDPBCGR] §2.2.1.13.1.1.1 capabilitySetType; the one set that the relay changes. */
export const CAPSTYPE_VIRTUALCHANNEL = 0x14
const MAX_CAPABILITY_SETS = 128

/** One capability set: its type, and its data behind the 4-byte header as a view. */
export interface CapabilitySet {
  readonly type: number
  readonly data: Uint8Array
}

/**
 * The capability sets of a whole Demand Active or Confirm Active PDU, as views.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.13.1.1 TS_DEMAND_ACTIVE_PDU, §2.2.1.13.2.1 TS_CONFIRM_ACTIVE_PDU.
 * Throws WireError: TRUNCATED, INVALID_FIELD (length), TOO_LARGE (number of sets), UNEXPECTED_MESSAGE.
 */
export function capabilitySets(sharePdu: Uint8Array): CapabilitySet[] {
  const header = new Reader(sharePdu, 'TS_SHARECONTROLHEADER')
  header.skip(2, 'totalLength')
  const type = header.u16le('pduType') & 0xf
  header.skip(2, 'pduSource')
  if (type !== PDUTYPE.DEMANDACTIVE && type !== PDUTYPE.CONFIRMACTIVE) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'PDU carries no capability sets', {
      structure: 'TS_SHARECONTROLHEADER',
      field: 'pduType',
      received: type,
    })
  }
  const structure = type === PDUTYPE.DEMANDACTIVE ? 'TS_DEMAND_ACTIVE_PDU' : 'TS_CONFIRM_ACTIVE_PDU'
  const reader = new Reader(sharePdu, structure, header.offset)
  reader.skip(4, 'shareId')
  if (type === PDUTYPE.CONFIRMACTIVE) reader.skip(2, 'originatorId')
  const sourceBytes = reader.u16le('lengthSourceDescriptor')
  const combinedBytes = reader.u16le('lengthCombinedCapabilities')
  reader.skip(sourceBytes, 'sourceDescriptor')
  const combined = new Reader(reader.take(combinedBytes, 'capabilitySets'), structure)
  const count = combined.u16le('numberCapabilities')
  combined.skip(2, 'pad2Octets')
  if (count > MAX_CAPABILITY_SETS) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'too many capability sets', {
      structure,
      field: 'numberCapabilities',
      received: count,
      expected: MAX_CAPABILITY_SETS,
    })
  }
  const sets: CapabilitySet[] = []
  // Some stacks count a set too many, so the bytes decide, and the count only bounds.
  while (sets.length < count && combined.remaining > 0) {
    const setType = combined.u16le('capabilitySetType')
    const length = combined.u16le('lengthCapability')
    if (length < 4) {
      throw new WireError('ERR_WIRE_INVALID_FIELD', 'length is shorter than its own header', {
        structure,
        field: 'lengthCapability',
        received: length,
        expected: 4,
      })
    }
    sets.push({ type: setType, data: combined.take(length - 4, 'capabilityData') })
  }
  return sets
}

/**
 * The same PDU with the flags of its Virtual Channel Capability Set at 0, VCCAPS_NO_COMPR: neither side may compress
 * a channel that we look into. Sizes do not change.
 *
 * Spec: [MS-RDPBCGR] §2.2.7.1.10. Throws as `capabilitySets`.
 */
export function withoutChannelCompression(sharePdu: Uint8Array): Uint8Array {
  // A Buffer's slice() would be a view of the caller's bytes.
  const copy = new Uint8Array(sharePdu)
  for (const { type, data } of capabilitySets(copy)) {
    if (type === CAPSTYPE_VIRTUALCHANNEL) data.fill(0, 0, 4)
  }
  return copy
}
