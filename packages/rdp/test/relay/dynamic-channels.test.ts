import t from 'tap'
import { CHANNEL_FLAG, encodeChannelChunk } from '../../src/channel-pdu.ts'
import { type DynvcPdu, encodeDynvcPdu, STATUS_NO_LISTENER } from '../../src/drdynvc.ts'
import { encodeSendData } from '../../src/mcs/domain.ts'
import { PDUTYPE2 } from '../../src/share.ts'
import { concat, hex, refuses } from '../helper.ts'
import { DISPLAY_CONTROL, DRDYNVC, dynamic, Harness, IO, indication, request, share, USER } from './harness.ts'

const fromServer = (pdu: DynvcPdu) => dynamic(indication, encodeDynvcPdu(pdu))
/** The same as the client gets it: in its own name, whoever the target speaks as. */
const heard: typeof indication = (channelId, ...parts) =>
  encodeSendData('send_data_indication', { initiator: USER, channelId }, ...parts)
const asHeard = (pdu: DynvcPdu) => dynamic(heard, encodeDynvcPdu(pdu))
const fromClient = (pdu: DynvcPdu) => dynamic(request, encodeDynvcPdu(pdu))
const create = (channelId: number, channelName: string): DynvcPdu => ({
  type: 'create_request',
  channelId,
  priority: 0,
  channelName,
})
const accept = (channelId: number, creationStatus = 0): DynvcPdu => ({
  type: 'create_response',
  channelId,
  creationStatus,
})
const data = (channelId: number, compressed = false): DynvcPdu => ({
  type: 'data',
  channelId,
  compressed,
  data: hex('01 02'),
})
const refusal = (channelId: number) => fromClient(accept(channelId, STATUS_NO_LISTENER))

/** An active relay with display control open as channel 3. */
function open() {
  const relay = new Harness().toActive()
  relay.server(fromServer(create(3, DISPLAY_CONTROL)))
  relay.client(fromClient(accept(3)))
  return relay
}

t.test('display control is opened, carries data both ways, and is closed', async t => {
  const relay = new Harness().toActive()
  for (const [side, pdu] of [
    ['server', create(3, DISPLAY_CONTROL)],
    ['client', accept(3)],
    ['server', data(3)],
    ['client', data(3)],
    ['client', { type: 'data_first', channelId: 3, length: 4000, compressed: false, data: hex('01') }],
    ['client', { type: 'close', channelId: 3 }],
  ] as const) {
    if (side === 'server') t.same(relay.server(fromServer(pdu)), asHeard(pdu), pdu.type)
    else t.same(relay.client(fromClient(pdu)), fromClient(pdu), pdu.type)
  }
  t.equal(relay.server(fromServer(data(3))).length, 0, 'closed is closed')
})

t.test('other channels are refused in the name of the client, who never hears of them', async t => {
  const relay = new Harness().toActive()
  const names = ['Microsoft::Windows::RDS::Graphics', 'AUDIO_INPUT', 'URBDRC', '', DISPLAY_CONTROL.toLowerCase()]
  for (const [index, name] of names.entries()) {
    t.equal(relay.server(fromServer(create(index, name))).length, 0, name)
    t.same(relay.takeToServer(), refusal(index))
    t.equal(relay.server(fromServer(data(index))).length, 0)
    t.equal(relay.client(fromClient(data(index))).length, 0)
  }
  const told = relay.eventsOf('channel_refused').filter(({ kind }) => kind === 'dynamic')
  t.same(
    told.map(({ name }) => name),
    names,
  )
  t.equal(told[0]?.direction, 'server_to_client')
})

t.test('a channel is told once however often it is asked for, and names are not told without end', async t => {
  const relay = new Harness().toActive()
  for (let count = 0; count < 3; count++) relay.server(fromServer(create(1, 'AUDIO_INPUT')))
  t.equal(relay.eventsOf('channel_refused').filter(({ name }) => name === 'AUDIO_INPUT').length, 1)
  for (let count = 0; count < 500; count++) relay.server(fromServer(create(1, `name-${count}`)))
  t.equal(relay.eventsOf('channel_refused').filter(({ kind }) => kind === 'dynamic').length, 64)
  t.equal(relay.relay.counters.refusedChannels, 3 + 503)
})

