import { CHANNELS, type Channel } from '@rap/session-policy'
import { encodeChannelMessage } from '../src/channel-pdu.ts'
import { CS, decodeUserDataBlocks, SC } from '../src/gcc/blocks.ts'
import { decodeClientNetworkData } from '../src/gcc/client-blocks.ts'
import { decodeConferenceCreateRequest, decodeConferenceCreateResponse } from '../src/gcc/conference.ts'
import { decodeServerNetworkData } from '../src/gcc/server-blocks.ts'
import { decodeMcsConnectInitial, decodeMcsConnectResponse } from '../src/mcs/connect.ts'
import { concat, contains, hex, recording, utf16le } from '../test/helper.ts'
import { CAPABILITY_REQUEST, MemoryFiles, SERVER_ANNOUNCE } from '../test/rdpdr/target.ts'
import { capabilities, LONG, ready, text, textList } from '../test/relay/clipboard-harness.ts'
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
  options,
  PASSWORD,
  request,
  share,
  USER,
} from '../test/relay/harness.ts'
import { program, stepsOf } from './program.ts'
import { type FuzzTarget, refusalOnly } from './promise.ts'

/** Bytes as they are; a body on a channel; a message on a channel, in chunks; a share data PDU; and what the worker does. */
const OP = {
  client: 0,
  server: 1,
  clientBody: 2,
  serverBody: 3,
  clientMessage: 4,
  serverMessage: 5,
  clientShare: 6,
  serverShare: 7,
  policy: 8,
  driveChanged: 9,
} as const
/** How far a relay is when the program starts. */
const STAGE = { nothing: 0, channels: 1, joined: 2, capabilities: 3, active: 4 } as const
/** A Channel Join Request as a packet; the channel is at its end. */
const JOIN_BYTES = 12
const NAMES = ['cliprdr', 'rdpdr', 'drdynvc', 'rdpsnd']
const SERVER_IDS = [1005, 1006, 1008, 1009]
/** Channels of bodies and messages, by number: the named ones as the server knows them, then the rest. */
const PLACES = [...SERVER_IDS, IO, MESSAGE, 0xf000, 0xf001, USER, 1999]
const CLIPBOARD_BYTES = 4096
const MAX_BUFFERED_BYTES = 1_048_576 + 4 * CLIPBOARD_BYTES
const SECRET = utf16le(PASSWORD)
const FILES = { 'report.txt': new Uint8Array(100).fill(0x61) }

const channelsOf = (bits: number): Channel[] => CHANNELS.filter((_, index) => (bits & (1 << index)) !== 0)

/** A relay at the stage, and how often the password went to the target on the way. */
function begin(stage: number, bits: number): { readonly harness: Harness; readonly sent: number } {
  const channels = channelsOf(bits)
  const { policy } = options({ channels })
  const harness = new Harness({
    policy: { ...policy, clipboardBytes: CLIPBOARD_BYTES },
    ...(channels.includes('file_upload') && { drive: new MemoryFiles(FILES) }),
  })
  if (stage < STAGE.channels) return { harness, sent: 0 }
  const asked = askedFor(harness.client(connectInitial({ channels: NAMES })))
  const given = givenIn(harness.server(connectResponse({ channelIds: SERVER_IDS.slice(0, asked) })))
  if (stage < STAGE.joined) return { harness, sent: 0 }
  harness.client(mcs({ type: 'erect_domain_request' }), mcs({ type: 'attach_user_request' }))
  harness.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
  for (const channelId of [USER, IO, MESSAGE, ...given]) join(harness, channelId)
  if (stage < STAGE.capabilities) return { harness, sent: 0 }
  harness.client(clientInfo())
  harness.server(license(), demandActive())
  if (stage >= STAGE.active) harness.client(confirmActive())
  return { harness, sent: 1 }
}

/** A join of the client, and with its first one the joins of the relay itself. */
function join(harness: Harness, channelId: number): void {
  const forwarded = harness.client(mcs({ type: 'channel_join_request', initiator: USER, channelId }))
  for (let end = JOIN_BYTES; end <= forwarded.length; end += JOIN_BYTES) {
    harness.server(joinConfirm((forwarded[end - 2] as number) * 256 + (forwarded[end - 1] as number)))
  }
}

function askedFor(connect: Uint8Array): number {
  const { userData } = decodeMcsConnectInitial(connect.subarray(7))
  const net = decodeUserDataBlocks(decodeConferenceCreateRequest(userData)).find(({ type }) => type === CS.NET)
  return net === undefined ? 0 : decodeClientNetworkData(net.data).channels.length
}

function givenIn(connect: Uint8Array): readonly number[] {
  const { userData } = decodeMcsConnectResponse(connect.subarray(7))
  const blocks = decodeUserDataBlocks(decodeConferenceCreateResponse(userData).userData)
  return decodeServerNetworkData(blocks.find(({ type }) => type === SC.NET)?.data ?? new Uint8Array(4)).channelIds
}

