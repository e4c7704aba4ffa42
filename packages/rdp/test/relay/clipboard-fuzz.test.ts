import fc from 'fast-check'
import t from 'tap'
import { CB, encodeCliprdrPdu } from '../../src/cliprdr/pdu.ts'
import type { ClipboardPolicy } from '../../src/relay/clipboard.ts'
import { concat, contains, utf16le, vector } from '../helper.ts'
import {
  ClipboardHarness,
  type ClipboardSide,
  capabilities,
  chunksOf,
  inWords,
  LONG,
  list,
  listOk,
  message,
  noText,
  ready,
  request,
  text,
  textList,
} from './clipboard-harness.ts'

const MAX_BYTES = 64
/** Both directions: a list of 64 KiB or a text with its slack and header. */
const MAX_BUFFERED_BYTES = 2 * (65_536 + MAX_BYTES + 72)

type Step =
  | { readonly from: ClipboardSide; readonly chunk: { length: number; flags: number; data: Uint8Array } }
  | { readonly policy: ClipboardPolicy }

const side = fc.constantFrom<ClipboardSide>('client', 'server')
const words = fc.string({ unit: 'binary', maxLength: 20 })
const anyData = fc.uint8Array({ maxLength: 60 })
const sound = fc.oneof(
  fc.constantFrom(
    ready,
    capabilities(LONG),
    capabilities(0),
    capabilities(0xffffffff),
    textList,
    list(),
    list([13, ''], [0xc0bc, 'FileGroupDescriptorW']),
    vector('clipboard-format-list-picture'),
    vector('clipboard-file-list'),
    vector('clipboard-temp-directory'),
    listOk,
    request(),
    request(1),
    request(0xc0bc),
    noText,
    message(CB.LOCK_CLIPDATA, new Uint8Array(4)),
    message(CB.FILECONTENTS_REQUEST, new Uint8Array(28)),
  ),
  words.map(text),
  fc.tuple(anyData, fc.nat({ max: 7 })).map(([data, flags]) => message(CB.FORMAT_DATA_RESPONSE, data, flags)),
)
const anyMessage = fc
  .record({ msgType: fc.nat({ max: 12 }), msgFlags: fc.nat({ max: 7 }), data: anyData })
  .map(encodeCliprdrPdu)
const bent = fc
  .tuple(sound, fc.nat({ max: 40 }), fc.integer({ min: 0, max: 255 }))
  .map(([bytes, at, value]) => bytes.map((byte, index) => (index === at ? value : byte)))
const whole = fc
  .tuple(side, fc.oneof({ weight: 6, arbitrary: sound }, anyMessage, bent), fc.integer({ min: 1, max: 100 }))
  .map(([from, bytes, size]): Step[] => chunksOf(bytes, size).map(chunk => ({ from, chunk })))
const noise = fc
  .tuple(
    side,
    fc.record({
      length: fc.oneof(fc.nat({ max: 60 }), fc.constantFrom(0, 1, 8, 5000, 0xffffffff)),
      flags: fc.oneof(fc.nat({ max: 3 }), fc.constantFrom(0x13, 0x23, 0x20, 0x40, 0x200003, 0x200000)),
      data: anyData,
    }),
  )
  .map(([from, chunk]): Step[] => [{ from, chunk }])
const narrowing = fc
  .record({ clientToServer: fc.boolean(), serverToClient: fc.boolean(), maxBytes: fc.nat({ max: MAX_BYTES }) })
  .map((policy): Step[] => [{ policy }])
/** Copies and pastes as programs make them, so that texts do go through. */
const paste = fc.tuple(side, words).map(([from, said]): Step[] => {
  const to = from === 'client' ? 'server' : 'client'
  const steps: [ClipboardSide, Uint8Array][] = [
    [from, textList],
    [to, request()],
    [from, text(said)],
  ]
  return steps.flatMap(([who, bytes]) => chunksOf(bytes).map(chunk => ({ from: who, chunk })))
})
const steps = fc
  .array(
    fc.oneof({ weight: 5, arbitrary: whole }, { weight: 3, arbitrary: paste }, noise, {
      weight: 1,
      arbitrary: narrowing,
    }),
    { maxLength: 25 },
  )
  .map(parts => parts.flat())

/** What the rule promises, kept beside it from the bytes that came and those that left. */
class Watch {
  readonly #said: Record<ClipboardSide, Uint8Array> = { client: new Uint8Array(0), server: new Uint8Array(0) }
  readonly #open = { client: 0, server: 0 }
  policy: ClipboardPolicy