t.test('data pass only on a channel that the client has accepted', async t => {
  const relay = new Harness().toActive()
  relay.server(fromServer(create(3, DISPLAY_CONTROL)))
  t.equal(relay.server(fromServer(data(3))).length, 0, 'before the answer')
  t.equal(relay.client(fromClient(data(3))).length, 0, 'before the answer')
  relay.client(fromClient(accept(3, 0x80004005)))
  t.equal(relay.server(fromServer(data(3))).length, 0, 'after a refusal by the client')
  t.equal(relay.server(fromServer(data(4))).length, 0, 'on an id that was never asked for')
})

t.test('an answer that nobody asked for does not open a channel', async t => {
  const relay = new Harness().toActive()
  t.equal(relay.client(fromClient(accept(9))).length, 0)
  t.equal(relay.client(fromClient(data(9))).length, 0)
  relay.server(fromServer(create(5, 'AUDIO_INPUT')))
  relay.takeToServer()
  t.equal(relay.client(fromClient(accept(5))).length, 0, 'nor one that was refused')
  t.equal(relay.client(fromClient(data(5))).length, 0)
})

t.test('an id that is asked for again under a refused name is no longer open', async t => {
  const relay = open()
  relay.server(fromServer(create(3, 'AUDIO_INPUT')))
  t.same(relay.takeToServer(), refusal(3))
  t.equal(relay.client(fromClient(data(3))).length, 0)
  t.equal(relay.server(fromServer(data(3))).length, 0)
})

t.test('the number of open channels is bounded', async t => {
  const relay = new Harness().toActive()
  for (let channelId = 0; channelId < 16; channelId++) {
    t.ok(relay.server(fromServer(create(channelId, DISPLAY_CONTROL))).length > 0)
  }
  t.equal(relay.server(fromServer(create(16, DISPLAY_CONTROL))).length, 0)
  t.same(relay.takeToServer(), refusal(16))
})

t.test('without display, display control is refused like any other', async t => {
  const relay = new Harness({ channels: ['input'] })
  t.doesNotThrow(() => relay.toActive({ channels: ['drdynvc', 'cliprdr'] }, { channelIds: [] }))
  t.ok(relay.eventsOf('channel_refused').some(({ name }) => name === 'drdynvc'))
})

t.test(
  'a client that answers in the name of whoever it heard answers in its own, whoever the target speaks as',
  async t => {
    for (const initiator of [1002, USER, 1001, 65_535]) {
      const relay = new Harness().toActive()
      const said: typeof indication = (channelId, ...parts) =>
        encodeSendData('send_data_indication', { initiator, channelId }, ...parts)
      const got = relay.server(dynamic(said, encodeDynvcPdu(create(3, DISPLAY_CONTROL))))
      t.same(got, asHeard(create(3, DISPLAY_CONTROL)), `${initiator}`)
      t.same(relay.client(fromClient(accept(3))), fromClient(accept(3)))
    }
  },
)

t.test('version 3 is offered as version 2, so that nobody compresses', async t => {
  const relay = new Harness().toActive()
  const priorityCharges = [1, 2, 3, 4]
  const capabilities = (version: number): DynvcPdu => ({ type: 'capabilities', version, priorityCharges })
  t.same(relay.server(fromServer(capabilities(3))), asHeard(capabilities(2)))
  t.same(relay.server(fromServer(capabilities(2))), asHeard(capabilities(2)))
  const answer = (version: number): DynvcPdu => ({ type: 'capabilities', version, priorityCharges: [] })
  t.same(relay.client(fromClient(answer(3))), fromClient(answer(2)))
  t.same(relay.client(fromClient(answer(2))), fromClient(answer(2)))
  t.same(relay.server(fromServer(answer(1))), asHeard(answer(1)))
  t.same(relay.client(fromClient(answer(2))), fromClient(answer(1)), 'not above what was offered')
})

t.test('compressed data are refused on an open channel and swallowed on any other', async t => {
  for (const pdu of [
    data(3, true),
    { type: 'data_first', channelId: 3, length: 9, compressed: true, data: hex('01') },
  ] as const) {
    refuses(t, () => open().server(fromServer(pdu)), 'ERR_WIRE_REFUSED')
    refuses(t, () => open().client(fromClient(pdu)), 'ERR_WIRE_REFUSED')
    t.equal(new Harness().toActive().server(fromServer(pdu)).length, 0)
  }
})

