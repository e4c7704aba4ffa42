import t from 'tap'
import { CHANNEL_FLAG } from '../../src/channel-pdu.ts'
import { CB } from '../../src/cliprdr/pdu.ts'
import { concat, hex, utf16le, vector } from '../helper.ts'
import {
  ClipboardHarness,
  capabilities,
  chunksOf,
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

const { FIRST, LAST, PACKET_COMPRESSED } = CHANNEL_FLAG
const response = (data: Uint8Array, flags = 1): Uint8Array => message(CB.FORMAT_DATA_RESPONSE, data, flags)

/** A clipboard on which the client waits for the text of the target. */
function waiting(maxBytes = 4096): ClipboardHarness {
  const it = new ClipboardHarness({ maxBytes }).offered()
  it.client(request())
  return it
}

/** The next copy works: the session goes on. */
function copies(it: ClipboardHarness): boolean {
  it.take()
  it.server(textList)
  it.client(request())
  return it.server(text('on')).includes('client: text on')
}

t.test('nothing hides behind the end of a text', async t => {
  t.same(waiting().server(response(utf16le('a\0MZ and more\0'))), ['client: text a', 'server_to_client 2 bytes'])
  t.same(waiting().server(response(utf16le('a'))), ['client: text a', 'server_to_client 2 bytes'], 'nor is there none')
  t.same(waiting().server(response(utf16le('\0hidden'))), ['client: text ', 'server_to_client 0 bytes'])
  t.same(waiting().server(response(hex(''))), ['client: text ', 'server_to_client 0 bytes'])
  t.same(waiting().server(concat(text('a'), utf16le('hidden'))), ['client: text a', 'server_to_client 2 bytes'])
  const padding = waiting(2).server(response(concat(utf16le('a\0'), new Uint8Array(400).fill(0x41))))
  t.same(padding, ['server_to_client ERR_CLIPBOARD_TOO_LARGE', 'client: no text'], 'nor makes anybody hold it')
})

t.test('half units and halves of surrogates do not get through', async t => {
  const malformed = ['server_to_client ERR_CLIPBOARD_MALFORMED', 'client: no text']
  t.same(waiting().server(response(hex('41 00 42'))), malformed)
  t.same(waiting().server(response(hex('41'))), malformed)
  t.same(waiting().server(response(hex('3d d8 00 00'))), ['client: text \ufffd', 'server_to_client 2 bytes'])
})

t.test('files of the target are no text, whatever was asked for', async t => {
  const it = new ClipboardHarness().offered()
  t.same(it.server(vector('clipboard-file-list')), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  it.client(request())
  t.same(it.server(vector('clipboard-file-list')), ['client: text \u0002', 'server_to_client 2 bytes'], 'up to its NUL')
  for (const size of ['00 00 01 00', '08 00 00 00']) {
    const range = hex(`02 00 00 00 01 00 00 00 02 00 00 00 00 00 00 00 00 00 00 00 ${size}`)
    t.same(it.client(message(CB.FILECONTENTS_REQUEST, range)), [
      'server_to_client ERR_CLIPBOARD_FORMAT',
      'client: no file for 2',
    ])
    t.same(it.server(message(CB.FILECONTENTS_REQUEST, range)), [
      'client_to_server ERR_CLIPBOARD_FORMAT',
      'server: no file for 2',
    ])
  }
  const file = message(CB.FILECONTENTS_RESPONSE, concat(hex('02 00 00 00'), new Uint8Array(5000)), 1)
  t.same(it.server(file), ['server_to_client ERR_CLIPBOARD_FORMAT'])
  t.same(it.client(file), ['client_to_server ERR_CLIPBOARD_FORMAT'])
  t.ok(copies(it))
})

t.test('an answer that nobody asked for goes nowhere, and the next request is not answered by it', async t => {
  const it = new ClipboardHarness().offered()
  t.same(it.server(text('unasked')), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  t.same(it.client(text('unasked')), ['client_to_server ERR_CLIPBOARD_MALFORMED'])
  t.same(it.server(text('x'.repeat(9000))), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  t.same(it.client(request()), ['server: request 13'])
  t.same(it.client(text('an answer to itself')), ['client_to_server ERR_CLIPBOARD_MALFORMED'])
  t.same(it.server(text('right')), ['client: text right', 'server_to_client 10 bytes'])
  t.same(it.server(text('twice')), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
})

t.test('a text that nobody waits for is not held', async t => {
  const it = new ClipboardHarness().offered()
  const [first] = chunksOf(text('x'.repeat(1500)), 1600)
  if (first === undefined) throw new Error('no chunk')
  it.clipboard.fromServer(first)
  t.equal(it.clipboard.bufferedBytes, TYPE_BYTES)
})

t.test('a type is known by both its bytes, however they are cut', async t => {
  const it = waiting()
  for (const size of [1, 1600]) {
    t.same(it.server(message(0x0100 | CB.FORMAT_DATA_RESPONSE, utf16le('a\0'), 1), size), [
      'server_to_client ERR_CLIPBOARD_MALFORMED',
    ])
  }
  t.same(it.server(text('a'), 1), ['client: text a', 'server_to_client 2 bytes'])
})

t.test('flags that contradict are a failure and no text', async t => {
  for (const flags of [0, 3, 4, 8, 0xfffc, 0xffff]) {
    const outcome = waiting().server(response(utf16le('a\0'), flags))
    t.same(outcome, ['server_to_client ERR_CLIPBOARD_MALFORMED', 'client: no text'], `flags ${flags}`)
  }
  t.same(waiting().server(response(utf16le('a\0'), 2)), ['client: no text'], 'a failure carries no text')
  const it = new ClipboardHarness().offered()
  t.same(it.server(message(CB.FORMAT_LIST_RESPONSE, hex(''), 3)), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  t.same(it.server(message(CB.FORMAT_DATA_REQUEST, hex('0d 00 00 00'), 0xffff)), ['client: request 13'])
})

t.test('a bomb is let go of without being held, and who waits hears that there is no text', async t => {
  const it = waiting()
  const length = 0xffffffff
  const data = new Uint8Array(1600).fill(0x41)
  data.set(response(hex('')))
  it.clipboard.fromServer({ length, flags: FIRST, data })
  for (let chunk = 0; chunk < 5000; chunk++) it.clipboard.fromServer({ length, flags: 0, data })
  t.equal(it.clipboard.bufferedBytes, TYPE_BYTES)
  t.same(it.take(), [], 'to its end')
  it.clipboard.fromServer({ length, flags: LAST, data })
  t.same(it.take(), ['server_to_client ERR_CLIPBOARD_MALFORMED', 'client: no text'], 'it was shorter than it said')
  t.ok(copies(it))

  const whole = waiting()
  t.same(whole.server(text('x'.repeat(100_000))), ['server_to_client ERR_CLIPBOARD_TOO_LARGE', 'client: no text'])
  t.ok(copies(whole))
})

t.test('dataLen of four gigabytes in a small message is refused', async t => {
  t.same(waiting().server(hex('05 00 01 00 ff ff ff ff 41 00 00 00')), [
    'server_to_client ERR_CLIPBOARD_MALFORMED',
    'client: no text',
  ])
  const it = new ClipboardHarness().ready()
  t.same(it.client(hex('02 00 00 00 ff ff ff ff 0d 00 00 00 00 00')), [
    'client_to_server ERR_CLIPBOARD_MALFORMED',
    'client: list failed',
  ])
  t.same(it.server(request()), ['server: no text'], 'and offers nothing')
})

t.test('a claim makes nobody hold or zero memory: what is held is at most twice what came', async t => {
  const MAX_BYTES = 16 * 2 ** 20
  const it = waiting(MAX_BYTES)
  const claim = (msgType: number, length: number) => {
    it.clipboard.fromServer({ length, flags: FIRST, data: Uint8Array.of(msgType, 0) })
    t.ok(it.clipboard.bufferedBytes <= 4, `${it.clipboard.bufferedBytes} bytes for a claim of ${length}`)
  }
  claim(CB.FORMAT_DATA_RESPONSE, MAX_BYTES)
  claim(CB.FORMAT_LIST, 65_536)
  it.client(request())
  claim(CB.FORMAT_DATA_RESPONSE, MAX_BYTES)
  it.clipboard.fromServer({ length: MAX_BYTES, flags: 0, data: new Uint8Array(1598) })
  t.ok(it.clipboard.bufferedBytes <= 3200)
  t.ok(copies(it))
})

t.test('a list without measure is refused and not held', async t => {
  const it = new ClipboardHarness().offered()
  const many = list([13, ''], ...Array.from({ length: 10_000 }, (_, index) => [0xc000 + index, 'f'] as const))
  const [first, ...rest] = chunksOf(many)
  if (first === undefined) throw new Error('no chunk')
  it.clipboard.fromServer(first)
  t.equal(it.clipboard.bufferedBytes, TYPE_BYTES)
  for (const chunk of rest) it.clipboard.fromServer(chunk)
  t.same(it.take(), ['server_to_client ERR_CLIPBOARD_TOO_LARGE', 'server: list failed'])
  t.same(it.client(request()), ['client: no text'], 'what it offered before is void')
  t.ok(copies(it))
})

t.test('a list that ends inside a name is refused', async t => {
  const it = new ClipboardHarness().offered()
  t.same(it.server(message(CB.FORMAT_LIST, hex('0d 00 00 00 41 00'))), [
    'server_to_client ERR_CLIPBOARD_MALFORMED',
    'server: list failed',
  ])
})

t.test('no flood makes anything grow', async t => {
  const it = new ClipboardHarness().offered()
  const flood = [
    textList,
    listOk,
    request(),
    request(1),
    text('x'),
    noText,
    ready,
    capabilities(2),
    message(CB.LOCK_CLIPDATA, hex('01 00 00 00')),
    message(CB.UNLOCK_CLIPDATA, hex('01 00 00 00')),
    message(CB.FILECONTENTS_REQUEST, new Uint8Array(28)),
    message(0x4242),
  ]
  for (let round = 0; round < 2000; round++) {
    for (const bytes of flood) {
      it.client(bytes)
      it.server(bytes)
    }
    it.sent.length = 0
  }
  t.equal(it.clipboard.bufferedBytes, 0)
  t.ok(copies(it))
})

t.test('locks, unknown types and what belongs to the other side go nowhere', async t => {
  const it = new ClipboardHarness().offered()
  for (const side of ['client', 'server'] as const) {
    const direction = side === 'client' ? 'client_to_server' : 'server_to_client'
    for (const type of [CB.LOCK_CLIPDATA, CB.UNLOCK_CLIPDATA]) t.same(it[side](message(type, hex('08 00 00 00'))), [])
    t.same(it[side](vector('clipboard-temp-directory')), [])
    for (const type of [0, 0x0c, 0x0100, 0xffff]) {
      t.same(it[side](message(type, new Uint8Array(3000))), [`${direction} ERR_CLIPBOARD_MALFORMED`], `type ${type}`)
    }
  }
  t.same(it.client(ready), ['client_to_server ERR_CLIPBOARD_MALFORMED'], 'a client is no monitor')
  t.same(it.client(listOk), ['server: list ok'])
  t.same(it.client(listOk), [], 'one answer a list')
  t.ok(copies(it))
})

t.test('capabilities of any shape turn nothing on', async t => {
  const it = new ClipboardHarness()
  t.same(it.server(capabilities(0xffffffff)), ['client: capabilities 2 2'])
  t.same(it.client(capabilities(0xfffffffd)), ['server: capabilities 2 0'])
  const version = hex('07 00 00 00 10 00 00 00 01 00 00 00 01 00 0c 00 ff ff ff ff 02 00 00 00')
  t.same(it.server(version), ['client: capabilities 2 2'])
  t.same(it.client(hex('07 00 00 00 08 00 00 00 ff ff 00 00 01 00 00 00')), [
    'client_to_server ERR_CLIPBOARD_MALFORMED',
  ])
  t.same(it.client(message(CB.CLIP_CAPS, new Uint8Array(60_000))), ['client_to_server ERR_CLIPBOARD_MALFORMED'])
})

t.test('requests without their fields are answered where somebody waits', async t => {
  const it = new ClipboardHarness().offered()
  t.same(it.server(message(CB.FORMAT_DATA_REQUEST, hex('0d 00'))), [
    'client_to_server ERR_CLIPBOARD_MALFORMED',
    'server: no text',
  ])
  t.same(it.server(message(CB.FORMAT_DATA_REQUEST, new Uint8Array(500))), [
    'client_to_server ERR_CLIPBOARD_TOO_LARGE',
    'server: no text',
  ])
  t.same(it.server(message(CB.FILECONTENTS_REQUEST, hex('01'))), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  t.same(it.server(new Uint8Array(0)), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  t.same(it.server(hex('05')), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  t.same(it.server(hex('05 00 01')), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
})

t.test('chunks that contradict one another are dropped, and the next FIRST begins anew', async t => {
  const whole = text('hello')
  const [head, tail] = [whole.subarray(0, 10), whole.subarray(10)]
  const { length } = whole
  const cases = {
    'another length': [{ length: length + 1, flags: LAST, data: tail }],
    'another length, and as much data': [{ length: length + 1, flags: LAST, data: concat(tail, hex('00')) }],
    'more data than its message': [{ length, flags: LAST, data: new Uint8Array(length) }],
    'LAST before the end': [{ length, flags: LAST, data: tail.subarray(1) }],
    'compressed in the middle': [{ length, flags: LAST | PACKET_COMPRESSED, data: tail }],
  }
  for (const [name, chunks] of Object.entries(cases)) {
    const it = waiting()
    it.clipboard.fromServer({ length, flags: FIRST, data: head })
    for (const chunk of chunks) it.clipboard.fromServer(chunk)
    t.same(it.take(), ['server_to_client ERR_CLIPBOARD_MALFORMED', 'client: no text'], name)
    t.equal(it.clipboard.bufferedBytes, 0)
    it.clipboard.fromServer({ length, flags: LAST, data: tail })
    t.same(it.take(), ['server_to_client ERR_CLIPBOARD_MALFORMED'], 'its rest belongs to nothing')
    t.ok(copies(it), name)
  }

  const anew = waiting()
  anew.clipboard.fromServer({ length: 5000, flags: FIRST, data: new Uint8Array(100).fill(1) })
  t.same(anew.server(whole, 7).at(-2), 'client: text hello')

  const cut = waiting()
  cut.clipboard.fromServer({ length, flags: FIRST, data: head })
  t.same(cut.server(textList), ['server_to_client ERR_CLIPBOARD_MALFORMED', 'client: no text', 'client: long list 13'])

  const compressed = waiting()
  compressed.clipboard.fromServer({ length, flags: FIRST | LAST | PACKET_COMPRESSED, data: whole })
  t.same(compressed.take(), ['server_to_client ERR_CLIPBOARD_MALFORMED'])
  t.ok(copies(compressed))
})
