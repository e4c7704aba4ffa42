import { Reader, Writer } from '../cursor.ts'
import { WireError } from '../errors.ts'

/** Types of settings blocks that a client sends. Spec: [MS-RDPBCGR] §2.2.1.3.1. */
export const CS = {
  CORE: 0xc001,
  SECURITY: 0xc002,
  NET: 0xc003,
  CLUSTER: 0xc004,
  MONITOR: 0xc005,
  MCS_MSGCHANNEL: 0xc006,
  MONITOR_EX: 0xc008,
  MULTITRANSPORT: 0xc00a,
} as const

/** Types of settings blocks that a server sends. Spec: [MS-RDPBCGR] §2.2.1.4.1. */
export const SC = {
  CORE: 0x0c01,
  SECURITY: 0x0c02,
  NET: 0x0c03,
  MCS_MSGCHANNEL: 0x0c04,
  MULTITRANSPORT: 0x0c08,
} as const

/** One settings block; types that we don't know are kept as they came. */
export interface UserDataBlock {
  readonly type: number
  /** Without the 4-byte header. */
  readonly data: Uint8Array
}

const HEADER_BYTES = 4
/** Eight client blocks are defined; more than four times as many are an attack on our memory. */
const MAX_BLOCKS = 32

/**
 * Splits settings into blocks, as views.
 *
 * Spec: [MS-RDPBCGR] §2.2.1.3.1 TS_UD_HEADER. Layout: type (2) · length (2, bytes, includes these 4) · data.
 * Throws WireError: TRUNCATED, INVALID_FIELD (length, a type twice), TOO_LARGE (number of blocks).
 */
export function decodeUserDataBlocks(bytes: Uint8Array): UserDataBlock[] {
  const reader = new Reader(bytes, 'TS_UD_HEADER')
  const blocks: UserDataBlock[] = []
  const seen = new Set<number>()
  while (reader.remaining > 0) {
    const type = reader.u16le('type')
    const length = reader.u16le('length')
    if (length < HEADER_BYTES) throw invalid('length', length, HEADER_BYTES)
    // Two blocks of one type could be read differently by us and by the other side.
    if (seen.has(type)) throw invalid('type', type)
    if (blocks.length === MAX_BLOCKS) {
      throw new WireError('ERR_WIRE_TOO_LARGE', 'too many settings blocks', {
        structure: 'TS_UD_HEADER',
        received: MAX_BLOCKS + 1,
        expected: MAX_BLOCKS,
      })
    }
    seen.add(type)
    blocks.push({ type, data: reader.take(length - HEADER_BYTES, 'data') })
  }
  return blocks
}

export function encodeUserDataBlocks(blocks: readonly UserDataBlock[]): Uint8Array {
  const writer = new Writer(512)
  for (const { type, data } of blocks) {
    writer
      .u16le(type)
      .u16le(HEADER_BYTES + data.length)
      .bytes(data)
  }
  return writer.finish()
}

function invalid(field: string, received: number, expected?: number): WireError {
  const facts = { structure: 'TS_UD_HEADER', field, received }
  return new WireError(
    'ERR_WIRE_INVALID_FIELD',
    expected === undefined ? 'settings block occurs twice' : 'length is shorter than its own header',
    expected === undefined ? facts : { ...facts, expected },
  )
}
