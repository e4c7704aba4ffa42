import t from 'tap'
import { encodeChannelMessage } from '../../src/channel-pdu.ts'
import { encodeMonitorReady } from '../../src/cliprdr/pdu.ts'
import { decodeMcsPdu, type McsPdu } from '../../src/mcs/domain.ts'
import { encodeX224Data } from '../../src/x224.ts'
import { concat, contains, hex, refuses } from '../helper.ts'
import {
  clientInfo,
  confirmActive,
  connectInitial,
  connectResponse,
  demandActive,
  Harness,
  IO,
  indication,
  joinConfirm,
  license,
  mcs,
  request,
  USER,
} from './harness.ts'

/** As rdesktop 1.9 sends it. */
const ERECT_DOMAIN = encodeX224Data(hex('04 00 01 00 01'))
/** In the order in which rdesktop asks. */
const CHANNELS = ['rdpsnd', 'snddbg', 'cliprdr', 'rdpdr', 'drdynvc']
const [RDPSND, , CLIPRDR, , DRDYNVC] = CHANNELS.map((_, index) => IO + 1 + index) as [
  number,
  number,
  number,
  number,
  number,
]
/** The target's own ids of the two that pass. */
const TARGET_CLIPRDR = 1004
const TARGET_DRDYNVC = 1005

const join = (channelId: number, initiator = USER) => mcs({ type: 'channel_join_request', initiator, channelId })

function attached(userId = USER): Harness {
  const relay = new Harness({ channels: ['display', 'clipboard_client_to_server', 'clipboard_server_to_client'] })
  relay.client(connectInitial({ channels: CHANNELS }))
  relay.server(connectResponse({ channelIds: [TARGET_CLIPRDR, TARGET_DRDYNVC], messageChannelId: 1100 }))
  relay.client(ERECT_DOMAIN, mcs({ type: 'attach_user_request' }))
  relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: userId }))
  return relay
}

function active(): Harness {
  const relay = attached()
  for (const channelId of [USER, IO]) {
    relay.client(join(channelId))
    relay.server(joinConfirm(channelId))
  }
  for (const [called, told] of [
    [RDPSND],
    [RDPSND + 1],
    [CLIPRDR, TARGET_CLIPRDR],
    [CLIPRDR + 1],
    [DRDYNVC, TARGET_DRDYNVC],
  ] as const) {
    const forwarded = relay.client(join(called))
    if (told === undefined) t.same(forwarded, hex(''))
    else {
      t.same(forwarded, join(told), 'the target is asked for the id that it gave')
      relay.relay.fromServer(joinConfirm(told))
    }
    t.same(relay.takeToClient(), joinConfirm(called), 'and the client is answered with the one that it asked for')
  }
  relay.client(clientInfo())
  relay.server(license(), demandActive())
  relay.client(confirmActive())
  relay.takeToClient()
  relay.takeToServer()
  return relay
}

const channelIdOf = (packet: Uint8Array) =>
  (decodeMcsPdu(packet.subarray(7)) as McsPdu & { channelId: number }).channelId

t.test('a client that counts its channels, as rdesktop does, has them under the ids that it expects', async t => {
  const relay = active()
  const [ready] = encodeChannelMessage(encodeMonitorReady()) as [Uint8Array]
  t.equal(channelIdOf(relay.server(indication(TARGET_CLIPRDR, ready))), CLIPRDR)
  const [list] = encodeChannelMessage(hex('02 00 00 00 00 00 00 00')) as [Uint8Array]
  t.equal(channelIdOf(relay.client(request(CLIPRDR, list))), TARGET_CLIPRDR)

  const [capabilities] = encodeChannelMessage(hex('50 00 01 00')) as [Uint8Array]
  t.equal(channelIdOf(relay.server(indication(TARGET_DRDYNVC, capabilities))), DRDYNVC)
  const [answer] = encodeChannelMessage(hex('50 00 01 00')) as [Uint8Array]
  const sent = relay.client(request(DRDYNVC, answer))
  t.equal(channelIdOf(sent), TARGET_DRDYNVC)
  t.ok(contains(sent, answer))
})

t.test('what it sends to a refused channel goes nowhere, whatever the target has under that id', async t => {
  const relay = active()
  const [chunk] = encodeChannelMessage(hex('02 00 00 00 00 00 00 00')) as [Uint8Array]
  t.equal(RDPSND, TARGET_CLIPRDR, 'the same number')
  t.same(relay.client(request(RDPSND, chunk), request(RDPSND + 1, chunk), request(CLIPRDR + 1, chunk)), hex(''))
})

t.test('an id that it counts and the user channel may be the same', async t => {
  const userId = CLIPRDR
  const relay = attached(userId)
  const confirm = (requested: number) =>
    mcs({ type: 'channel_join_confirm', result: 0, initiator: userId, requested, channelId: requested })
  t.same(relay.client(join(userId, userId)), join(userId, userId), 'the user channel first')
  t.same(relay.server(confirm(userId)), confirm(userId))
  t.same(relay.client(join(CLIPRDR, userId)), join(TARGET_CLIPRDR, userId), 'then the channel')
  t.same(relay.server(confirm(TARGET_CLIPRDR)), confirm(CLIPRDR))
  refuses(t, () => relay.client(join(CLIPRDR, userId)), 'ERR_WIRE_UNEXPECTED_MESSAGE', 'and neither of them again')
})

t.test('a client that writes PER is taken at the ids that it was told', async t => {
  const relay = new Harness({ channels: ['display'] }).toChannels({ channels: ['drdynvc', 'cliprdr'] })
  relay.client(concat(mcs({ type: 'erect_domain_request' }), mcs({ type: 'attach_user_request' })))
  relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
  t.same(relay.client(join(1005)), join(1005), 'drdynvc, and not the second one')
  refuses(t, () => relay.client(join(1006)), 'ERR_WIRE_REFUSED')
})

t.test('nothing is counted beyond the largest id', async t => {
  const relay = new Harness({ channels: ['display', 'clipboard_server_to_client'] })
  relay.client(connectInitial({ channels: CHANNELS }))
  const ids = { ioChannelId: 0xfffe, channelIds: [TARGET_CLIPRDR, TARGET_DRDYNVC], messageChannelId: 1100 }
  relay.server(connectResponse(ids))
  relay.client(ERECT_DOMAIN, mcs({ type: 'attach_user_request' }))
  relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
  t.same(relay.client(join(0xffff)), hex(''), 'the first one, which is refused')
  t.same(relay.client(join(TARGET_DRDYNVC)), join(TARGET_DRDYNVC))
})
