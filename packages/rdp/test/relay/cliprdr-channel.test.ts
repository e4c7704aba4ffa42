import type { Channel } from '@rap/session-policy'
import t from 'tap'
import { CHANNEL_FLAG, encodeChannelChunk, encodeChannelMessage } from '../../src/channel-pdu.ts'
import { CB, encodeFormatListResponse } from '../../src/cliprdr/pdu.ts'
import { decodeMcsPdu, encodeSendData } from '../../src/mcs/domain.ts'
import { concat } from '../helper.ts'
import {
  capabilities,
  LONG,
  list,
  message,
  ready,
  text,
  textList,
  request as textRequest,
} from './clipboard-harness.ts'
import { Harness, REFUSED, request, USER } from './harness.ts'

const CLIPRDR = 1006
const BOTH: readonly Channel[] = ['clipboard_client_to_server', 'clipboard_server_to_client']

/** The packets of one message from the target, by whichever user of MCS. */
function said(bytes: Uint8Array, initiator = 1002): Uint8Array {
  const chunks = encodeChannelMessage(bytes)
  return concat(
    ...chunks.map(chunk => encodeSendData('send_data_indication', { initiator, channelId: CLIPRDR }, chunk)),
  )
}

function told(bytes: Uint8Array): Uint8Array {
  return concat(...encodeChannelMessage(bytes).map(chunk => request(CLIPRDR, chunk)))
}

/** A relay that is up, with a clipboard; the client asks for the channel twice. */
function active(channels: readonly Channel[]): Harness {
  const relay = new Harness({ channels: ['display', 'input', ...channels] })
  return relay.toActive({ channels: ['cliprdr', 'cliprdr'] }, { channelIds: [CLIPRDR] }, [CLIPRDR, REFUSED])
}

t.test('the target has no number of its choice in what the client gets', async t => {
  const conversation = (initiator: (n: number) => number) => {
    const relay = active(['clipboard_client_to_server'])
    let count = 0
    const server = (bytes: Uint8Array) => relay.server(said(bytes, initiator(count++)))
    const client = (bytes: Uint8Array) => {
      relay.client(told(bytes))
      return relay.takeToClient()
    }
    return [
      server(capabilities(LONG)),
      server(ready),
      client(capabilities(LONG)),
      server(list([13, ''], [0xc001, `name ${initiator(1)}`])),
      server(list([0xc000 + (initiator(2) & 0xff), `${initiator(3)}`])),
      client(textRequest()),
      server(text(`${initiator(4)}`)),
      server(message(CB.FILECONTENTS_RESPONSE, Uint8Array.of(initiator(5) & 0xff, 0, 0, 0), 1)),
      server(message(CB.LOCK_CLIPDATA, Uint8Array.of(initiator(6) & 0xff, 0, 0, 0))),
      server(message(0x4242, new Uint8Array(10).fill(initiator(7) & 0xff))),
      client(message(CB.FILECONTENTS_REQUEST, new Uint8Array(28))),
      client(textList),
      server(encodeFormatListResponse(true)),
      server(textRequest()),
    ]
  }
  const plain = conversation(() => 1002)
  t.same(
    conversation(n => 1001 + ((n * 7919) % 5000)),
    plain,
    'whatever user, names, ids and contents it takes, the client gets the same bytes',
  )
  t.ok(plain.filter(bytes => bytes.length > 0).length >= 7, 'and it gets some')
})

t.test(
  'the client hears everything from its own user, so that one who answers in the name of whom it heard is let in',
  async t => {
    const relay = active(BOTH)
    relay.server(said(capabilities(LONG)))
    const heard = decodeMcsPdu(relay.server(said(ready)).subarray(7))
    if (heard.type !== 'send_data_indication') throw new Error(`the client was sent ${heard.type}`)
    t.equal(heard.initiator, USER)
    const route = { initiator: heard.initiator, channelId: CLIPRDR }
    const answer = encodeChannelMessage(textList).map(chunk => encodeSendData('send_data_request', route, chunk))
    t.not(relay.client(...answer).length, 0, 'its list gets through')
  },
)

t.test('texts that programs hand to each other are no activity of a person', async t => {
  const relay = active(BOTH)
  relay.server(said(capabilities(LONG)), said(ready))
  relay.client(told(capabilities(LONG)), told(textList))
  relay.server(said(textList), said(textRequest()))
  relay.client(told(textRequest()), told(text('from the client')))
  relay.server(said(text('from the target')))
  t.match(relay.relay.counters, { clipboardToServer: 1, clipboardToClient: 1 }, 'both went through')
  t.equal(relay.relay.activity, 0)
})

t.test('a second channel of the same name leads nowhere', async t => {
  const relay = active(BOTH)
  relay.server(said(ready))
  t.equal(relay.client(request(REFUSED, ...encodeChannelMessage(textList))).length, 0)
  t.not(relay.client(told(textList)).length, 0)
})

t.test('messages that are cut and mixed with those of the other side do not mix', async t => {
  const relay = active(BOTH)
  relay.server(said(capabilities(LONG)), said(ready))
  relay.client(told(capabilities(LONG)), told(textList))
  relay.server(said(textList), said(textRequest()))
  relay.client(told(textRequest()))
  const cut = (bytes: Uint8Array) =>
    Array.from(bytes, (byte, at) => {
      const flags = (at === 0 ? CHANNEL_FLAG.FIRST : 0) | (at === bytes.length - 1 ? CHANNEL_FLAG.LAST : 0)
      return encodeChannelChunk({ length: bytes.length, flags, data: Uint8Array.of(byte) })
    })
  const [mine, theirs] = [cut(text('of the client')), cut(text('of the target'))]
  for (const [at, chunk] of mine.entries()) {
    relay.relay.fromClient(request(CLIPRDR, chunk))
    const other = theirs[at] as Uint8Array
    relay.relay.fromServer(encodeSendData('send_data_indication', { initiator: 1002, channelId: CLIPRDR }, other))
  }
  const words = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf16le', bytes.length - 28, bytes.length - 2)
  t.equal(words(relay.takeToServer()), 'of the client')
  t.equal(words(relay.takeToClient()), 'of the target')
  t.equal(relay.relay.bufferedBytes, 0)
})
