import t from 'tap'
import { capabilitySets } from '../../src/capabilities.ts'
import { decodeInfoPacket, INFO } from '../../src/client-info.ts'
import { CS, decodeUserDataBlocks, SC } from '../../src/gcc/blocks.ts'
import { decodeClientNetworkData } from '../../src/gcc/client-blocks.ts'
import { decodeClientCoreData } from '../../src/gcc/client-core.ts'
import { decodeConferenceCreateRequest, decodeConferenceCreateResponse } from '../../src/gcc/conference.ts'
import { decodeServerCoreData, decodeServerNetworkData } from '../../src/gcc/server-blocks.ts'
import { decodeMcsConnectInitial, decodeMcsConnectResponse } from '../../src/mcs/connect.ts'
import { decodeMcsPdu, type McsPdu } from '../../src/mcs/domain.ts'
import { encodeSecurityHeader, SEC } from '../../src/security-header.ts'
import { PDUTYPE2 } from '../../src/share.ts'
import { encodeX224Data } from '../../src/x224.ts'
import { concat, contains, hex, recording, refuses, utf16le } from '../helper.ts'
import {
  CLIENT_INFO,
  clientInfo,
  confirmActive,
  connectInitial,
  connectResponse,
  DRDYNVC,
  demandActive,
  Harness,
  IO,
  indication,
  joinConfirm,
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

const clientBlocks = (packet: Uint8Array) =>
  new Map(
    decodeUserDataBlocks(decodeConferenceCreateRequest(decodeMcsConnectInitial(packet.subarray(7)).userData)).map(
      ({ type, data }) => [type, data],
    ),
  )
const serverBlocks = (packet: Uint8Array) =>
  new Map(
    decodeUserDataBlocks(
      decodeConferenceCreateResponse(decodeMcsConnectResponse(packet.subarray(7)).userData).userData,
    ).map(({ type, data }) => [type, data]),
  )
const userData = (packet: Uint8Array) =>
  (decodeMcsPdu(packet.subarray(7)) as McsPdu & { userData: Uint8Array }).userData
const infoPacket = (packet: Uint8Array) => decodeInfoPacket(userData(packet).subarray(4))
const attach = (relay: Harness) => {
  relay.client(mcs({ type: 'attach_user_request' }))
  relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
}

for (const name of ['recorded-shadow', 'recorded-xrdp'] as const) {
  t.test(`the handshake of ${name} goes through with the worker's credentials`, async t => {
    const relay = new Harness({ targetSelectedProtocol: 1, targetRequestedProtocols: 1 })
    const toServer: Uint8Array[] = []
    const toClient: Uint8Array[] = []
    for (const { from, bytes } of recording(name)) {
      if (from === 'client') relay.relay.fromClient(bytes)
      else relay.relay.fromServer(bytes)
      toServer.push(relay.takeToServer())
      toClient.push(relay.takeToClient())
    }
    t.equal(relay.relay.phase, 'active')
    t.equal(relay.relay.bufferedBytes, 0)
    t.same(
      relay.eventsOf('channel_refused').flatMap(event => (event.kind === 'static' ? [event.name] : [])),
      ['rdpdr', 'rdpsnd', 'cliprdr'],
    )
    t.equal(relay.eventsOf('credentials_used').length, 1)
    t.equal(relay.eventsOf('active').length, 1)
    const sent = concat(...toServer)
    t.ok(contains(sent, utf16le(PASSWORD)))
    t.ok(contains(sent, utf16le('target-user')))
    t.notOk(contains(sent, utf16le('nobody')), 'the user name that the client was given')
    t.notOk(contains(sent, utf16le('wrong')), 'the password that the client was given')
    t.notOk(contains(concat(...toClient), utf16le(PASSWORD)))
    const input = recording(name).filter(({ from, bytes }) => from === 'client' && bytes[0] !== 3)
    t.ok(input.length > 0)
    for (const { bytes } of input) t.ok(contains(sent, bytes), 'input arrives as it was sent')
  })
}

t.test('the dynamic channel of recorded-xrdp is opened, that of recorded-shadow is refused', async t => {
  const refusedNames = (name: 'recorded-shadow' | 'recorded-xrdp') => {
    const relay = new Harness({ targetSelectedProtocol: 1, targetRequestedProtocols: 1 })
    for (const { from, bytes } of recording(name)) {
      if (from === 'client') relay.relay.fromClient(bytes)
      else relay.relay.fromServer(bytes)
    }
    return relay.eventsOf('channel_refused').flatMap(event => (event.kind === 'dynamic' ? [event.name] : []))
  }
  t.same(refusedNames('recorded-shadow'), ['AUDIO_INPUT'])
  t.same(refusedNames('recorded-xrdp'), [])
})

t.test('the target sees settings that keep it inside the relay', async t => {
  const blocks = clientBlocks(new Harness().client(connectInitial()))
  const core = decodeClientCoreData(blocks.get(CS.CORE) ?? hex(''))
  t.match(core, { desktopWidth: 1280, serverSelectedProtocol: 2, highColorDepth: 24, supportedColorDepths: 0xf })
  t.equal(core.earlyCapabilityFlags, 0x0003, 'error info and 32 bit asked for, the graphics pipeline not')
  t.same(blocks.get(CS.SECURITY), hex('00 00 00 00 00 00 00 00'))
  t.same(blocks.get(CS.CLUSTER), hex('00 00 00 00 00 00 00 00'), 'no redirection, no session of its choice')
  t.notOk(blocks.has(CS.MULTITRANSPORT))
  t.ok(blocks.has(CS.MCS_MSGCHANNEL))
  t.notOk(blocks.has(0xc0f0), 'unknown blocks do not pass')
  const { channels } = decodeClientNetworkData(blocks.get(CS.NET) ?? hex(''))
  t.same(channels, [{ name: 'drdynvc', options: 0x80000000 }], 'no refused channel, no compression')
})

t.test('the client sees its own request answered', async t => {
  const relay = new Harness({ clientRequestedProtocols: 11 })
  relay.client(connectInitial())
  const blocks = serverBlocks(relay.server(connectResponse()))
  t.match(decodeServerCoreData(blocks.get(SC.CORE) ?? hex('')), { clientRequestedProtocols: 11 })
  t.same(decodeServerNetworkData(blocks.get(SC.NET) ?? hex('')), {
    mcsChannelId: IO,
    channelIds: [REFUSED, DRDYNVC, REFUSED_2],
  })
  t.same(blocks.get(SC.SECURITY), hex('00 00 00 00 00 00 00 00'), 'and nothing behind it')
  t.notOk(blocks.has(SC.MULTITRANSPORT))
  t.notOk(blocks.has(0x0cf0), 'unknown blocks do not pass')
})

t.test('a client without network data, or with refused channels only, asks the target for none', async t => {
  for (const offer of [{ without: [CS.NET] }, { channels: [] }, { channels: ['rdpdr', 'cliprdr'] }]) {
    const relay = new Harness()
    t.notOk(clientBlocks(relay.client(connectInitial(offer))).has(CS.NET))
    const blocks = serverBlocks(relay.server(connectResponse({ channelIds: [] })))
    const expected = offer.channels?.length ? [REFUSED, REFUSED_2] : []
    t.same(decodeServerNetworkData(blocks.get(SC.NET) ?? hex('')).channelIds, expected)
  }
})

t.test('a channel that the server could not make is to the client as a refused one', async t => {
  // xrdp 0.9 with allow_channels=false answers with no id at all.
  for (const channelIds of [[0], []]) {
    const relay = new Harness()
    relay.client(connectInitial())
    const blocks = serverBlocks(relay.server(connectResponse({ channelIds })))
    const ids = [REFUSED, REFUSED_2, REFUSED_2 + 1]
    t.same(decodeServerNetworkData(blocks.get(SC.NET) ?? hex('')).channelIds, ids)
    relay.client(mcs({ type: 'attach_user_request' }))
    relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
    for (const channelId of ids) {
      t.equal(relay.client(mcs({ type: 'channel_join_request', initiator: USER, channelId })).length, 0)
      t.same(relay.takeToClient(), joinConfirm(channelId))
    }
    t.equal(relay.eventsOf('channel_refused').filter(({ kind }) => kind === 'static').length, 2, 'nor told as one')
  }
})

t.test("the target gets an erect domain request of the relay's own, whatever the client's looks like", async t => {
  const relay = new Harness().toChannels()
  t.same(relay.client(encodeX224Data(hex('04 00 01 00 01'))), encodeX224Data(hex('04 01 00 01 00')))
})

t.test('ids of refused channels avoid those that the server hands out', async t => {
  const relay = new Harness()
  relay.client(connectInitial())
  const answer = { channelIds: [REFUSED], ioChannelId: REFUSED_2, messageChannelId: REFUSED_2 + 1 }
  const blocks = serverBlocks(relay.server(connectResponse(answer)))
  t.same(decodeServerNetworkData(blocks.get(SC.NET) ?? hex('')).channelIds, [REFUSED + 3, REFUSED, REFUSED + 4])
})

t.test('a message channel that the client did not ask for is taken out', async t => {
  const relay = new Harness()
  relay.client(connectInitial({ without: [CS.MCS_MSGCHANNEL] }))
  t.notOk(serverBlocks(relay.server(connectResponse())).has(SC.MCS_MSGCHANNEL))
})

t.test('joins of refused channels are confirmed by the relay and never reach the server', async t => {
  const relay = new Harness().toChannels()
  attach(relay)
  const toServer = relay.client(mcs({ type: 'channel_join_request', initiator: USER, channelId: REFUSED }))
  t.equal(toServer.length, 0)
  t.same(relay.takeToClient(), joinConfirm(REFUSED))
})

t.test('joins sent in one batch are confirmed in their order', async t => {
  const relay = new Harness().toChannels()
  attach(relay)
  relay.takeToClient()
  const ids = [USER, REFUSED, IO, DRDYNVC, REFUSED_2, MESSAGE]
  const batch = ids.map(channelId => mcs({ type: 'channel_join_request', initiator: USER, channelId }))
  const real = ids.filter(id => id < REFUSED)
  t.same(
    relay.client(concat(...batch)),
    concat(...real.map(channelId => mcs({ type: 'channel_join_request', initiator: USER, channelId }))),
  )
  t.equal(relay.takeToClient().length, 0, 'ours wait for those in front of them')
  t.same(relay.server(concat(...real.map(joinConfirm))), concat(...ids.map(joinConfirm)))
})

t.test('when both sides skip channel joins, Client Info follows the attach, and all channels work', async t => {
  const flags = { earlyCapabilityFlags: 0x0801 }
  const relay = new Harness().toChannels(flags, { earlyCapabilityFlags: 0x8 })
  attach(relay)
  t.ok(relay.client(clientInfo()).length > 0)
  relay.server(license(), demandActive())
  relay.client(confirmActive())
  t.equal(relay.relay.phase, 'active')
  t.equal(relay.client(request(REFUSED, hex('01'))).length, 0)
  const only = new Harness().toChannels({}, { earlyCapabilityFlags: 0x8 })
  attach(only)
  refuses(t, () => only.client(clientInfo()), 'ERR_WIRE_REFUSED', 'one side alone cannot skip them')
})

t.test('the Client Info PDU carries the credentials and nothing else that the client said about logon', async t => {
  const relay = new Harness().toJoined()
  const sent = relay.client(clientInfo())
  const packet = infoPacket(sent)
  t.same(packet.domain, utf16le('TARGET'))
  t.same(packet.userName, utf16le('target-user'))
  t.same(packet.password, utf16le(PASSWORD))
  t.same([packet.alternateShell.length, packet.workingDir.length], [0, 0])
  t.equal(
    packet.flags,
    INFO.MOUSE |
      INFO.DISABLECTRLALTDEL |
      INFO.MAXIMIZESHELL |
      INFO.ENABLEWINDOWSKEY |
      INFO.UNICODE |
      INFO.AUTOLOGON |
      INFO.LOGONNOTIFY |
      INFO.LOGONERRORS |
      INFO.NOAUDIOPLAYBACK,
  )
  t.match(packet.extraInfo, { clientSessionId: 0, autoReconnectCookie: hex('') })
  t.same(packet.extraInfo?.clientTimeZone, CLIENT_INFO.extraInfo?.clientTimeZone, 'the time zone is kept')
  t.same(packet.extraInfo?.clientAddress, CLIENT_INFO.extraInfo?.clientAddress)
  t.equal(packet.codePage, CLIENT_INFO.codePage, 'the keyboard is kept')
  const [used] = relay.eventsOf('credentials_used')
  t.same(used?.packet, sent, 'the caller can zero what was sent')
  t.equal(relay.relay.phase, 'logon')
})

t.test('what xrdp insists on in the flags of a Client Info is there whatever the client says', async t => {
  // node-rdpjs says nothing of a shell, and xrdp ends what lacks one of the four: xrdp_sec_process_logon_info.
  const insisted = 0x33
  for (const flags of [INFO.UNICODE, INFO.UNICODE | INFO.MOUSE | INFO.DISABLECTRLALTDEL]) {
    const sent = new Harness().toJoined().client(clientInfo({ ...CLIENT_INFO, flags }))
    t.equal(infoPacket(sent).flags & insisted, insisted, `client's flags are ${flags}`)
  }
})

t.test('an ANSI Client Info becomes Unicode', async t => {
  const ansi = (text: string) => new TextEncoder().encode(text)
  const sent = new Harness().toJoined().client(
    clientInfo({
      codePage: 1252,
      flags: INFO.MOUSE,
      domain: ansi('D'),
      userName: ansi('mallory'),
      password: ansi('x'),
      alternateShell: ansi(''),
      workingDir: ansi(''),
      extraInfo: { clientAddressFamily: 2, clientAddress: ansi('192.0.2.7\0'), clientDir: hex('') },
    }),
  )
  const packet = infoPacket(sent)
  t.ok(packet.flags & INFO.UNICODE)
  t.equal(packet.codePage, 0)
  t.same(packet.userName, utf16le('target-user'))
  t.same(packet.extraInfo?.clientAddress, utf16le('192.0.2.7\0'))
  t.equal(packet.extraInfo?.clientTimeZone?.length, 172)
})

t.test('the quality profile decides the performance flags', async t => {
  for (const [renderQualityProfile, flags] of [
    ['low', 0x6f],
    ['balanced', 0x86],
    ['high', 0x180],
  ] as const) {
    const relay = new Harness({
      policy: { channels: new Set(['display']), renderQualityProfile, clipboardBytes: 2 },
    }).toJoined()
    t.equal(infoPacket(relay.client(clientInfo())).extraInfo?.performanceFlags, flags, renderQualityProfile)
  }
})

t.test('without credentials the logon fields are blank and the target asks', async t => {
  const relay = new Harness({ credentials: undefined }).toJoined()
  const packet = infoPacket(relay.client(clientInfo()))
  t.same(
    [packet.domain, packet.userName, packet.password].map(({ length }) => length),
    [0, 0, 0],
  )
  t.equal(packet.flags & INFO.AUTOLOGON, 0)
  t.equal(relay.eventsOf('credentials_used').length, 0)
})

t.test('credentials that do not fit are refused when the relay is made', async t => {
  const credentials = { username: 'u', domain: 'd', password: utf16le('p') }
  t.ok(new Harness({ credentials: { ...credentials, username: 'u'.repeat(255), password: new Uint8Array(510) } }))
  t.throws(() => new Harness({ credentials: { ...credentials, username: 'u'.repeat(256) } }), TypeError)
  t.throws(() => new Harness({ credentials: { ...credentials, domain: 'd'.repeat(256) } }), TypeError)
  t.throws(() => new Harness({ credentials: { ...credentials, password: new Uint8Array(512) } }), TypeError)
  t.throws(() => new Harness({ credentials: { ...credentials, password: new Uint8Array(3) } }), TypeError)
})

t.test('a server that skips licensing goes straight to its capabilities', async t => {
  const relay = new Harness().toJoined()
  relay.client(clientInfo())
  t.ok(relay.server(demandActive()).length > 0)
  relay.client(confirmActive())
  t.equal(relay.relay.phase, 'active')
})

t.test('a licensing message whose header could be a share header is taken as licensing', async t => {
  const relay = new Harness().toJoined()
  relay.client(clientInfo())
  // flags 0x0080 would be a totalLength of 128, flagsHi 0x0011 the type of Demand Active.
  const body = concat(hex('01 03 7c 00'), new Uint8Array(120))
  const packet = indication(IO, encodeSecurityHeader(SEC.LICENSE_PKT, 0x0011), body)
  t.same(relay.server(packet), packet)
  t.equal(relay.eventsOf('license').length, 1)
})

t.test('a server that leaves the echo of the protocol request at 0 is taken', async t => {
  const relay = new Harness()
  relay.client(connectInitial())
  t.ok(relay.server(connectResponse({ clientRequestedProtocols: 0 })).length > 0)
})

t.test('licensing messages go both ways, and the caller learns how it ended', async t => {
  const relay = new Harness().toJoined()
  relay.client(clientInfo())
  const challenge = indication(IO, encodeSecurityHeader(SEC.LICENSE_PKT), hex('01 03 06 00 aa bb'))
  t.same(relay.server(challenge), challenge)
  const answer = request(IO, encodeSecurityHeader(SEC.LICENSE_PKT | SEC.LICENSE_ENCRYPT), hex('13 03 06 00 aa bb'))
  t.same(relay.client(answer), answer)
  t.same(relay.server(license()), license())
  t.same(relay.eventsOf('license'), [
    { type: 'license', messageType: 1 },
    { type: 'license', messageType: 0xff, errorCode: 7, stateTransition: 2 },
  ])
})

t.test('neither side may compress channels that are looked into', async t => {
  const relay = new Harness().toJoined()
  relay.client(clientInfo())
  const demand = userData(relay.server(demandActive()))
  const confirm = userData(relay.client(confirmActive()))
  for (const pdu of [demand, confirm]) {
    t.same(
      capabilitySets(pdu).map(({ type, data }) => [type, data]),
      [
        [0x14, hex('00 00 00 00 40 06 00 00')],
        [0x99, hex('ab cd')],
      ],
    )
  }
})

t.test('deactivation and reactivation keep working', async t => {
  const relay = new Harness().toActive()
  const deactivate = indication(IO, hex('06 00 16 00 ea 03'))
  t.same(relay.server(deactivate), deactivate)
  t.ok(relay.server(demandActive()).length > 0)
  const synchronize = request(IO, share(PDUTYPE2.SYNCHRONIZE))
  t.same(relay.client(synchronize), synchronize, 'what was under way is not lost')
  t.ok(relay.client(confirmActive()).length > 0)
  t.equal(relay.relay.phase, 'active')
  t.equal(relay.eventsOf('active').length, 1, 'told once')
})

t.test('a disconnect of either side goes through in every phase', async t => {
  const ultimatum = mcs({ type: 'disconnect_provider_ultimatum', reason: 3 })
  const request224 = hex('03 00 00 0b 06 80 00 00 00 00 00')
  for (const packet of [ultimatum, request224]) {
    for (const stage of ['toChannels', 'toJoined', 'toCapabilities', 'toActive'] as const) {
      t.same(new Harness()[stage]().server(packet).subarray(-packet.length), packet, `server, ${stage}`)
      t.same(new Harness()[stage]().client(packet).subarray(-packet.length), packet, `client, ${stage}`)
    }
  }
})
