import t from 'tap'
import { decodeUserDataBlocks, SC } from '../../src/gcc/blocks.ts'
import { decodeConferenceCreateResponse } from '../../src/gcc/conference.ts'
import {
  decodeServerCoreData,
  decodeServerMessageChannelData,
  decodeServerNetworkData,
  decodeServerSecurityData,
  encodeServerCoreData,
  encodeServerMessageChannelData,
  encodeServerNetworkData,
  encodeServerSecurityData,
} from '../../src/gcc/server-blocks.ts'
import { decodeMcsConnectResponse } from '../../src/mcs/connect.ts'
import { concat, hex, refuses, refusesPrefixes, vector } from '../helper.ts'

const BLOCKS = decodeUserDataBlocks(
  decodeConferenceCreateResponse(decodeMcsConnectResponse(vector('mcs-connect-response').subarray(7)).userData)
    .userData,
)
const block = (type: number) => BLOCKS.find(candidate => candidate.type === type)?.data ?? new Uint8Array()
const tail = Uint8Array.of(0)

t.test('the core data of [MS-RDPBCGR] §4.1.4 are read and round-trip', async t => {
  const data = block(SC.CORE)
  t.same(decodeServerCoreData(data), { version: 0x00080004, clientRequestedProtocols: 0 })
  t.same(encodeServerCoreData(decodeServerCoreData(data)), data)
})

t.test('core data round-trip with and without their optional fields', async t => {
  const full = { version: 0x00080011, clientRequestedProtocols: 11, earlyCapabilityFlags: 0xf }
  const data = encodeServerCoreData(full)
  t.same(decodeServerCoreData(data), full)
  t.same(decodeServerCoreData(encodeServerCoreData({ version: 5 })), { version: 5 })
  t.same(encodeServerCoreData({ version: 5, earlyCapabilityFlags: 1 }).length, 12)
  refusesPrefixes(t, data, decodeServerCoreData, [4, 8])
  refuses(t, () => decodeServerCoreData(concat(data, tail)), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('the security data of [MS-RDPBCGR] §4.1.4 are read and round-trip', async t => {
  const data = block(SC.SECURITY)
  const security = decodeServerSecurityData(data)
  t.match(security, { encryptionMethod: 2, encryptionLevel: 2 })
  t.equal(security.rest?.length, 8 + 32 + 184)
  t.same(encodeServerSecurityData(security), data)
  const none = hex('00 00 00 00 00 00 00 00')
  t.same(decodeServerSecurityData(none), { encryptionMethod: 0, encryptionLevel: 0 })
  refusesPrefixes(t, none, decodeServerSecurityData)
})

t.test('the network data of [MS-RDPBCGR] §4.1.4 are read and round-trip to the byte', async t => {
  const data = block(SC.NET)
  const network = decodeServerNetworkData(data)
  t.same(network, { mcsChannelId: 1003, channelIds: [1004, 1005, 1006] })
  t.same(encodeServerNetworkData(network), data)
  refusesPrefixes(t, data, decodeServerNetworkData, [10])
  refuses(t, () => decodeServerNetworkData(concat(data, tail)), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('an odd number of channels is padded, and the padding may be missing', async t => {
  t.equal(encodeServerNetworkData({ mcsChannelId: 1003, channelIds: [1004] }).length, 8)
  t.equal(encodeServerNetworkData({ mcsChannelId: 1003, channelIds: [1004, 1005] }).length, 8)
  t.same(decodeServerNetworkData(hex('eb03 0100 ec03')), { mcsChannelId: 1003, channelIds: [1004] })
})

t.test('at most 31 channels are read', async t => {
  const ids = (count: number) => ({ mcsChannelId: 1003, channelIds: Array.from({ length: count }, () => 0) })
  for (const count of [0, 30, 31]) t.same(decodeServerNetworkData(encodeServerNetworkData(ids(count))), ids(count))
  refuses(t, () => decodeServerNetworkData(encodeServerNetworkData(ids(32))), 'ERR_WIRE_TOO_LARGE')
})

t.test('the message channel id round-trips', async t => {
  const data = encodeServerMessageChannelData(1009)
  t.equal(decodeServerMessageChannelData(data), 1009)
  refusesPrefixes(t, data, decodeServerMessageChannelData)
  refuses(t, () => decodeServerMessageChannelData(concat(data, tail)), 'ERR_WIRE_TRAILING_BYTES')
})