t.test('a message of a dynamic channel is bounded by 64 KiB', async t => {
  const first = (length: number): DynvcPdu => ({
    type: 'data_first',
    channelId: 3,
    length,
    compressed: false,
    data: hex('01'),
  })
  t.ok(open().client(fromClient(first(65_535))).length > 0)
  t.ok(open().client(fromClient(first(65_536))).length > 0)
  refuses(t, () => open().client(fromClient(first(65_537))), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => open().server(fromServer(first(0xffffffff))), 'ERR_WIRE_TOO_LARGE')
})

t.test('soft-sync, which moves channels to a tunnel, reaches neither side', async t => {
  const relay = open()
  t.equal(relay.server(fromServer({ type: 'soft_sync_request', body: hex('00 12 00 00 00 03 00 01 00') })).length, 0)
  t.equal(relay.client(fromClient({ type: 'soft_sync_response', body: hex('00 01 00 00 00') })).length, 0)
})

t.test('a message in several chunks is joined, judged and passed on', async t => {
  const relay = open()
  const message = encodeDynvcPdu({ type: 'data', channelId: 3, compressed: false, data: new Uint8Array(4000).fill(7) })
  t.same(relay.server(dynamic(indication, message)), dynamic(heard, message))
  const hidden = dynamic(indication, encodeDynvcPdu({ ...data(8), data: new Uint8Array(4000) } as DynvcPdu))
  t.equal(relay.server(hidden).length, 0)
})

t.test('chunks that are compressed, too large or out of order are refused', async t => {
  const chunk = (length: number, flags: number, size = 4) =>
    indication(DRDYNVC, encodeChannelChunk({ length, flags, data: new Uint8Array(size) }))
  const { FIRST, LAST, PACKET_COMPRESSED } = CHANNEL_FLAG
  const relay = () => new Harness().toActive()
  refuses(t, () => relay().server(chunk(4, FIRST | LAST | PACKET_COMPRESSED)), 'ERR_WIRE_REFUSED')
  refuses(t, () => relay().server(chunk(65_537, FIRST)), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => relay().server(chunk(4, 0)), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => relay().server(indication(DRDYNVC, hex('04 00 00'))), 'ERR_WIRE_TRUNCATED')
  const holding = relay()
  holding.server(chunk(65_536, FIRST, 30_000))
  t.equal(holding.relay.bufferedBytes, 30_000)
  refuses(t, () => holding.server(chunk(65_536, FIRST)), 'ERR_WIRE_INVALID_FIELD', 'begun twice')
})

t.test('suspend and resume without data pass', async t => {
  for (const flags of [CHANNEL_FLAG.SUSPEND, CHANNEL_FLAG.RESUME]) {
    const chunk = encodeChannelChunk({ length: 0, flags, data: hex('') })
    t.same(new Harness().toActive().server(indication(DRDYNVC, chunk)), heard(DRDYNVC, chunk))
  }
})

t.test('a refusal does not land in the middle of what the client is sending', async t => {
  const relay = new Harness().toActive()
  const input = request(IO, share(PDUTYPE2.INPUT, new Uint8Array(200)))
  const begun = relay.client(input.subarray(0, 100))
  t.equal(begun.length, 100, 'input is passed on as it comes')
  relay.server(fromServer(create(1, 'AUDIO_INPUT')))
  t.equal(relay.takeToServer().length, 0)
  t.same(relay.client(input.subarray(100)), concat(input.subarray(100), refusal(1)))
})

t.test('a client that never ends its PDU cannot make refusals pile up', async t => {
  const relay = new Harness().toActive()
  relay.client(request(IO, share(PDUTYPE2.INPUT, new Uint8Array(200))).subarray(0, 100))
  let most = 0
  refuses(
    t,
    () => {
      for (let count = 0; count < 100_000; count++) {
        relay.server(fromServer(create(1, 'AUDIO_INPUT')))
        most = Math.max(most, relay.relay.bufferedBytes)
      }
    },
    'ERR_WIRE_TOO_LARGE',
  )
  t.ok(most <= 65_536)
})
