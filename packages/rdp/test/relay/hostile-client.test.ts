import t from 'tap'
import { encodeFastPath } from '../../src/fast-path.ts'
import { CS } from '../../src/gcc/blocks.ts'
import { encodeClientNetworkData } from '../../src/gcc/client-blocks.ts'
import { encodeSendData } from '../../src/mcs/domain.ts'
import { encodeSecurityHeader, SEC } from '../../src/security-header.ts'
import { PDUTYPE2 } from '../../src/share.ts'
import { changed, contains, hex, refuses, utf16le } from '../helper.ts'
import {
  clientInfo,
  confirmActive,
  confirmActivePdu,
  connectInitial,
  connectResponse,
  DRDYNVC,
  demandActive,
  fastPath,
  Harness,
  IO,
  indication,
  license,
  MESSAGE,
  mcs,
  PASSWORD,
  REFUSED,
  REFUSED_2,
  request,
  share,
  USER,
} from './harness.ts'

const join = (channelId: number, initiator = USER) => mcs({ type: 'channel_join_request', initiator, channelId })

t.test('a second Client Info PDU is refused in every phase', async t => {
  const logon = new Harness().toJoined()
  logon.client(clientInfo())
  refuses(t, () => logon.client(clientInfo()), 'ERR_WIRE_REFUSED', 'before licensing')
  for (const stage of ['toCapabilities', 'toActive'] as const) {
    const relay = new Harness()[stage]()
    relay.takeToServer()
    t.throws(() => relay.client(clientInfo()), { name: 'WireError' }, stage)
    t.equal(relay.takeToServer().length, 0)
    t.equal(relay.eventsOf('credentials_used').length, 1)
  }
})

t.test('nothing gets through before Client Info', async t => {
  const license13 = request(IO, encodeSecurityHeader(SEC.LICENSE_PKT), hex('13 03 04 00'))
  const attempts: Record<string, Uint8Array> = {
    'fast-path input': fastPath(8),
    'slow-path input': request(IO, share(PDUTYPE2.INPUT)),
    'a licensing message': license13,
    'a security exchange': request(IO, encodeSecurityHeader(SEC.EXCHANGE_PKT), hex('00 00 00 00')),
    'Confirm Active': confirmActive(),
    'channel data': request(DRDYNVC, hex('01000000 03000000 00')),
    'data on a refused channel': request(REFUSED, hex('01000000 03000000 00')),
    'a message channel response': request(MESSAGE, encodeSecurityHeader(SEC.AUTODETECT_RSP), hex('00')),
    'a second Connect Initial': connectInitial(),
  }
  for (const [what, packet] of Object.entries(attempts)) {
    for (const stage of ['toChannels', 'toJoined'] as const) {
      const relay = new Harness()[stage]()
      t.throws(() => relay.client(packet), { name: 'WireError' }, `${what}, ${stage}`)
      t.equal(relay.takeToServer().length, 0)
    }
  }
})