  constructor(policy: ClipboardPolicy) {
    this.policy = policy
  }

  comes(from: ClipboardSide, data: Uint8Array): void {
    this.#said[from] = concat(this.#said[from], data)
  }

  /** Throws where a message should not have left. */
  leaves(to: ClipboardSide, bytes: Uint8Array): void {
    const from = to === 'client' ? 'server' : 'client'
    const [kind, ...rest] = inWords(bytes).split(' ')
    const allowed = from === 'client' ? this.policy.clientToServer : this.policy.serverToClient
    const wanted = to === 'client' ? this.policy.clientToServer : this.policy.serverToClient
    if (kind === 'ready' && to === 'server') throw new Error('a client that is ready')
    if (kind === 'capabilities' && !['0', '2'].includes(rest[1] as string)) throw new Error('more than long names')
    if (kind === 'long' || kind === 'short') {
      if (!allowed || rest.join(' ') !== 'list 13') throw new Error('a list that should not be')
    }
    if (kind === 'request') {
      if (!wanted || rest[0] !== '13') throw new Error('a request that should not be')
      this.#open[to]++
    }
    if (kind === 'text') this.#text(from, allowed, bytes.subarray(8, -2))
  }

  #text(from: ClipboardSide, allowed: boolean, sent: Uint8Array): void {
    if (!allowed) throw new Error('a text in a direction that is off')
    if (this.#open[from]-- < 1) throw new Error('a text that nobody asked for')
    if (sent.length > this.policy.maxBytes) throw new Error('a text that is too long')
    const isRepaired = contains(sent, utf16le('\ufffd'))
    if (!isRepaired && !contains(this.#said[from], sent)) throw new Error('a text that nobody said')
  }
}

t.test('whatever comes, only text leaves that was asked for, and the next paste works', async t => {
  let texts = 0
  fc.assert(
    fc.property(steps, fc.boolean(), fc.boolean(), (list, clientToServer, serverToClient) => {
      const policy = { clientToServer, serverToClient, maxBytes: MAX_BYTES }
      const it = new ClipboardHarness(policy).ready()
      it.sent.length = 0
      const watch = new Watch(policy)
      for (const step of list) {
        if ('policy' in step) {
          it.clipboard.setPolicy(step.policy)
          watch.policy = step.policy
          continue
        }
        watch.comes(step.from, step.chunk.data)
        if (step.from === 'client') it.clipboard.fromClient(step.chunk)
        else it.clipboard.fromServer(step.chunk)
        for (const { to, bytes } of it.sent.splice(0)) watch.leaves(to, bytes)
        texts += it.take().filter(line => line.includes(': text ')).length
        if (it.clipboard.bufferedBytes > MAX_BUFFERED_BYTES) throw new Error('holds too much')
      }
      it.clipboard.setPolicy({ clientToServer: true, serverToClient: true, maxBytes: MAX_BYTES })
      it.ready()
      it.server(textList)
      it.client(request())
      if (!it.server(text('on')).includes('client: text on')) throw new Error('the way to the client is stuck')
      it.client(textList)
      it.server(request())
      if (!it.client(text('on')).includes('server: text on')) throw new Error('the way to the target is stuck')
    }),
    { numRuns: 3000 },
  )
  t.ok(texts > 500, `${texts} texts went through`)
})

t.test('each request has one answer, whatever the owner does', async t => {
  const doing = fc.constantFrom(
    textList,
    list(),
    noText,
    text('x'),
    text('x'.repeat(500)),
    message(CB.FORMAT_DATA_RESPONSE),
  )
  const step = fc.oneof(
    fc.constant({ asks: true, bytes: request() }),
    doing.map(bytes => ({ asks: false, bytes })),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), side, (list, owner) => {
      const it = new ClipboardHarness({ maxBytes: MAX_BYTES }).offered()
      const asker = owner === 'client' ? 'server' : 'client'
      let open = 0
      for (const { asks, bytes } of list) {
        if (asks) open++
        for (const line of it[asks ? asker : owner](bytes)) {
          if (line === `${asker}: no text` || line.startsWith(`${asker}: text`)) open--
        }
        if (open < 0 || open > 1) throw new Error(`${open} requests without answer`)
      }
      if (open === 1) it[owner](noText)
    }),
    { numRuns: 1000 },
  )
  t.pass()
})
