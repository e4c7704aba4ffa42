import type { Channel } from '@rap/session-policy'
import t from 'tap'
import { CS, decodeUserDataBlocks, SC } from '../../src/gcc/blocks.ts'
import { decodeClientNetworkData } from '../../src/gcc/client-blocks.ts'
import { decodeConferenceCreateRequest, decodeConferenceCreateResponse } from '../../src/gcc/conference.ts'
import { decodeServerNetworkData } from '../../src/gcc/server-blocks.ts'
import { decodeMcsConnectInitial, decodeMcsConnectResponse } from '../../src/mcs/connect.ts'
import type { DriveFiles } from '../../src/relay/types.ts'
import { PDUTYPE2 } from '../../src/share.ts'
import { hex } from '../helper.ts'
import {
  clientInfo,
  confirmActive,
  connectInitial,
  connectResponse,
  demandActive,
  fastPath,
  Harness,
  IO,
  indication,
  joinConfirm,
  license,
  MESSAGE,
  mcs,
  REFUSED,
  request,
  share,
  USER,
} from './harness.ts'

const CLIPRDR = 1006
const RDPDR = 1011
const RDPSND = 1012
const EMPTY_DRIVE: DriveFiles = { list: () => [], read: (_file, _offset, _length, done) => done('failed') }
const MONITOR_READY = hex('01 00 00 00 00 00 00 00')

/** The channels that the target was asked for. */
function askedFor(connect: Uint8Array): string[] {
  const { userData } = decodeMcsConnectInitial(connect.subarray(7))
  const blocks = decodeUserDataBlocks(decodeConferenceCreateRequest(userData))
  const net = blocks.find(({ type }) => type === CS.NET)
  return net === undefined ? [] : decodeClientNetworkData(net.data).channels.map(({ name }) => name)
}

/** The channel ids that the client was given. */
function given(connect: Uint8Array): readonly number[] {
  const { userData } = decodeMcsConnectResponse(connect.subarray(7))
  const blocks = decodeUserDataBlocks(decodeConferenceCreateResponse(userData).userData)
  return decodeServerNetworkData(blocks.find(({ type }) => type === SC.NET)?.data ?? new Uint8Array()).channelIds
}

/** A relay that is up, with a clipboard and a drive. */
function active(channels: readonly Channel[]): Harness {
  const relay = new Harness({ channels, drive: EMPTY_DRIVE })
  relay.client(connectInitial({ channels: ['cliprdr', 'rdpdr'] }))
  relay.server(connectResponse({ channelIds: [CLIPRDR, RDPDR, RDPSND] }))
  relay.client(mcs({ type: 'erect_domain_request' }), mcs({ type: 'attach_user_request' }))
  relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
  // The relay's own channel is joined in front of the client's first one.
  relay.client(mcs({ type: 'channel_join_request', initiator: USER, channelId: USER }))
  relay.server(joinConfirm(RDPDR), joinConfirm(RDPSND), joinConfirm(USER))
  for (const channelId of [IO, MESSAGE, CLIPRDR, REFUSED]) relay.join(channelId)
  relay.client(clientInfo())
  relay.server(license(), demandActive())
  relay.client(confirmActive())
  relay.takeToClient()
  relay.takeToServer()
  return relay
}

t.test(
  'the target is asked for the relay’s own channel only where uploads are allowed and there is a drive',
  async t => {
    const ask = (channels: readonly Channel[], drive: DriveFiles | undefined) =>
      askedFor(new Harness({ channels, drive }).client(connectInitial({ channels: ['rdpdr', 'drdynvc', 'cliprdr'] })))
    t.same(ask(['display', 'file_upload'], EMPTY_DRIVE), ['drdynvc', 'rdpdr', 'rdpsnd'], 'and not with the client’s')
    t.same(ask(['display'], EMPTY_DRIVE), ['drdynvc'])
    t.same(ask(['display', 'file_upload'], undefined), ['drdynvc'])
    t.same(ask(['input'], EMPTY_DRIVE), [])
    for (const clipboard of ['clipboard_client_to_server', 'clipboard_server_to_client'] as const) {
      t.same(ask([clipboard], EMPTY_DRIVE), ['cliprdr'], clipboard)
    }
  },
)

t.test('a client that asks for no channel at all still gets a desktop with the drive', async t => {
  const relay = new Harness({ channels: ['display', 'file_upload'], drive: EMPTY_DRIVE })
  t.same(askedFor(relay.client(connectInitial({ without: [CS.NET] }))), ['rdpdr', 'rdpsnd'])
  t.same(given(relay.server(connectResponse({ channelIds: [RDPDR, RDPSND] }))), [], 'which it never hears of')
})

t.test('the client’s own rdpdr is another channel, between it and the relay', async t => {
  const relay = new Harness({ channels: ['display', 'file_upload'], drive: EMPTY_DRIVE })
  relay.client(connectInitial({ channels: ['rdpdr'] }))
  t.same(given(relay.server(connectResponse({ channelIds: [RDPDR, RDPSND] }))), [REFUSED])
  t.same(
    relay.eventsOf('channel_refused').map(({ kind, name }) => `${kind} ${name}`),
    ['static rdpdr', 'transport udp'],
  )
})

t.test('the relay joins its own channel in front of the client’s, and keeps the confirm', async t => {
  const relay = new Harness({ channels: ['display', 'file_upload'], drive: EMPTY_DRIVE })
  relay.client(connectInitial({ channels: [] }))
  relay.server(connectResponse({ channelIds: [RDPDR, RDPSND] }))
  relay.client(mcs({ type: 'attach_user_request' }))
  relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
  const join = (channelId: number) => mcs({ type: 'channel_join_request', initiator: USER, channelId })
  t.same(relay.client(join(USER)), Buffer.concat([join(RDPDR), join(RDPSND), join(USER)]))
  t.same(relay.client(join(IO)), join(IO))
  t.same(
    relay.server(joinConfirm(RDPDR), joinConfirm(RDPSND), joinConfirm(USER), joinConfirm(IO)),
    Buffer.concat([joinConfirm(USER), joinConfirm(IO)]),
  )
})

