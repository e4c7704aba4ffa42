import { WireError } from './errors.ts'
import { FASTPATH_ACTION_FASTPATH, pduSize } from './framing.ts'

const MAX_FASTPATH_BYTES = 0x7fff

export interface FastPathPdu {
  /** Middle four bits: the number of input events, zero for output. */
  readonly numEvents: number
  readonly flags: number
  /** What follows the length, as a view. */
  readonly body: Uint8Array
}

/**
 * One whole fast-path PDU.
 *
 * Spec: [MS-RDPBCGR] §2.2.8.1.2 TS_FP_INPUT_PDU, §2.2.9.1.2 TS_FP_UPDATE_PDU.
 * Layout: header (1: action 2 bits, numEvents 4, flags 2) · length (1 or 2, bytes, whole PDU) · body.
 * Throws WireError: TRUNCATED, UNSUPPORTED_VERSION (not fast-path), INVALID_FIELD, TRAILING_BYTES.
 */
export function decodeFastPath(bytes: Uint8Array): FastPathPdu {
  const first = bytes[0] ?? 0
  if (bytes.length > 0 && (first & 0x3) !== FASTPATH_ACTION_FASTPATH) {
    throw new WireError('ERR_WIRE_UNSUPPORTED_VERSION', 'PDU is not fast-path', {
      structure: 'fpHeader',
      field: 'action',
      received: first & 0x3,
      expected: FASTPATH_ACTION_FASTPATH,
    })
  }
  const size = pduSize(bytes, 0, bytes.length)
  if (size === 0 || size > bytes.length) {
    throw new WireError('ERR_WIRE_TRUNCATED', 'input ends inside a field', {
      structure: 'fpHeader',
      field: 'length',
      received: bytes.length,
      expected: Math.max(size, bytes.length + 1),
    })
  }
  if (size < bytes.length) {
    throw new WireError('ERR_WIRE_TRAILING_BYTES', 'bytes after the end of the structure', {
      structure: 'fpHeader',
      received: bytes.length - size,
      expected: 0,
    })
  }
  const headerBytes = (bytes[1] ?? 0) < 0x80 ? 2 : 3
  return { numEvents: (first >> 2) & 0xf, flags: first >> 6, body: bytes.subarray(headerBytes) }
}

/** Throws WireError TOO_LARGE above 32767 bytes. */
export function encodeFastPath(pdu: FastPathPdu): Uint8Array {
  const first = FASTPATH_ACTION_FASTPATH | (pdu.numEvents << 2) | (pdu.flags << 6)
  const short = 2 + pdu.body.length
  if (short < 0x80) return Uint8Array.of(first, short, ...pdu.body)
  const size = 3 + pdu.body.length
  if (size > MAX_FASTPATH_BYTES) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'body does not fit a fast-path PDU', {
      structure: 'fpHeader',
      field: 'length',
      received: size,
      expected: MAX_FASTPATH_BYTES,
    })
  }
  const bytes = new Uint8Array(size)
  bytes.set([first, 0x80 | (size >> 8), size & 0xff])
  bytes.set(pdu.body, 3)
  return bytes
}
