import { WireError } from './errors.ts'

/** Low two bits of a fast-path header; slow-path PDUs begin with the TPKT version, 3. */
export const FASTPATH_ACTION_FASTPATH = 0x0
export const TPKT_VERSION = 3
/** TPKT header (4) and X.224 data header (3): the least that a slow-path PDU can be. */
const MIN_TPKT_BYTES = 7

/**
 * Size in bytes of the PDU that starts at `bytes[start]`, or 0 while fewer than its length bytes lie before `end`.
 *
 * Spec: RFC 1006 §6 (TPKT); [MS-RDPBCGR] §2.2.8.1.2 and §2.2.9.1.2 (fast-path, where the length is 1 or 2 bytes).
 * INVARIANT: 7 <= TPKT size <= 65535; 3 <= fast-path size <= 32767.
 * Throws WireError: UNSUPPORTED_VERSION (first byte), INVALID_FIELD (length shorter than its own header).
 */
export function pduSize(bytes: Uint8Array, start: number, end: number): number {
  const available = end - start
  if (available < 1) return 0
  const first = bytes[start] as number
  if (first === TPKT_VERSION) {
    if (available < 4) return 0
    const size = ((bytes[start + 2] as number) << 8) | (bytes[start + 3] as number)
    if (size < MIN_TPKT_BYTES) throw badLength('tpktHeader', size, MIN_TPKT_BYTES)
    return size
  }
  if ((first & 0x3) !== FASTPATH_ACTION_FASTPATH) {
    throw new WireError('ERR_WIRE_UNSUPPORTED_VERSION', 'PDU is neither TPKT nor fast-path', {
      structure: 'tpktHeader',
      field: 'version',
      received: first,
      expected: TPKT_VERSION,
    })
  }
  if (available < 2) return 0
  const length1 = bytes[start + 1] as number
  if (length1 < 0x80) {
    if (length1 < 3) throw badLength('fpHeader', length1, 3)
    return length1
  }
  if (available < 3) return 0
  const size = ((length1 & 0x7f) << 8) | (bytes[start + 2] as number)
  if (size < 4) throw badLength('fpHeader', size, 4)
  return size
}

function badLength(structure: string, received: number, expected: number): WireError {
  return new WireError('ERR_WIRE_INVALID_FIELD', 'length is shorter than its own header', {
    structure,
    field: 'length',
    received,
    expected,
  })
}
