import t from 'tap'
import { encodeFastPath } from '../../src/fast-path.ts'
import { SC } from '../../src/gcc/blocks.ts'
import { decodeMcsPdu, type McsPdu } from '../../src/mcs/domain.ts'
import { encodeSecurityHeader, SEC } from '../../src/security-header.ts'
import { encodeServerRedirection } from '../../src/server-redirection.ts'
import { encodeShareData, PDUTYPE2 } from '../../src/share.ts'
import { changed, concat, contains, hex, refuses, utf16le, vector } from '../helper.ts'
import {
  clientInfo,
  connectInitial,
  connectResponse,
  DRDYNVC,
  demandActive,
  demandActivePdu,
  fastPath,
  Harness,
  IO,
  indication,
  joinConfirm,
  license,
  MESSAGE,
  mcs,
  REFUSED,
  share,
  USER,
} from './harness.ts'

const REDIRECTION = encodeServerRedirection({
  sessionId: 1,
  redirFlags: 0,
  userName: utf16le('target-user\0'),
  password: utf16le('canary-7f3a\0'),
})
const redirectionPdu = concat(Uint8Array.of(8 + REDIRECTION.length, 0), hex('1a 00 ea 03 00 00'), REDIRECTION)

const NAMES = [utf16le('NTDEV'), utf16le('eltons')]
const COOKIE = vector('save-session-info-extended').subarray(18, 42)
const saveSessionInfo = (name: string) => share(PDUTYPE2.SAVE_SESSION_INFO, vector(name))

t.test('Server Redirection is refused in every form and phase, and told', async t => {
  const enhanced = indication(IO, redirectionPdu)
  const standard = indication(IO, encodeSecurityHeader(SEC.REDIRECTION_PKT), REDIRECTION)
  for (const packet of [enhanced, standard]) {
    const relay = new Harness().toJoined()
    relay.client(clientInfo())
    refuses(t, () => relay.server(packet), 'ERR_WIRE_REFUSED', 'while licensing')
    t.equal(relay.takeToClient().length, 0)
    t.equal(relay.eventsOf('server_redirection_refused').length, 1)
  }
  for (const stage of ['toCapabilities', 'toActive'] as const) {
    const relay = new Harness()[stage]()
    refuses(t, () => relay.server(enhanced), 'ERR_WIRE_REFUSED', stage)
    t.equal(relay.eventsOf('server_redirection_refused').length, 1)
  }
})

t.test('Server Redirection hidden behind a picture in one message is found', async t => {
  const relay = new Harness().toActive()
  refuses(t, () => relay.server(indication(IO, share(PDUTYPE2.UPDATE), redirectionPdu)), 'ERR_WIRE_REFUSED')
  t.equal(relay.takeToClient().length, 0)
})

t.test('Save Session Info reaches the client without names and cookie, in every phase', async t => {
  for (const stage of ['toCapabilities', 'toActive'] as const) {
    for (const name of ['logon', 'logon-long', 'plain-notify', 'extended']) {
      const relay = new Harness()[stage]()
      relay.takeToClient()
      const got = relay.server(indication(IO, saveSessionInfo(`save-session-info-${name}`)))
      t.ok(got.length > 0)
      for (const secret of [...NAMES, COOKIE]) t.notOk(contains(got, secret), name)
    }
  }
})

t.test('Save Session Info is told to the caller by its kind, and logon errors by their numbers', async t => {
  const relay = new Harness().toActive()
  relay.server(indication(IO, saveSessionInfo('save-session-info-logon-long')))
  relay.server(indication(IO, saveSessionInfo('save-session-info-extended')))
  t.same(
    relay.events.filter(({ type }) => type === 'save_session_info' || type === 'logon_error'),
    [
      { type: 'save_session_info', infoType: 1 },
      { type: 'save_session_info', infoType: 3 },
      { type: 'logon_error', errorNotificationType: 0xfffffffa, errorNotificationData: 2 },
    ],
  )
})

t.test('names and cookies hidden behind a picture, or in front of one, do not leak', async t => {
  const picture = share(PDUTYPE2.UPDATE, hex('01 02 03 04'))
  for (const name of ['logon-long', 'extended']) {
    const info = saveSessionInfo(`save-session-info-${name}`)
    for (const parts of [
      [picture, info],
      [info, picture],
      [hex('00 80 00 41 00 00 ea 03'), info, picture],
    ]) {
      const got = new Harness().toActive().server(indication(IO, ...parts))
      t.ok(contains(got, picture))
      for (const secret of [...NAMES, COOKIE]) t.notOk(contains(got, secret))
    }
  }
})

