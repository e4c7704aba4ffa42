import t from 'tap'
import { CS, decodeUserDataBlocks, encodeUserDataBlocks } from '../../src/gcc/blocks.ts'
import { decodeConferenceCreateRequest } from '../../src/gcc/conference.ts'
import { decodeMcsConnectInitial } from '../../src/mcs/connect.ts'
import { concat, hex, refuses, refusesPrefixes, vector } from '../helper.ts'

const SETTINGS = decodeConferenceCreateRequest(
  decodeMcsConnectInitial(vector('mcs-connect-initial').subarray(7)).userData,
)

t.test('the client settings of [MS-RDPBCGR] §4.1.3 are four blocks and round-trip to the byte', async t => {
  const blocks = decodeUserDataBlocks(SETTINGS)
  t.same(
    blocks.map(({ type, data }) => [type, data.length]),
    [
      [CS.CORE, 212],
      [CS.CLUSTER, 8],
      [CS.SECURITY, 8],
      [CS.NET, 40],
    ],
  )
  t.same(encodeUserDataBlocks(blocks), SETTINGS)
})

t.test('every prefix that does not end between blocks is refused', async t => {
  refusesPrefixes(t, SETTINGS, decodeUserDataBlocks, [0, 216, 228, 240])
})

t.test('a block of unknown type is kept', async t => {
  const blocks = [{ type: 0xc0ff, data: hex('01 02 03') }]
  t.same(decodeUserDataBlocks(encodeUserDataBlocks(blocks)), blocks)
})

t.test('a block shorter than its header is refused, an empty one is not', async t => {
  refuses(t, () => decodeUserDataBlocks(hex('01 c0 03 00')), 'ERR_WIRE_INVALID_FIELD')
  t.same(decodeUserDataBlocks(hex('01 c0 04 00')), [{ type: CS.CORE, data: new Uint8Array() }])
})

t.test('two blocks of one type are refused: the other side could read the other one', async t => {
  refuses(t, () => decodeUserDataBlocks(hex('03 c0 04 00 03 c0 04 00')), 'ERR_WIRE_INVALID_FIELD')
})

t.test('the number of blocks is bounded', async t => {
  const many = (count: number) =>
    concat(...Array.from({ length: count }, (_, index) => Uint8Array.of(index, 0xc0, 4, 0)))
  t.equal(decodeUserDataBlocks(many(31)).length, 31)
  t.equal(decodeUserDataBlocks(many(32)).length, 32)
  refuses(t, () => decodeUserDataBlocks(many(33)), 'ERR_WIRE_TOO_LARGE')
})
