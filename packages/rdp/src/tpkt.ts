import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'
import { TPKT_VERSION } from './framing.ts'

export const TPKT_HEADER_BYTES = 4
export const MAX_TPKT_BYTES = 65_535

/**
 * The TPDU inside one whole TPKT packet, as a view.
 *
 * Spec: RFC 1006 §6; [T.123] §8 as used by [MS-RDPBCGR] §2.2.1.1 tpktHeader.
 * Layout: version (1, always 3) · reserved (1) · length (2, big-endian, bytes, includes these 4).
 * Throws WireError: TRUNCATED, UNSUPPORTED_VERSION, INVALID_FIELD (length), TRAILING_BYTES.
 */
export function decodeTpkt(packet: Uint8Array): Uint8Array {
  const reader = new Reader(packet, 'tpktHeader')
  const version = reader.u8('version')
  if (version !== TPKT_VERSION) {
    throw new WireError('ERR_WIRE_UNSUPPORTED_VERSION', 'TPKT version is not 3', {
      structure: 'tpktHeader',
      field: 'version',
      received: version,
      expected: TPKT_VERSION,
    })
  }
  reader.skip(1, 'reserved')
  const length = reader.u16be('length')
  if (length < TPKT_HEADER_BYTES) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'length is shorter than its own header', {
      structure: 'tpktHeader',
      field: 'length',
      received: length,
      expected: TPKT_HEADER_BYTES,
    })
  }
  const tpdu = reader.take(length - TPKT_HEADER_BYTES, 'tpdu')
  reader.end()
  return tpdu
}

/** Throws WireError TOO_LARGE when header and TPDU do not fit 65535 bytes. */
export function encodeTpkt(tpdu: Uint8Array): Uint8Array {
  return writeTpktHeader(new Writer(TPKT_HEADER_BYTES + tpdu.length), tpdu.length)
    .bytes(tpdu)
    .finish()
}

/** Writes the header in front of a TPDU of `tpduBytes`, which the caller writes next. */
export function writeTpktHeader(writer: Writer, tpduBytes: number): Writer {
  const length = TPKT_HEADER_BYTES + tpduBytes
  if (length > MAX_TPKT_BYTES) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'TPDU does not fit a TPKT packet', {
      structure: 'tpktHeader',
      field: 'length',
      received: length,
      expected: MAX_TPKT_BYTES,
    })
  }
  return writer.u8(TPKT_VERSION).u8(0).u16be(length)
}
