import { Reader, Writer } from '../cursor.ts'
import { CB, encodeCliprdrPdu } from './pdu.ts'

/** Standard clipboard formats: those that Windows puts beside every text, and the one that carries it. */
export const CF = { TEXT: 1, OEMTEXT: 7, UNICODETEXT: 13, LOCALE: 16 } as const

/** Bytes of wszFormatName or asciiFormatName in CLIPRDR_SHORT_FORMAT_NAME. */
const SHORT_NAME_BYTES = 32

/** Bytes of CLIPRDR_SHORT_FORMAT_NAME. */
const SHORT_ENTRY_BYTES = 4 + SHORT_NAME_BYTES

/** Whether a list of so many bytes can be one of short names. */
export function mayHaveShortNames(bytes: number): boolean {
  return bytes % SHORT_ENTRY_BYTES === 0
}

/** How the names of a Format List PDU are written. */
export interface FormatNames {
  /** Both sides have said CB_USE_LONG_FORMAT_NAMES. */
  readonly long: boolean
  /** CB_ASCII_NAMES in msgFlags: one byte a letter instead of two. */
  readonly ascii: boolean
}

/**
 * The format ids of a Format List PDU; the names are stepped over.
 *
 * Spec: [MS-RDPECLIP] §2.2.3.1.1 CLIPRDR_SHORT_FORMAT_NAMES: formatId (4) · name (32). §2.2.3.1.2 CLIPRDR_LONG_FORMAT_NAMES: formatId (4) · name up to its zero.
 * Throws WireError: TRUNCATED.
 */
export function* decodeFormatIds(data: Uint8Array, { long, ascii }: FormatNames): Generator<number> {
  const reader = new Reader(data, 'CLIPRDR_FORMAT_LIST')
  while (reader.remaining > 0) {
    const formatId = reader.u32le('formatId')
    if (!long) reader.skip(SHORT_NAME_BYTES, 'formatName')
    else if (ascii) while (reader.u8('wszFormatName') !== 0);
    else while (reader.u16le('wszFormatName') !== 0);
    yield formatId
  }
}

/** A whole Format List PDU of standard formats, which have no names. */
export function encodeFormatList(formatIds: readonly number[], { long }: Pick<FormatNames, 'long'>): Uint8Array {
  const nameBytes = long ? 2 : SHORT_NAME_BYTES
  const writer = new Writer(formatIds.length * (4 + nameBytes))
  for (const id of formatIds) writer.u32le(id).zeros(nameBytes)
  return encodeCliprdrPdu({ msgType: CB.FORMAT_LIST, msgFlags: 0, data: writer.finish() })
}
