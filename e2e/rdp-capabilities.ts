/** What the client of these tests says about itself in Confirm Active; numbers and names of [MS-RDPBCGR] §2.2.7. */
export interface ClientAbilities {
  /** Bits per pixel: 15, 16, 24 or 32. */
  readonly colorDepth: number
  readonly width: number
  readonly height: number
  /** Whether the server may send fast-path updates. */
  readonly fastPathOutput: boolean
}

const GENERAL = 1
const BITMAP = 2
const ORDER = 3
const BITMAP_CACHE = 4
const POINTER = 8
const SHARE = 9
const INPUT = 13
const FONT = 14
const BRUSH = 15
const GLYPH_CACHE = 16
const VIRTUAL_CHANNEL = 20
const MULTI_FRAGMENT = 26
const LARGE_POINTER = 27
const SURFACE_COMMANDS = 28

const FASTPATH_OUTPUT_SUPPORTED = 0x0001
const LONG_CREDENTIALS_SUPPORTED = 0x0004
const NO_BITMAP_COMPRESSION_HDR = 0x0400
/** Slow-path scan codes, fast-path input in both spellings, Unicode events. */
const INPUT_FLAGS = 0x0001 | 0x0008 | 0x0010 | 0x0020
/** NEGOTIATEORDERSUPPORT and ZEROBOUNDSDELTASSUPPORT, which every client must say, and no drawing order. */
const ORDER_FLAGS = 0x0002 | 0x0008
/** Set and stream surface bits, frame markers. */
const SURFACE_COMMAND_FLAGS = 0x02 | 0x10 | 0x40
const MAX_REQUEST_BYTES = 0x200000

/** The combined capability sets, from numberCapabilities on. */
export function clientCapabilitySets(abilities: ClientAbilities): Buffer {
  const extraFlags =
    LONG_CREDENTIALS_SUPPORTED | NO_BITMAP_COMPRESSION_HDR | (abilities.fastPathOutput ? FASTPATH_OUTPUT_SUPPORTED : 0)
  const sets = [
    set(GENERAL, u16(4, 7, 0x200, 0, 0, extraFlags, 0, 0, 0), Buffer.from([1, 1])),
    set(BITMAP, u16(abilities.colorDepth, 1, 1, 1, abilities.width, abilities.height, 0, 1, 1, 0, 1, 0)),
    set(ORDER, Buffer.alloc(20), u16(1, 20, 0, 1, 0, ORDER_FLAGS), Buffer.alloc(32), u16(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    set(BITMAP_CACHE, Buffer.alloc(24), u16(600, 256, 300, 1024, 100, 4096)),
    set(POINTER, u16(1, 20, 20)),
    set(SHARE, u16(0, 0)),
    set(INPUT, u16(INPUT_FLAGS, 0), u32(0x409, 4, 0, 12), Buffer.alloc(64)),
    set(FONT, u16(1, 0)),
    set(BRUSH, u32(0)),
    set(GLYPH_CACHE, Buffer.alloc(40), u32(0), u16(0, 0)),
    set(VIRTUAL_CHANNEL, u32(0)),
    set(MULTI_FRAGMENT, u32(MAX_REQUEST_BYTES)),
    set(LARGE_POINTER, u16(1)),
    set(SURFACE_COMMANDS, u32(SURFACE_COMMAND_FLAGS, 0)),
  ]
  return Buffer.concat([u16(sets.length, 0), ...sets])
}

function set(type: number, ...parts: readonly Buffer[]): Buffer {
  const data = Buffer.concat(parts)
  return Buffer.concat([u16(type, 4 + data.length), data])
}

export function u16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2)
  for (const [index, value] of values.entries()) bytes.writeUInt16LE(value, index * 2)
  return bytes
}

export function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32LE(value, index * 4)
  return bytes
}
