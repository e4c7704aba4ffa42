import t from 'tap'
import { Writer } from '../src/cursor.ts'
import {
  decodeExtendedInfo,
  encodeExtendedInfo,
  extendedInfoBytes,
  PERF,
  type TsExtendedInfoPacket,
} from '../src/extended-info.ts'
import { concat, hex, refuses, utf16le } from './helper.ts'

const FULL: TsExtendedInfoPacket = {
  clientAddressFamily: 2,
  clientAddress: utf16le('192.0.2.1\0'),
  clientDir: utf16le('C:\\\0'),
  clientTimeZone: new Uint8Array(172).fill(3),
  clientSessionId: 0,
  performanceFlags: PERF.DISABLE_WALLPAPER | PERF.ENABLE_FONT_SMOOTHING,
  autoReconnectCookie: new Uint8Array(28).fill(5),
  dynamicTimeZone: concat(hex('0000 0000 0c00'), utf16le('Berlin'), hex('0000')),
}

function encode(info: TsExtendedInfoPacket): Uint8Array {
  const writer = new Writer(extendedInfoBytes(info))
  encodeExtendedInfo(writer, info)
  return writer.finish()
}

t.test('a full packet round-trips, in exactly the bytes that were foretold', async t => {
  const bytes = encode(FULL)
  t.equal(bytes.length, extendedInfoBytes(FULL))
  t.same(decodeExtendedInfo(bytes), FULL)
  t.equal(extendedInfoBytes(undefined), 0)
})

t.test('a cookie has 28 bytes or none', async t => {
  t.same(decodeExtendedInfo(encode({ ...FULL, autoReconnectCookie: hex('') })).autoReconnectCookie, hex(''))
  for (const size of [27, 29]) {
    const code = size > 28 ? 'ERR_WIRE_TOO_LARGE' : 'ERR_WIRE_INVALID_FIELD'
    refuses(t, () => decodeExtendedInfo(encode({ ...FULL, autoReconnectCookie: new Uint8Array(size) })), code)
  }
})

t.test('address, directory and time zone key are bounded', async t => {
  const sizes = [
    ['clientAddress', 80],
    ['clientDir', 512],
  ] as const
  for (const [field, limit] of sizes) {
    t.equal(decodeExtendedInfo(encode({ ...FULL, [field]: new Uint8Array(limit) }))[field].length, limit)
    const longer = encode({ ...FULL, [field]: new Uint8Array(limit + 1) })
    refuses(t, () => decodeExtendedInfo(longer), 'ERR_WIRE_TOO_LARGE', field)
  }
  const key = (size: number) => concat(hex('0000 0000'), new Writer().u16le(size).finish(), new Uint8Array(size + 2))
  t.equal(decodeExtendedInfo(encode({ ...FULL, dynamicTimeZone: key(254) })).dynamicTimeZone?.length, 262)
  refuses(t, () => decodeExtendedInfo(encode({ ...FULL, dynamicTimeZone: key(256) })), 'ERR_WIRE_TOO_LARGE')
})

t.test('bytes behind the last known field are dropped', async t => {
  t.same(decodeExtendedInfo(concat(encode(FULL), hex('01 02 03'))), FULL)
})

t.test('a time zone that is cut is refused', async t => {
  const bytes = encode(FULL)
  refuses(t, () => decodeExtendedInfo(bytes.subarray(0, 6 + 20 + 8 + 171)), 'ERR_WIRE_TRUNCATED')
})