t.test('a target without channels is joined for none, and the desktop has no drive', async t => {
  for (const channelIds of [[], [0, 0], [0]]) {
    const relay = new Harness({ channels: ['display', 'file_upload'], drive: EMPTY_DRIVE })
    relay.client(connectInitial({ channels: [] }))
    t.same(given(relay.server(connectResponse({ channelIds }))), [])
    relay.client(mcs({ type: 'attach_user_request' }))
    relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
    const join = mcs({ type: 'channel_join_request', initiator: USER, channelId: USER })
    t.same(relay.client(join), join)
  }
})

t.test('a client can neither join the relay’s channel nor send on it', async t => {
  const before = new Harness({ channels: ['display', 'file_upload'], drive: EMPTY_DRIVE })
  before.client(connectInitial({ channels: [] }))
  before.server(connectResponse({ channelIds: [RDPDR, RDPSND] }))
  before.client(mcs({ type: 'attach_user_request' }))
  before.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
  t.throws(() => before.client(mcs({ type: 'channel_join_request', initiator: USER, channelId: RDPDR })), {
    code: 'ERR_WIRE_REFUSED',
  })
  for (const channelId of [RDPDR, RDPSND]) {
    const relay = active(['display', 'input', 'clipboard_server_to_client', 'file_upload'])
    t.throws(() => relay.client(request(channelId, hex('04000000 03000000 72444949'))), { code: 'ERR_WIRE_REFUSED' })
  }
})

t.test('what the target sends on the relay’s channels never reaches the client, and sound has no answer', async t => {
  const relay = active(['display', 'input', 'clipboard_server_to_client', 'file_upload'])
  const announce = hex('0c000000 03000000 7244 6e49 0100 0c00 03000000')
  t.equal(relay.server(indication(RDPDR, announce)).length, 0)
  relay.takeToServer()
  t.equal(relay.server(indication(RDPSND, announce)).length, 0)
  t.equal(relay.takeToServer().length, 0)
})

t.test('chunks of the clipboard that are none are dropped, and the desktop goes on', async t => {
  const relay = active(['display', 'input', 'clipboard_server_to_client', 'clipboard_client_to_server', 'file_upload'])
  t.equal(relay.client(request(CLIPRDR, hex('01000000'))).length, 0)
  t.equal(relay.server(indication(CLIPRDR, hex('01000000 03000000 ffffffff'))).length, 0)
  t.same(
    relay.eventsOf('withheld').map(({ channel, direction, code }) => [channel, direction, code]),
    [
      ['cliprdr', 'client_to_server', 'ERR_CLIPBOARD_MALFORMED'],
      ['cliprdr', 'server_to_client', 'ERR_CLIPBOARD_MALFORMED'],
    ],
  )
  t.equal(relay.server(fastPath(100)).length, fastPath(100).length)
})

t.test('a narrower policy holds from the next PDU on, channel by channel', async t => {
  const channels: readonly Channel[] = ['display', 'input', 'clipboard_server_to_client', 'file_upload']
  const relay = active(channels)
  const input = fastPath(4)
  const keys = request(IO, share(PDUTYPE2.INPUT))
  const narrow = (left: readonly Channel[]) =>
    relay.relay.setPolicy({ channels: new Set(left), renderQualityProfile: 'balanced', clipboardBytes: 10 })

  t.same(relay.client(input, keys), Buffer.concat([input, keys]))
  narrow(['display', 'clipboard_server_to_client', 'file_upload'])
  t.equal(relay.client(input, keys).length, 0, 'input')
  t.same(relay.server(fastPath(9)), fastPath(9))
  const ready = hex('08000000 03000000')
  t.not(relay.server(indication(CLIPRDR, ready, MONITOR_READY)).length, 0)
  narrow(['clipboard_server_to_client'])
  t.equal(relay.server(fastPath(9)).length, 0, 'display')
  narrow([])
  t.throws(() => narrow(['display']), TypeError, 'and nothing gets wider')
})

t.test('input counts as activity, forwarded or not, and nothing that a client sends by itself does', async t => {
  const relay = active(['display', 'clipboard_server_to_client', 'file_upload'])
  t.equal(relay.relay.activity, 0)
  relay.client(request(IO, share(PDUTYPE2.FRAME_ACKNOWLEDGE)), request(IO, share(PDUTYPE2.REFRESH_RECT)))
  t.equal(relay.relay.activity, 0)
  t.equal(relay.client(fastPath(4)).length, 0, 'view only')
  relay.client(request(IO, share(PDUTYPE2.INPUT)))
  t.equal(relay.relay.activity, 2)
})

t.test('a request for a UDP connection is dropped and told, on the message channel too', async t => {
  const relay = new Harness().toActive({ without: [CS.MULTITRANSPORT] })
  t.same(
    relay.eventsOf('channel_refused').filter(({ kind }) => kind === 'transport'),
    [],
  )
  const initiate = hex('02 00 00 00 01 00 00 00 01 00 00 00 00000000000000000000000000000000')
  t.equal(relay.server(indication(MESSAGE, initiate)).length, 0)
  t.match(relay.eventsOf('channel_refused').at(-1), { kind: 'transport', name: 'udp', direction: 'server_to_client' })
})