t.test('compressed share data cannot be looked into and is refused', async t => {
  for (const pdu of [saveSessionInfo('save-session-info-logon'), share(PDUTYPE2.UPDATE)]) {
    const packet = indication(IO, changed(pdu, 15, 0x21))
    refuses(t, () => new Harness().toActive().server(packet), 'ERR_WIRE_REFUSED')
  }
})

t.test('share data of unknown type does not reach the client', async t => {
  const relay = new Harness().toActive()
  for (const type of [0, PDUTYPE2.INPUT, PDUTYPE2.FONTLIST, 0x60, 0xff]) {
    t.equal(relay.server(indication(IO, share(type))).length, 0, `type ${type}`)
  }
  t.equal(relay.relay.counters.droppedFromServer, 5)
})

t.test('a server cannot reach a channel that the client alone knows, nor one that does not exist', async t => {
  const relay = new Harness().toActive()
  for (const channelId of [REFUSED, REFUSED + 1, REFUSED + 2, 1001, 1999, USER]) {
    t.equal(relay.server(indication(channelId, hex('01000000 03000000 00'))).length, 0, `${channelId}`)
  }
  t.equal(relay.relay.counters.droppedFromServer, 6)
})

t.test('multitransport requests are dropped on the message channel, also behind other flags', async t => {
  const relay = new Harness().toActive()
  const body = hex('01 00 00 00 01 00 00 00 00112233445566778899aabbccddeeff')
  for (const flags of [
    SEC.TRANSPORT_REQ,
    SEC.TRANSPORT_REQ | SEC.AUTODETECT_REQ,
    SEC.TRANSPORT_REQ | SEC.HEARTBEAT,
    SEC.AUTODETECT_REQ | SEC.HEARTBEAT,
    SEC.LICENSE_PKT,
    0,
  ]) {
    t.equal(relay.server(indication(MESSAGE, encodeSecurityHeader(flags), body)).length, 0, `flags ${flags}`)
  }
  const logon = new Harness().toJoined()
  logon.client(clientInfo())
  t.equal(logon.server(indication(MESSAGE, encodeSecurityHeader(SEC.TRANSPORT_REQ), body)).length, 0)
  const detect = indication(MESSAGE, encodeSecurityHeader(SEC.AUTODETECT_REQ), hex('06 00 00 00 01 00'))
  t.same(logon.server(detect), detect, 'connect-time auto-detection goes on')
})

t.test('Standard RDP Security inside TLS is refused', async t => {
  for (const answer of [{ encryptionMethod: 2, encryptionLevel: 2 }, { encryptionLevel: 1 }, { encryptionMethod: 1 }]) {
    const relay = new Harness()
    relay.client(connectInitial())
    refuses(t, () => relay.server(connectResponse(answer)), 'ERR_WIRE_REFUSED')
  }
})

t.test('a server that saw another protocol request than was sent is refused: somebody changed it', async t => {
  const relay = new Harness()
  relay.client(connectInitial())
  refuses(t, () => relay.server(connectResponse({ clientRequestedProtocols: 1 })), 'ERR_WIRE_REFUSED')
})

t.test('a refused settings exchange is told by its result', async t => {
  const relay = new Harness()
  relay.client(connectInitial())
  t.throws(() => relay.server(connectResponse({ result: 14 })), {
    code: 'ERR_WIRE_REFUSED',
    facts: { field: 'result', received: 14 },
  })
})

t.test('channel ids that collide or do not answer the request are refused', async t => {
  for (const answer of [
    { channelIds: [1005, 1006] },
    { channelIds: [IO] },
    { channelIds: [MESSAGE] },
    { messageChannelId: IO },
    { ioChannelId: 1000 },
    { channelIds: [12] },
    { ioChannelId: 0 },
    { without: [SC.NET] },
    { without: [SC.CORE] },
  ]) {
    const relay = new Harness()
    relay.client(connectInitial())
    refuses(t, () => relay.server(connectResponse(answer)), 'ERR_WIRE_INVALID_FIELD', JSON.stringify(answer))
  }
})

t.test('a user id that collides with a channel, refused ones included, is refused', async t => {
  for (const initiator of [IO, DRDYNVC, MESSAGE, REFUSED]) {
    const relay = new Harness().toChannels()
    relay.client(mcs({ type: 'attach_user_request' }))
    const confirm = mcs({ type: 'attach_user_confirm', result: 0, initiator })
    refuses(t, () => relay.server(confirm), 'ERR_WIRE_INVALID_FIELD', `${initiator}`)
  }
})