/**
 * The first byte is the stage, the second the policy. A relay refuses with a WireError or goes on; what it holds is bounded; the password
 * goes to the target once at most, and never to the client.
 */
function run(bytes: Uint8Array): void {
  let bits = bytes[1] ?? 0
  const { harness, sent } = begin((bytes[0] ?? 0) % 5, bits)
  const { relay } = harness
  const toServer: Uint8Array[] = []
  const toClient: Uint8Array[] = [harness.takeToClient()]
  harness.takeToServer()
  try {
    for (const { op, bytes: data } of stepsOf(bytes.subarray(2))) {
      const channelId = PLACES[(data[0] ?? 0) % PLACES.length] as number
      const rest = data.subarray(1)
      if (op === OP.client) relay.fromClient(data)
      else if (op === OP.server) relay.fromServer(data)
      else if (op === OP.clientBody) relay.fromClient(request(channelId, rest))
      else if (op === OP.serverBody) relay.fromServer(indication(channelId, rest))
      else if (op === OP.clientMessage)
        for (const each of encodeChannelMessage(rest)) relay.fromClient(request(channelId, each))
      else if (op === OP.serverMessage)
        for (const each of encodeChannelMessage(rest)) relay.fromServer(indication(channelId, each))
      else if (op === OP.clientShare) relay.fromClient(request(IO, share(data[0] ?? 0, rest)))
      else if (op === OP.serverShare) relay.fromServer(indication(IO, share(data[0] ?? 0, rest)))
      else if (op === OP.driveChanged) relay.driveChanged()
      else if (op === OP.policy) {
        bits &= data[0] ?? 0
        relay.setPolicy({
          channels: new Set(channelsOf(bits)),
          renderQualityProfile: 'balanced',
          clipboardBytes: CLIPBOARD_BYTES,
        })
      }
      if (relay.bufferedBytes > MAX_BUFFERED_BYTES) throw new Error(`holds ${relay.bufferedBytes} bytes`)
    }
  } catch (error) {
    refusalOnly(error)
  }
  toServer.push(harness.takeToServer())
  toClient.push(harness.takeToClient())
  if (contains(concat(...toClient), SECRET)) throw new Error('the password reached the client')
  const all = Buffer.from(concat(...toServer))
  const first = all.indexOf(SECRET)
  if (first !== -1 && (sent > 0 || first !== all.lastIndexOf(SECRET))) throw new Error('the password was sent twice')
}

const ALL = 0x3f
// The order in which the relay asks for them, its own one last.
const CLIPRDR = 0
const DRDYNVC = 1
const RDPDR = 2
const on = (place: number, message: Uint8Array): Uint8Array => concat(Uint8Array.of(place), message)
const recorded = (name: 'recorded-shadow' | 'recorded-xrdp'): Uint8Array =>
  program(
    [STAGE.nothing, ALL],
    ...recording(name)
      .slice(0, 24)
      .map(({ from, bytes }) => [from === 'client' ? OP.client : OP.server, bytes.subarray(0, 700)] as const),
  )

export const RELAY: FuzzTarget = {
  run,
  seeds: [
    program(
      [STAGE.active, ALL],
      [OP.serverMessage, on(CLIPRDR, capabilities(LONG))],
      [OP.serverMessage, on(CLIPRDR, ready)],
      [OP.clientMessage, on(CLIPRDR, capabilities(LONG))],
      [OP.serverMessage, on(CLIPRDR, textList)],
      [OP.clientMessage, on(CLIPRDR, text('abc'))],
      [OP.policy, Uint8Array.of(0x03)],
      [OP.server, fastPath(90)],
    ),
    program(
      [STAGE.active, ALL],
      [OP.serverMessage, on(RDPDR, SERVER_ANNOUNCE)],
      [OP.serverMessage, on(RDPDR, CAPABILITY_REQUEST)],
      [OP.client, fastPath(9).subarray(0, 4)],
      [OP.driveChanged],
      [OP.client, fastPath(9).subarray(4)],
    ),
    program(
      [STAGE.active, ALL],
      [OP.serverMessage, on(DRDYNVC, hex('50 00 02 00 33 33 11 11 3d 0a a7 04'))],
      [OP.clientMessage, on(DRDYNVC, hex('50 00 02 00'))],
      [OP.serverMessage, on(DRDYNVC, hex('10 03 72 64 70 67 66 78 00'))],
    ),
    program([STAGE.nothing, ALL], [OP.client, connectInitial()], [OP.server, connectResponse()]),
    program([STAGE.joined, ALL], [OP.client, clientInfo()], [OP.server, license()], [OP.server, demandActive()]),
    program(
      [STAGE.capabilities, 0x01],
      [OP.client, confirmActive()],
      [OP.serverShare, Uint8Array.of(0x26, 0, 0, 0, 0)],
    ),
    program([STAGE.active, 0x03], [OP.clientShare, Uint8Array.of(0x1c, 0, 0, 0, 0)], [OP.serverBody, on(4, hex('00'))]),
    recorded('recorded-xrdp'),
    recorded('recorded-shadow'),
  ],
}
