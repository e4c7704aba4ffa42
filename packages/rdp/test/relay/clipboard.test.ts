import t from 'tap'
import { CB } from '../../src/cliprdr/pdu.ts'
import { hex, vector } from '../helper.ts'
import {
  ALL_FLAGS,
  BOTH_WAYS,
  ClipboardHarness,
  capabilities,
  chunksOf,
  LONG,
  list,
  listOk,
  message,
  noText,
  ready,
  request,
  TYPE_BYTES,
  text,
  textList,
} from './clipboard-harness.ts'

t.test('a text goes from the client to the target and back, and each message is written anew', async t => {
  const it = new ClipboardHarness()
  t.same(it.server(capabilities(ALL_FLAGS)), ['client: capabilities 2 2'])
  t.same(it.server(ready), ['client: ready'])
  t.same(it.client(capabilities(ALL_FLAGS)), ['server: capabilities 2 2'])
  t.same(it.client(vector('clipboard-temp-directory')), [], 'the path of a folder of the client stays')
  t.same(it.client(textList), ['server: long list 13'])
  t.same(it.server(listOk), ['client: list ok'])
  t.same(it.server(request()), ['client: request 13'])
  t.same(it.client(text('hello')), ['server: text hello', 'client_to_server 10 bytes'])
  t.same(it.server(textList), ['client: long list 13'])
  t.same(it.client(listOk), ['server: list ok'])
  t.same(it.client(request()), ['server: request 13'])
  t.same(it.server(text('world 😀')), ['client: text world 😀', 'server_to_client 16 bytes'])
})

t.test('names are short unless both sides say long', async t => {
  const short = message(CB.FORMAT_LIST, new Uint8Array([13, 0, 0, 0, ...new Uint8Array(32)]))
  for (const [server, client] of [
    [0, LONG],
    [LONG, 0],
    [0, 0],
    [undefined, undefined],
  ]) {
    const it = new ClipboardHarness()
    if (server !== undefined) it.server(capabilities(server))
    it.server(ready)
    if (client !== undefined) it.client(capabilities(client))
    t.same(it.client(short), ['server: short list 13'], `${server} ${client}`)
    t.same(it.server(short), ['client: short list 13'])
  }
})

t.test('a list that cannot be one of short names is read with long ones, and still goes on as agreed', async t => {
  const it = new ClipboardHarness()
  it.server(capabilities(LONG))
  it.server(ready)
  t.same(it.server(list([13, ''], [16, ''], [1, ''], [7, ''])), ['client: short list 13'])
  t.same(it.client(request()), ['server: request 13'])
  t.same(it.server(list([1, ''], [13, 'long name'])), ['client: short list 13'])
  t.same(it.server(message(CB.FORMAT_LIST, new Uint8Array(35).fill(1))), [
    'server_to_client ERR_CLIPBOARD_MALFORMED',
    'server: list failed',
  ])
})

t.test('of a list with other formats only text is left, and files, pictures and HTML are told', async t => {
  const it = new ClipboardHarness().ready()
  t.same(it.client(vector('clipboard-format-list-text')), [
    'client_to_server ERR_CLIPBOARD_FORMAT',
    'server: long list 13',
  ])
  t.same(it.client(vector('clipboard-format-list-picture')), [
    'client_to_server ERR_CLIPBOARD_FORMAT',
    'server: empty list',
  ])
  t.same(it.server(list([0xc0bc, 'FileGroupDescriptorW'], [0xc0ba, 'FileContents'])), [
    'server_to_client ERR_CLIPBOARD_FORMAT',
    'client: empty list',
  ])
  t.same(it.client(list([13, ''], [16, ''], [1, ''], [7, ''])), ['server: long list 13'], 'what stands beside any text')
})

t.test('only text that was offered can be asked for', async t => {
  const it = new ClipboardHarness().ready()
  t.same(it.server(request()), ['server: no text'], 'nothing was offered')
  it.client(textList)
  for (const id of [0, 1, 2, 8, 15, 0xc0bc, 0xffffffff]) {
    t.same(it.server(request(id)), ['client_to_server ERR_CLIPBOARD_FORMAT', 'server: no text'], `format ${id}`)
  }
  it.client(list())
  t.same(it.server(request()), ['server: no text'], 'it was taken back')
})

