import t from 'tap'
import { RdpRelay } from '../../src/relay/relay.ts'
import { encodeSecurityHeader, SEC } from '../../src/security-header.ts'
import { PDUTYPE2 } from '../../src/share.ts'
import { concat, hex } from '../helper.ts'
import {
  clientInfo,
  confirmActive,
  connectInitial,
  connectResponse,
  DRDYNVC,
  demandActive,
  fastPath,
  Harness,
  IO,
  indication,
  joinConfirm,
  license,
  MESSAGE,
  mcs,
  options,
  REFUSED,
  request,
  share,
  USER,
} from './harness.ts'

/** An active relay that tells what it emits by reference. */
function active() {
  const toClient: Uint8Array[] = []
  const toServer: Uint8Array[] = []
  const relay = new RdpRelay(options(), {
    toClient: bytes => toClient.push(bytes),
    toServer: bytes => toServer.push(bytes),
    event: () => {},
  })
  relay.fromClient(connectInitial())
  relay.fromServer(connectResponse())
  relay.fromClient(mcs({ type: 'attach_user_request' }))
  relay.fromServer(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
  for (const channelId of [IO, DRDYNVC, MESSAGE, REFUSED]) {
    relay.fromClient(mcs({ type: 'channel_join_request', initiator: USER, channelId }))
    if (channelId !== REFUSED) relay.fromServer(joinConfirm(channelId))
  }
  relay.fromClient(clientInfo())
  relay.fromServer(license())
  relay.fromServer(demandActive())
  relay.fromClient(confirmActive())
  toClient.length = 0
  toServer.length = 0
  return { relay, toClient, toServer }
}

t.test('display PDUs of a chunk, fast-path and slow-path, are one view of it', async t => {
  const { relay, toClient } = active()
  const chunk = concat(
    fastPath(16_000),
    indication(IO, share(PDUTYPE2.UPDATE, new Uint8Array(16_000))),
    indication(IO, share(PDUTYPE2.POINTER, new Uint8Array(40))),
    fastPath(100),
    indication(MESSAGE, encodeSecurityHeader(SEC.HEARTBEAT), hex('00 01 02 03')),
    fastPath(100),
  )
  relay.fromServer(chunk)
  t.equal(toClient.length, 1)
  t.equal(toClient[0]?.buffer, chunk.buffer)
  t.equal(toClient[0]?.length, chunk.length)
})

t.test('a large update that arrives in pieces is passed on piece by piece', async t => {
  const { relay, toClient } = active()
  const update = indication(IO, share(PDUTYPE2.UPDATE, new Uint8Array(32_000)))
  for (let at = 0; at < update.length; at += 1000) {
    relay.fromServer(update.subarray(at, at + 1000))
    t.equal(relay.bufferedBytes, 0)
  }
  t.equal(toClient.length, Math.ceil(update.length / 1000))
  t.ok(toClient.every(bytes => bytes.buffer === update.buffer))
})

t.test('input of a chunk is one view of it', async t => {
  const { relay, toServer } = active()
  const chunk = concat(fastPath(8), request(IO, share(PDUTYPE2.INPUT)), fastPath(8))
  relay.fromClient(chunk)
  t.equal(toServer.length, 1)
  t.equal(toServer[0]?.buffer, chunk.buffer)
})

t.test('a PDU that is inspected cuts the run around it and keeps its place', async t => {
  const { relay, toClient } = active()
  const [before, after] = [fastPath(50, 1), fastPath(60, 2)]
  relay.fromServer(concat(before, indication(IO, share(PDUTYPE2.SAVE_SESSION_INFO, new Uint8Array(580))), after))
  t.same(toClient[0], before)
  t.same(toClient.at(-1), after)
  t.equal(toClient.length, 3)
})

t.test('PDUs that servers send in the steady state pass untouched', async t => {
  const relay = new Harness().toActive()
  for (const type of [
    PDUTYPE2.UPDATE,
    PDUTYPE2.CONTROL,
    PDUTYPE2.POINTER,
    PDUTYPE2.SYNCHRONIZE,
    PDUTYPE2.PLAY_SOUND,
    PDUTYPE2.SHUTDOWN_DENIED,
    PDUTYPE2.FONTMAP,
    PDUTYPE2.SET_KEYBOARD_INDICATORS,
    PDUTYPE2.SET_KEYBOARD_IME_STATUS,
    PDUTYPE2.ARC_STATUS,
    PDUTYPE2.STATUS_INFO,
    PDUTYPE2.MONITOR_LAYOUT,
  ]) {
    const packet = indication(IO, share(type))
    t.same(relay.server(packet), packet, `type ${type}`)
  }
  for (const flags of [SEC.AUTODETECT_REQ, SEC.HEARTBEAT]) {
    const packet = indication(MESSAGE, encodeSecurityHeader(flags), hex('06 00 00 00 01 00'))
    t.same(relay.server(packet), packet)
  }
})

t.test('PDUs that clients send in the steady state pass untouched', async t => {
  const relay = new Harness().toActive()
  for (const type of [
    PDUTYPE2.INPUT,
    PDUTYPE2.CONTROL,
    PDUTYPE2.SYNCHRONIZE,
    PDUTYPE2.REFRESH_RECT,
    PDUTYPE2.SUPPRESS_OUTPUT,
    PDUTYPE2.SHUTDOWN_REQUEST,
    PDUTYPE2.FONTLIST,
    PDUTYPE2.BITMAPCACHE_PERSISTENT_LIST,
    PDUTYPE2.BITMAPCACHE_ERROR,
    PDUTYPE2.OFFSCRCACHE_ERROR,
    PDUTYPE2.DRAWNINEGRID_ERROR,
    PDUTYPE2.DRAWGDIPLUS_ERROR,
    PDUTYPE2.FRAME_ACKNOWLEDGE,
  ]) {
    const packet = request(IO, share(type))
    t.same(relay.client(packet), packet, `type ${type}`)
  }
  const response = request(MESSAGE, encodeSecurityHeader(SEC.AUTODETECT_RSP), hex('06 01 00 00 00 00'))
  t.same(relay.client(response), response)
})

t.test('without input, keys and pointer stay here and everything else goes on', async t => {
  const relay = new Harness({ channels: ['display'] }).toActive()
  const synchronize = request(IO, share(PDUTYPE2.SYNCHRONIZE))
  const acknowledge = request(IO, share(PDUTYPE2.FRAME_ACKNOWLEDGE))
  const sent = relay.client(
    concat(fastPath(8), synchronize, request(IO, share(PDUTYPE2.INPUT)), acknowledge, fastPath(200)),
  )
  t.same(sent, concat(synchronize, acknowledge))
  t.equal(relay.relay.counters.droppedFromClient, 3)
})

t.test('without display, pictures stay here', async t => {
  const relay = new Harness({ channels: ['input'] }).toActive({ channels: ['cliprdr', 'rdpdr'] }, { channelIds: [] })
  const fontMap = indication(IO, share(PDUTYPE2.FONTMAP))
  t.same(relay.server(concat(fastPath(300), indication(IO, share(PDUTYPE2.UPDATE)), fontMap)), fontMap)
  t.equal(relay.relay.counters.droppedFromServer, 2)
})

t.test('an error the server tells goes to the caller, and to a client that asked for it', async t => {
  const error = indication(IO, share(PDUTYPE2.SET_ERROR_INFO, hex('05 00 00 00')))
  const asking = new Harness().toActive({ earlyCapabilityFlags: 1 })
  t.same(asking.server(error), error)
  t.same(asking.eventsOf('set_error_info'), [{ type: 'set_error_info', errorInfo: 5 }])
  const silent = new Harness().toActive({ earlyCapabilityFlags: 0 })
  t.equal(silent.server(error).length, 0)
  t.equal(silent.eventsOf('set_error_info').length, 1)
})
