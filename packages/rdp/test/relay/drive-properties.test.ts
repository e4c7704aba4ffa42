import fc from 'fast-check'
import t from 'tap'
import { IRP_MJ } from '../../src/rdpdr/io-request.ts'
import { contains } from '../helper.ts'
import {
  CAPABILITY_REQUEST,
  CLIENT_ID_CONFIRM,
  chunks,
  createBody,
  DEVICE_ACCEPTED,
  decodeCompletion,
  directoryBody,
  ioRequest,
  MemoryFiles,
  queryBody,
  readBody,
  SERVER_ANNOUNCE,
  Target,
  USER_LOGGED_ON,
} from '../rdpdr/target.ts'

const MARK = new TextEncoder().encode('content of the file')
/** What the drive of another session holds. */
const FOREIGN = new TextEncoder().encode('content of another session')
const files = () => new MemoryFiles({ 'a.txt': MARK, 'b.txt': Uint8Array.from({ length: 300 }, (_, index) => index) })

const path = fc.constantFrom('\\', '', '\\a.txt', '/B.TXT', '\\c.txt', '\\*', '\\..\\a.txt', '\\a.txt:x', '\\?.txt')
const u32 = fc.oneof(fc.nat({ max: 8 }), fc.nat({ max: 0xffffffff }))
const body = fc.oneof(
  fc
    .record({ desiredAccess: u32, createDisposition: fc.nat({ max: 7 }), createOptions: u32, path })
    .map(create => createBody(create)),
  path.map(name => createBody({ desiredAccess: 0x81, createDisposition: 1, createOptions: 0, path: name })),
  fc.tuple(u32, u32).map(([offset, length]) => readBody(offset, length)),
  u32.map(queryBody),
  fc.tuple(fc.nat({ max: 13 }), fc.option(path, { nil: undefined })).map(query => directoryBody(...query)),
  fc.uint8Array({ maxLength: 80 }),
)
interface Ask {
  readonly do: 'ask'
  readonly majorFunction: number
  readonly minorFunction: number
  readonly fileId: number
  readonly body: Uint8Array
}
const ask: fc.Arbitrary<Ask> = fc.record({
  do: fc.constant('ask' as const),
  majorFunction: fc.oneof(fc.constantFrom(...Object.values(IRP_MJ)), fc.nat({ max: 30 })),
  minorFunction: fc.nat({ max: 3 }),
  fileId: fc.nat({ max: 6 }),
  body,
})
const event = fc.constantFrom('block', 'clear', 'read', 'changed', 'remove' as const).map(name => ({ do: name }))
const step = fc.oneof({ weight: 6, arbitrary: ask }, { weight: 3, arbitrary: event })

t.test('each request is answered once, whatever is asked in whatever order; and no file changes', async t => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), steps => {
      const held = files()
      held.isPrompt = false
      const target = new Target(held).mount()
      const before = JSON.stringify(held.list())
      const answered = new Map<number, number>()
      const collect = () => {
        for (const { completionId } of target.completions()) {
          answered.set(completionId, (answered.get(completionId) ?? 0) + 1)
        }
      }
      let asked = 0
      for (const now of steps) {
        if (now.do === 'ask') target.ask(now.majorFunction, now.fileId, now.body, now.minorFunction)
        else if (now.do === 'block') target.isClear = false
        else if (now.do === 'read') held.reads.shift()?.()
        else if (now.do === 'changed') target.drive.changed()
        else if (now.do === 'clear') {
          target.isClear = true
          target.drive.resume()
        }
        asked += now.do === 'ask' ? 1 : 0
        collect()
        if (target.drive.bufferedBytes > 1_048_576 + 65_536 + 64 * 256) throw new Error('too much is held')
        if (held.reads.length > 1) throw new Error('two reads at once')
        for (const count of answered.values()) if (count > 1) throw new Error('answered twice')
      }
      target.isClear = true
      target.drive.resume()
      while (held.reads.length > 0) held.reads.shift()?.()
      collect()
      // What is left waits for a change.
      target.drive.changed()
      collect()
      if (answered.size !== asked) throw new Error(`${asked} requests, ${answered.size} answers`)
      return JSON.stringify(held.list()) === before && target.drive.bufferedBytes === 0
    }),
    { numRuns: 1_000 },
  )
  t.pass()
})

t.test('a drive that is taken away answers what was pending, and then gives nothing', async t => {
  fc.assert(
    fc.property(fc.array(ask, { maxLength: 40 }), fc.array(ask, { maxLength: 40 }), (first, later) => {
      const held = files()
      held.isPrompt = false
      const target = new Target(held).mount()
      for (const now of first) target.ask(now.majorFunction, now.fileId, now.body, now.minorFunction)
      target.drive.close()
      const pending = target.take().filter(message => message[2] === 0x43)
      if (pending.length !== first.length) throw new Error(`${first.length} requests, ${pending.length} answers`)
      for (const now of later) target.ask(now.majorFunction, now.fileId, now.body, now.minorFunction)
      while (held.reads.length > 0) held.reads.shift()?.()
      const answers = target.completions()
      return answers.length === later.length && answers.every(({ status, body }) => status !== 0 && body.length <= 5)
    }),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('any bytes in any chunks never throw, and bring nothing of another session', async t => {
  const opening = [SERVER_ANNOUNCE, USER_LOGGED_ON, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM, DEVICE_ACCEPTED]
  const request = ask.map(({ majorFunction, minorFunction, fileId, body: data }) =>
    ioRequest({ majorFunction, minorFunction, fileId, completionId: 1 }, data),
  )
  const message = fc.oneof(fc.constantFrom(...opening), request, fc.uint8Array({ maxLength: 100 }))
  const mutated = fc
    .tuple(message, fc.array(fc.tuple(fc.nat({ max: 120 }), fc.nat({ max: 255 })), { maxLength: 3 }))
    .map(([bytes, changes]) => {
      const copy = Uint8Array.from(bytes)
      for (const [at, value] of changes) if (at < copy.length) copy[at] = value
      return copy
    })
  const cut = fc.record({
    message: mutated,
    size: fc.integer({ min: 1, max: 60 }),
    drop: fc.option(fc.nat({ max: 3 }), { nil: undefined, freq: 5 }),
    flags: fc.option(fc.nat(), { nil: undefined, freq: 10 }),
  })
  fc.assert(
    fc.property(fc.array(cut, { maxLength: 40 }), fc.boolean(), (parts, isMounted) => {
      new Target(new MemoryFiles({ 'foreign.txt': FOREIGN })).mount()
      const target = new Target(files())
      if (isMounted) target.mount()
      for (const { message: bytes, size, drop, flags } of parts) {
        const pieces = chunks(bytes, size)
        if (drop !== undefined) pieces.splice(drop, 1)
        for (const piece of pieces) target.drive.fromServer(flags === undefined ? piece : { ...piece, flags })
      }
      for (const sent of target.take()) {
        if (contains(sent, FOREIGN) || contains(sent, new TextEncoder().encode('id of'))) return false
        if (sent[2] === 0x43 && sent[3] === 0x49) decodeCompletion(sent)
      }
      return true
    }),
    { numRuns: 1_000 },
  )
  t.pass()
})