t.test('in a direction that is off nothing but one empty list goes on', async t => {
  const it = new ClipboardHarness({ clientToServer: false }).ready()
  t.same(it.client(textList), ['client_to_server ERR_CLIPBOARD_DIRECTION', 'server: empty list'])
  t.same(it.server(listOk), ['client: list ok'])
  t.same(it.client(textList), ['client_to_server ERR_CLIPBOARD_DIRECTION', 'client: list ok'])
  t.same(it.client(list()), ['client: list ok'])
  t.same(it.server(request()), ['client_to_server ERR_CLIPBOARD_DIRECTION', 'server: no text'])
  t.same(it.client(text('secret')), ['client_to_server ERR_CLIPBOARD_DIRECTION'])
  t.same(it.server(textList), ['client: long list 13'], 'the other direction is on')
  t.same(it.client(request()), ['server: request 13'])
  t.same(it.server(text('out')), ['client: text out', 'server_to_client 6 bytes'])
})

t.test('the same holds for the way back', async t => {
  const it = new ClipboardHarness({ serverToClient: false }).ready()
  t.same(it.server(textList), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'client: empty list'])
  t.same(it.server(textList), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'server: list ok'])
  t.same(it.client(request()), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'client: no text'])
  t.same(it.server(text('secret')), ['server_to_client ERR_CLIPBOARD_DIRECTION'])
})

t.test('a failure is passed to whoever asked, with an empty text', async t => {
  const failure = hex('05 00 02 00 02 00 00 00 00 00')
  const it = new ClipboardHarness().offered()
  it.client(request())
  t.same(it.server(noText), ['client: no text'])
  t.same(it.sent.at(-1)?.bytes, failure)
  it.server(request())
  t.same(it.client(noText), ['server: no text'])
  t.same(it.sent.at(-1)?.bytes, failure)
  t.same(it.client(noText), [], 'some clients send one before every list')
})

t.test('a text is as long as the limit says, and not a unit longer', async t => {
  const it = new ClipboardHarness({ maxBytes: 20 }).offered()
  for (const [length, outcome] of [
    [9, 'passes'],
    [10, 'passes'],
    [11, 'fails'],
    [42, 'fails'],
    [43, 'fails'],
    [5000, 'fails'],
  ] as const) {
    const words = 'x'.repeat(length)
    it.client(request())
    t.same(
      it.server(text(words)),
      outcome === 'passes'
        ? [`client: text ${words}`, `server_to_client ${length * 2} bytes`]
        : ['server_to_client ERR_CLIPBOARD_TOO_LARGE', 'client: no text'],
      `${length} units`,
    )
    t.equal(it.clipboard.bufferedBytes, 0)
  }
})

t.test('a text comes in chunks of any size', async t => {
  const words = 'Grüße 😀 '.repeat(150)
  for (const size of [1, 2, 3, 7, 8, 9, 100, 1600]) {
    const it = new ClipboardHarness().offered()
    it.client(request())
    t.same(
      it.server(text(words), size),
      [`client: text ${words}`, `server_to_client ${words.length * 2} bytes`],
      `${size}`,
    )
  }
})

t.test('four bytes too many behind each message, as xrdp sends them, do no harm', async t => {
  const it = new ClipboardHarness()
  const extra = (bytes: Uint8Array) => new Uint8Array([...bytes, 0, 0, 0, 0])
  t.same(it.server(extra(capabilities(ALL_FLAGS))), ['client: capabilities 2 2'])
  t.same(it.server(extra(ready)), ['client: ready'])
  it.client(capabilities(LONG))
  t.same(it.server(extra(textList)), ['client: long list 13'])
  it.client(request())
  t.same(it.server(extra(text('a'))), ['client: text a', 'server_to_client 2 bytes'])
})

t.test('flow control of the channel is no message, also in the middle of one', async t => {
  const it = new ClipboardHarness().offered()
  it.client(request())
  const [first, ...rest] = chunksOf(text('hello'), 9)
  if (first === undefined) throw new Error('no chunk')
  it.clipboard.fromServer(first)
  for (const flags of [0x20, 0x40]) it.clipboard.fromServer({ length: 0, flags, data: new Uint8Array(0) })
  for (const chunk of rest) it.clipboard.fromServer(chunk)
  t.same(it.take(), ['client: text hello', 'server_to_client 10 bytes'])
})

