import t from 'tap'
import { CS, decodeUserDataBlocks } from '../../src/gcc/blocks.ts'
import {
  CHANNEL_OPTION,
  CLUSTER_FLAG,
  decodeClientClusterData,
  decodeClientMonitorData,
  decodeClientNetworkData,
  decodeClientSecurityData,
  decodeFlagsBlock,
  encodeClientClusterData,
  encodeClientMonitorData,
  encodeClientNetworkData,
  encodeClientSecurityData,
  encodeFlagsBlock,
  MAX_MONITORS,
  MAX_STATIC_CHANNELS,
} from '../../src/gcc/client-blocks.ts'
import { decodeConferenceCreateRequest } from '../../src/gcc/conference.ts'
import { decodeMcsConnectInitial } from '../../src/mcs/connect.ts'
import { changed, concat, hex, refuses, refusesPrefixes, vector } from '../helper.ts'

const BLOCKS = decodeUserDataBlocks(
  decodeConferenceCreateRequest(decodeMcsConnectInitial(vector('mcs-connect-initial').subarray(7)).userData),
)
const block = (type: number) => BLOCKS.find(candidate => candidate.type === type)?.data ?? new Uint8Array()
const tail = Uint8Array.of(0)

t.test('the network data of [MS-RDPBCGR] §4.1.3 names three channels and round-trips to the byte', async t => {
  const data = block(CS.NET)
  const network = decodeClientNetworkData(data)
  t.same(
    network.channels.map(({ name }) => name),
    ['rdpdr', 'cliprdr', 'rdpsnd'],
  )
  const [rdpdr, cliprdr] = network.channels
  t.equal(rdpdr?.options, CHANNEL_OPTION.INITIALIZED + CHANNEL_OPTION.COMPRESS_RDP)
  t.ok(((cliprdr?.options ?? 0) & CHANNEL_OPTION.SHOW_PROTOCOL) !== 0)
  t.same(encodeClientNetworkData(network), data)
  refusesPrefixes(t, data, decodeClientNetworkData)
  refuses(t, () => decodeClientNetworkData(concat(data, tail)), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('at most 31 channels are read', async t => {
  const channels = (count: number) => ({
    channels: Array.from({ length: count }, (_, index) => ({ name: `ch${index}`, options: 0 })),
  })
  for (const count of [0, MAX_STATIC_CHANNELS - 1, MAX_STATIC_CHANNELS]) {
    t.equal(decodeClientNetworkData(encodeClientNetworkData(channels(count))).channels.length, count)
  }
  const bytes = encodeClientNetworkData(channels(MAX_STATIC_CHANNELS + 1))
  refuses(t, () => decodeClientNetworkData(bytes), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => decodeClientNetworkData(hex('ff ff ff ff')), 'ERR_WIRE_TOO_LARGE')
})

t.test('a channel name ends at its zero, and only printable ASCII survives', async t => {
  const name = (bytes: string) => decodeClientNetworkData(hex(`01 00 00 00 ${bytes} 00 00 00 00`)).channels[0]?.name
  t.equal(name('64 72 64 79 6e 76 63 00'), 'drdynvc')
  t.equal(name('64 72 64 79 6e 76 63 78'), 'drdynvcx', 'without a zero')
  t.equal(name('64 00 64 79 6e 76 63 00'), 'd')
  t.equal(name('0a 1b 7f ff 20 00 00 00'), '?????')
  t.throws(() => encodeClientNetworkData({ channels: [{ name: 'eightlet', options: 0 }] }), TypeError)
})

t.test('the security data of [MS-RDPBCGR] §4.1.3 are read and round-trip', async t => {
  const data = block(CS.SECURITY)
  t.same(decodeClientSecurityData(data), { encryptionMethods: 0x1b, extEncryptionMethods: 0 })
  t.same(encodeClientSecurityData(decodeClientSecurityData(data)), data)
  refusesPrefixes(t, data, decodeClientSecurityData)
  refuses(t, () => decodeClientSecurityData(concat(data, tail)), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('the cluster data of [MS-RDPBCGR] §4.1.3 are read and round-trip', async t => {
  const data = block(CS.CLUSTER)
  const cluster = decodeClientClusterData(data)
  t.same(cluster, { flags: CLUSTER_FLAG.REDIRECTION_SUPPORTED | 0x0c, redirectedSessionId: 0 })
  t.same(encodeClientClusterData(cluster), data)
  refusesPrefixes(t, data, decodeClientClusterData)
  refuses(t, () => decodeClientClusterData(concat(data, tail)), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('monitors round-trip with negative coordinates', async t => {
  const monitor = {
    flags: 0,
    monitors: [
      { left: -1280, top: 0, right: -1, bottom: 1023, flags: 0 },
      { left: 0, top: -56, right: 1919, bottom: 1023, flags: 1 },
    ],
  }
  const data = encodeClientMonitorData(monitor)
  t.same(decodeClientMonitorData(data), monitor)
  refusesPrefixes(t, data, decodeClientMonitorData)
  refuses(t, () => decodeClientMonitorData(concat(data, tail)), 'ERR_WIRE_TRAILING_BYTES')
  const many = Array.from({ length: MAX_MONITORS + 1 }, () => ({ left: 0, top: 0, right: 1, bottom: 1, flags: 0 }))
  t.equal(decodeClientMonitorData(encodeClientMonitorData({ flags: 0, monitors: many.slice(1) })).monitors.length, 16)
  const bytes = encodeClientMonitorData({ flags: 0, monitors: many })
  refuses(t, () => decodeClientMonitorData(bytes), 'ERR_WIRE_TOO_LARGE')
  t.equal(decodeClientMonitorData(changed(data, 0, 0xff)).flags, 0xff, 'unknown flags are kept')
})

t.test('blocks of one flags field round-trip', async t => {
  const data = encodeFlagsBlock(0x80000305)
  t.equal(decodeFlagsBlock(data, 'TS_UD_CS_MULTITRANSPORT'), 0x80000305)
  refusesPrefixes(t, data, bytes => decodeFlagsBlock(bytes, 'TS_UD_CS_MULTITRANSPORT'))
  refuses(t, () => decodeFlagsBlock(concat(data, tail), 'TS_UD_CS_MULTITRANSPORT'), 'ERR_WIRE_TRAILING_BYTES')
})