t.test('nothing but Connect Initial opens a relay, and nothing follows it before the response', async t => {
  for (const packet of [clientInfo(), fastPath(8), mcs({ type: 'attach_user_request' }), connectResponse()]) {
    t.throws(() => new Harness().client(packet), { name: 'WireError' })
  }
  const relay = new Harness()
  relay.client(connectInitial())
  refuses(t, () => relay.client(mcs({ type: 'attach_user_request' })), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const twice = new Harness()
  twice.client(connectInitial())
  refuses(t, () => twice.client(connectInitial()), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})

t.test('Client Info before the I/O channel is joined, or while a join is open, is refused', async t => {
  const relay = () => {
    const harness = new Harness().toChannels()
    harness.client(mcs({ type: 'attach_user_request' }))
    harness.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
    return harness
  }
  refuses(t, () => relay().client(clientInfo()), 'ERR_WIRE_REFUSED', 'not joined')
  const open = relay()
  open.join(IO)
  open.client(join(DRDYNVC))
  refuses(t, () => open.client(clientInfo()), 'ERR_WIRE_UNEXPECTED_MESSAGE', 'a join is open')
})

t.test('Client Info without its flag, or outside the I/O channel, is refused', async t => {
  const relay = () => new Harness().toJoined()
  const bare = request(IO, encodeSecurityHeader(SEC.LICENSE_PKT), clientInfo().subarray(19))
  refuses(t, () => relay().client(bare), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const elsewhere = request(MESSAGE, encodeSecurityHeader(SEC.INFO_PKT), clientInfo().subarray(19))
  refuses(t, () => relay().client(elsewhere), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})

t.test('a malformed Client Info does not reach the target, nor do the credentials', async t => {
  const good = clientInfo()
  for (let size = 8; size < 60; size++) {
    const relay = new Harness().toJoined()
    const cut = request(IO, good.subarray(15, 15 + size))
    t.throws(() => relay.client(cut), { name: 'WireError' }, `${size} bytes`)
    t.notOk(contains(relay.takeToServer(), utf16le(PASSWORD)))
    t.equal(relay.eventsOf('credentials_used').length, 0)
  }
})

t.test('a client speaks only in its own name', async t => {
  const foreign = { initiator: 1002, channelId: IO }
  const relay = () => new Harness().toActive()
  for (const body of [share(PDUTYPE2.INPUT), share(PDUTYPE2.SYNCHRONIZE)]) {
    refuses(t, () => relay().client(encodeSendData('send_data_request', foreign, body)), 'ERR_WIRE_REFUSED')
  }
  const joining = new Harness().toJoined()
  refuses(t, () => joining.client(join(IO, 1002)), 'ERR_WIRE_REFUSED')
})

t.test('a client cannot join or use a channel that it was not given', async t => {
  for (const channelId of [0, 1001, 1006, 0xf002, 0xffff]) {
    refuses(t, () => new Harness().toJoined().client(join(channelId)), 'ERR_WIRE_REFUSED', `join ${channelId}`)
    refuses(t, () => new Harness().toActive().client(request(channelId, hex('00'))), 'ERR_WIRE_REFUSED', `${channelId}`)
  }
  refuses(t, () => new Harness().toActive().client(request(USER, hex('00'))), 'ERR_WIRE_REFUSED', 'its user channel')
})

t.test('a client cannot join twice, nor attach twice, nor join after logon', async t => {
  refuses(t, () => new Harness().toJoined().client(join(IO)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => new Harness().toJoined().client(join(REFUSED)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const attach = mcs({ type: 'attach_user_request' })
  refuses(t, () => new Harness().toJoined().client(attach), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const erect = mcs({ type: 'erect_domain_request' })
  refuses(t, () => new Harness().toJoined().client(erect), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  for (const packet of [join(DRDYNVC), attach, erect]) {
    refuses(t, () => new Harness().toActive().client(packet), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  }
})

t.test('data on a channel that was given but never joined is refused', async t => {
  for (const channelId of [REFUSED, DRDYNVC, MESSAGE]) {
    const relay = new Harness().toChannels()
    relay.client(mcs({ type: 'attach_user_request' }))
    relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
    relay.join(IO)
    relay.client(clientInfo())
    relay.server(license(), demandActive())
    relay.client(confirmActive())
    t.equal(relay.relay.phase, 'active')
    refuses(t, () => relay.client(request(channelId, hex('01000000 03000000 00'))), 'ERR_WIRE_REFUSED', `${channelId}`)
  }
})

t.test('what is sent on a refused channel is swallowed and counted, and told once', async t => {
  const relay = new Harness().toActive()
  const data = request(REFUSED, hex('01000000 03000000 00'))
  for (let count = 1; count <= 5; count++) {
    t.equal(relay.client(data).length, 0)
    t.equal(relay.relay.counters.droppedFromClient, count)
  }
  t.equal(relay.client(request(REFUSED_2, new Uint8Array(30_000))).length, 0)
  t.same(
    relay.eventsOf('channel_refused').map(({ name }) => name),
    ['rdpdr', 'cliprdr', 'udp'],
  )
  t.equal(relay.relay.counters.refusedChannels, 3)
})

t.test('a channel name that comes twice, or in other letters, is refused', async t => {
  const relay = new Harness()
  relay.client(connectInitial({ channels: ['drdynvc', 'drdynvc', 'DRDYNVC', 'drdynv'] }))
  t.same(
    relay.eventsOf('channel_refused').map(({ name }) => name),
    ['drdynvc', 'DRDYNVC', 'drdynv', 'udp'],
  )
})

t.test('settings that cannot be read in one way only are refused', async t => {
  const twice = { type: CS.NET, data: encodeClientNetworkData({ channels: [] }) }
  refuses(t, () => new Harness().client(connectInitial({ blocks: [twice] })), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => new Harness().client(connectInitial({ without: [CS.CORE] })), 'ERR_WIRE_INVALID_FIELD')
})

t.test('PDUs of the connection phase are bounded before they are held', async t => {
  const relay = new Harness()
  refuses(t, () => relay.client(hex('03 00 40 01 02 f0 80'), new Uint8Array(25)), 'ERR_WIRE_TOO_LARGE')
  const fits = new Harness()
  fits.client(hex('03 00 40 00 02 f0 80'), new Uint8Array(25))
  t.equal(fits.relay.bufferedBytes, 32)
})

t.test('fast-path input before the session is active, or said to be encrypted, is refused', async t => {
  refuses(t, () => new Harness().toCapabilities().client(fastPath(8)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  for (const flags of [1, 2, 3]) {
    const packet = encodeFastPath({ numEvents: 1, flags, body: hex('00 1e') })
    refuses(t, () => new Harness().toActive().client(packet), 'ERR_WIRE_REFUSED')
  }
})

t.test('input hidden behind another PDU in one message is found', async t => {
  const relay = new Harness({ channels: ['display'] }).toActive()
  const synchronize = share(PDUTYPE2.SYNCHRONIZE)
  t.same(relay.client(request(IO, synchronize, share(PDUTYPE2.INPUT))), request(IO, synchronize))
  t.same(relay.client(request(IO, share(PDUTYPE2.INPUT), synchronize)), request(IO, synchronize))
  const flow = hex('00 80 00 41 00 00 ea 03')
  t.same(relay.client(request(IO, flow, share(PDUTYPE2.INPUT), synchronize)), request(IO, synchronize))
  t.equal(relay.client(request(IO, flow, share(PDUTYPE2.INPUT))).length, 0)
})

t.test('a message of 32768 bytes is not mistaken for one PDU when its length is the flow marker', async t => {
  // Servers read 0x8000 as a flow PDU of 8 bytes and go on behind it.
  const relay = new Harness({ channels: ['display'] }).toActive()
  const flow = hex('00 80 17 00 00 00 ea 03')
  const filler = share(PDUTYPE2.SYNCHRONIZE, new Uint8Array(32_767 - 8 - 18 - 22))
  t.equal(contains(relay.client(request(IO, flow, filler, share(PDUTYPE2.INPUT))), share(PDUTYPE2.INPUT)), false)
})

t.test('share PDUs that lie about their length are refused', async t => {
  const relay = () => new Harness().toActive()
  const pdu = share(PDUTYPE2.SYNCHRONIZE)
  refuses(t, () => relay().client(request(IO, changed(pdu, 0, pdu.length + 1))), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => relay().client(request(IO, changed(pdu, 0, 5))), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => relay().client(request(IO, changed(pdu, 0, 18))), 'ERR_WIRE_INVALID_FIELD', 'a rest of four bytes')
  refuses(t, () => relay().client(request(IO, hex('16'))), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => relay().client(request(IO)), 'ERR_WIRE_TRUNCATED')
})

t.test('MCS lengths that differ from the packet are refused', async t => {
  const packet = request(IO, share(PDUTYPE2.SYNCHRONIZE))
  const at = 7 + 6
  refuses(t, () => new Harness().toActive().client(changed(packet, at, (packet[at] ?? 0) + 1)), 'ERR_WIRE_TRUNCATED')
  refuses(
    t,
    () => new Harness().toActive().client(changed(packet, at, (packet[at] ?? 0) - 1)),
    'ERR_WIRE_TRAILING_BYTES',
  )
  refuses(t, () => new Harness().toActive().client(changed(packet, 6, 0)), 'ERR_WIRE_INVALID_FIELD', 'X.224')
})

t.test('share data that is compressed or of unknown type does not reach the target', async t => {
  const compressed = changed(share(PDUTYPE2.SYNCHRONIZE), 15, 0x21)
  refuses(t, () => new Harness().toActive().client(request(IO, compressed)), 'ERR_WIRE_REFUSED')
  const relay = new Harness().toActive()
  for (const type of [0x00, PDUTYPE2.UPDATE, PDUTYPE2.SAVE_SESSION_INFO, PDUTYPE2.SET_ERROR_INFO, 0xff]) {
    t.equal(relay.client(request(IO, share(type))).length, 0, `type ${type}`)
  }
  t.equal(relay.relay.counters.droppedFromClient, 5)
})

t.test('share PDUs that only servers send are refused', async t => {
  for (const type of [0x11, 0x16, 0x1a, 0x10, 0x1f]) {
    const pdu = changed(hex('0a 00 00 00 ea 03 00 00 00 00'), 2, type)
    refuses(t, () => new Harness().toActive().client(request(IO, pdu)), 'ERR_WIRE_REFUSED', `type ${type}`)
  }
})

t.test('Confirm Active that nobody asked for is refused, as are data before it', async t => {
  refuses(t, () => new Harness().toActive().client(confirmActive()), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const early = request(IO, share(PDUTYPE2.SYNCHRONIZE))
  refuses(t, () => new Harness().toCapabilities().client(early), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const relay = new Harness().toCapabilities()
  t.ok(relay.client(request(IO, confirmActivePdu(), share(PDUTYPE2.SYNCHRONIZE))).length > 0, 'in one message')
  t.equal(relay.relay.phase, 'active')
})

t.test('licensing carries licensing messages only', async t => {
  const relay = () => {
    const harness = new Harness().toJoined()
    harness.client(clientInfo())
    return harness
  }
  for (const flags of [0, SEC.LICENSE_PKT | SEC.ENCRYPT, SEC.EXCHANGE_PKT, SEC.TRANSPORT_RSP, 0xffff & ~SEC.INFO_PKT]) {
    const packet = request(IO, encodeSecurityHeader(flags), hex('13 03 04 00'))
    refuses(t, () => relay().client(packet), 'ERR_WIRE_UNEXPECTED_MESSAGE', `flags ${flags}`)
  }
  refuses(t, () => relay().client(request(IO, share(PDUTYPE2.INPUT))), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => relay().client(request(DRDYNVC, hex('00'))), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})

t.test('the message channel carries auto-detect responses only', async t => {
  const relay = new Harness().toActive()
  for (const flags of [SEC.TRANSPORT_RSP, SEC.AUTODETECT_RSP | SEC.TRANSPORT_RSP, SEC.AUTODETECT_REQ, 0]) {
    t.equal(relay.client(request(MESSAGE, encodeSecurityHeader(flags), hex('00'))).length, 0, `flags ${flags}`)
  }
  t.equal(relay.client(request(MESSAGE, hex('00 20'))).length, 0, 'too short for a header')
})

t.test('after a refusal every further byte is refused with the same error', async t => {
  const relay = new Harness().toActive()
  refuses(t, () => relay.client(request(0xffff, hex('00'))), 'ERR_WIRE_REFUSED')
  refuses(t, () => relay.client(fastPath(8)), 'ERR_WIRE_REFUSED')
  refuses(t, () => relay.server(indication(IO, share(PDUTYPE2.FONTMAP))), 'ERR_WIRE_REFUSED')
})