t.test('both sides may claim the clipboard at once, and ask each other', async t => {
  const it = new ClipboardHarness().offered()
  t.same(it.client(request()), ['server: request 13'])
  t.same(it.server(request()), ['client: request 13'])
  t.same(it.server(text('of the target')), ['client: text of the target', 'server_to_client 26 bytes'])
  t.same(it.client(text('of the client')), ['server: text of the client', 'client_to_server 26 bytes'])
})

t.test('one request is under way in a direction; a second one fails at once', async t => {
  const it = new ClipboardHarness().offered()
  t.same(it.client(request()), ['server: request 13'])
  t.same(it.client(request()), ['client: no text'])
  t.same(it.server(text('a')), ['client: text a', 'server_to_client 2 bytes'])
  t.same(it.client(request()), ['server: request 13'], 'and then the next one')
})

t.test('a request that is never answered does not block those after the next list', async t => {
  const it = new ClipboardHarness().offered()
  it.client(request())
  it.server(textList)
  t.same(it.client(request()), ['client: no text', 'server: request 13'], 'each request has one answer')
  t.same(it.server(text('new')), ['client: text new', 'server_to_client 6 bytes'])
  t.same(it.server(text('late')), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
})

t.test('a text that comes behind a new list is still the answer', async t => {
  const it = new ClipboardHarness().offered()
  it.client(request())
  it.server(textList)
  t.same(it.server(text('a')), ['client: text a', 'server_to_client 2 bytes'])
})

t.test('a target that starts its clipboard again begins from nothing', async t => {
  const it = new ClipboardHarness().offered()
  it.client(request())
  t.same(it.server(capabilities(LONG)), ['client: capabilities 2 2'])
  t.same(it.server(ready), ['client: no text', 'client: ready'], 'who waits is not left waiting')
  t.same(it.client(request()), ['client: no text'], 'what it offered is gone')
  t.same(it.client(listOk), [], 'and so are its lists')
  t.same(it.client(capabilities(LONG)), ['server: capabilities 2 2'])
  t.same(it.client(textList), ['server: long list 13'])
  t.same(it.server(request()), ['client: request 13'])
  t.same(it.client(text('a')), ['server: text a', 'client_to_server 2 bytes'])
})

t.test('where a direction is off, a target that starts again gets its empty list again', async t => {
  const it = new ClipboardHarness({ clientToServer: false }).ready()
  it.client(textList)
  it.server(ready)
  t.same(it.client(textList), ['client_to_server ERR_CLIPBOARD_DIRECTION', 'server: empty list'])
})

t.test('a text that is under way when its direction is taken away arrives as a failure', async t => {
  const it = new ClipboardHarness().offered()
  it.client(request())
  const [first, ...rest] = chunksOf(text('x'.repeat(1000)), 1600)
  if (first === undefined) throw new Error('no chunk')
  it.clipboard.fromServer(first)
  t.ok(it.clipboard.bufferedBytes > 0)
  it.clipboard.setPolicy({ ...BOTH_WAYS, serverToClient: false })
  t.equal(it.clipboard.bufferedBytes, TYPE_BYTES, 'and is not held any more')
  for (const chunk of rest) it.clipboard.fromServer(chunk)
  t.same(it.take(), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'client: no text'])
  t.same(it.client(request()), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'client: no text'], 'nor asked for')
  t.same(it.server(textList), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'client: empty list'], 'the offer ends')
  t.same(it.server(textList), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'server: list ok'])
  t.same(it.client(textList), ['server: long list 13'], 'the other direction stays')
})

t.test('an answer in one chunk fails likewise, and so does one that a smaller limit does not take', async t => {
  const it = new ClipboardHarness().offered()
  it.client(request())
  it.clipboard.setPolicy({ ...BOTH_WAYS, serverToClient: false })
  t.same(it.server(text('secret')), ['server_to_client ERR_CLIPBOARD_DIRECTION', 'client: no text'])

  const smaller = new ClipboardHarness().offered()
  smaller.client(request())
  smaller.clipboard.setPolicy({ ...BOTH_WAYS, maxBytes: 4 })
  t.same(smaller.server(text('abc')), ['server_to_client ERR_CLIPBOARD_TOO_LARGE', 'client: no text'])
})