t.test('confirms that nobody asked for are refused', async t => {
  const confirm = mcs({ type: 'attach_user_confirm', result: 0, initiator: USER })
  refuses(t, () => new Harness().toChannels().server(confirm), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => new Harness().toJoined().server(confirm), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => new Harness().toJoined().server(joinConfirm(IO)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => new Harness().toActive().server(joinConfirm(IO)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => new Harness().server(connectResponse()), 'ERR_WIRE_UNEXPECTED_MESSAGE', 'a response to nothing')
  refuses(t, () => new Harness().toChannels().server(connectResponse()), 'ERR_WIRE_UNEXPECTED_MESSAGE', 'a second one')
  const refusal = new Harness().toChannels()
  refusal.client(mcs({ type: 'attach_user_request' }))
  refuses(t, () => refusal.server(mcs({ type: 'attach_user_confirm', result: 5 })), 'ERR_WIRE_REFUSED')
})

t.test('a join confirm for another channel than asked is refused; a refused join stays unjoined', async t => {
  const joining = (channelId: number) => {
    const relay = new Harness().toChannels()
    relay.client(mcs({ type: 'attach_user_request' }))
    relay.server(mcs({ type: 'attach_user_confirm', result: 0, initiator: USER }))
    relay.client(mcs({ type: 'channel_join_request', initiator: USER, channelId }))
    return relay
  }
  refuses(t, () => joining(IO).server(joinConfirm(DRDYNVC)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  const relay = joining(IO)
  const refusal = mcs({ type: 'channel_join_confirm', result: 5, initiator: USER, requested: IO })
  t.ok(contains(relay.server(refusal), refusal))
  refuses(t, () => relay.client(clientInfo()), 'ERR_WIRE_REFUSED')
})

t.test('a server says nothing before Client Info but the connection sequence', async t => {
  for (const packet of [indication(IO, share(PDUTYPE2.UPDATE)), license(), demandActive(), fastPath(30)]) {
    for (const stage of ['toChannels', 'toJoined'] as const) {
      refuses(t, () => new Harness()[stage]().server(packet), 'ERR_WIRE_UNEXPECTED_MESSAGE')
    }
    t.throws(() => new Harness().server(packet), { name: 'WireError' })
  }
})

t.test('fast-path output before the session is active, or said to be encrypted, is refused', async t => {
  refuses(t, () => new Harness().toCapabilities().server(fastPath(30)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  for (const flags of [1, 2, 3]) {
    const packet = encodeFastPath({ numEvents: 0, flags, body: hex('00 00 00') })
    refuses(t, () => new Harness().toActive().server(packet), 'ERR_WIRE_REFUSED')
  }
})

t.test('malformed capabilities are refused', async t => {
  const relay = () => {
    const harness = new Harness().toJoined()
    harness.client(clientInfo())
    return harness
  }
  const pdu = demandActivePdu()
  refuses(t, () => relay().server(indication(IO, changed(pdu, 10, 0xff))), 'ERR_WIRE_TRUNCATED', 'source descriptor')
  refuses(t, () => relay().server(indication(IO, changed(pdu, 12, 0xff))), 'ERR_WIRE_TRUNCATED', 'combined length')
  refuses(t, () => relay().server(indication(IO, changed(pdu, 24, 3))), 'ERR_WIRE_INVALID_FIELD', 'a set of 3 bytes')
})

t.test('licensing that is encrypted, cut or of other flags is refused', async t => {
  const relay = () => {
    const harness = new Harness().toJoined()
    harness.client(clientInfo())
    return harness
  }
  const body = vector('license-valid-client')
  const packet = (flags: number, bytes: Uint8Array) => indication(IO, encodeSecurityHeader(flags), bytes)
  refuses(t, () => relay().server(packet(SEC.LICENSE_PKT | SEC.ENCRYPT, body)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => relay().server(packet(SEC.INFO_PKT, body)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  refuses(t, () => relay().server(packet(SEC.LICENSE_PKT, body.subarray(0, 15))), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => relay().server(indication(IO, hex('80 00'))), 'ERR_WIRE_TRUNCATED')
})

t.test('a Save Session Info that is cut does not pass as it is', async t => {
  const refused = indication(IO, share(PDUTYPE2.SAVE_SESSION_INFO, hex('03 00 00 00 06 00 01')))
  refuses(t, () => new Harness().toActive().server(refused), 'ERR_WIRE_TRUNCATED')
  const header = encodeShareData({ pduSource: 0, shareId: 0, streamId: 0, pduType2: PDUTYPE2.UPDATE, body: hex('') })
  const short = changed(header.subarray(0, 17), 0, 17)
  refuses(t, () => new Harness().toActive().server(indication(IO, short)), 'ERR_WIRE_TRUNCATED')
})

t.test('what goes on after scrubbing is a message of its own to the same channel', async t => {
  const got = new Harness().toActive().server(indication(IO, saveSessionInfo('save-session-info-logon')))
  const pdu = decodeMcsPdu(got.subarray(7)) as McsPdu & { type: 'send_data_indication' }
  t.match(pdu, { type: 'send_data_indication', initiator: 1002, channelId: IO })
})
