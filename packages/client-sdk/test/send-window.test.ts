import { setImmediate } from 'node:timers/promises'
import { UPLOAD_WINDOW_BYTES } from '@rap/data-plane-protocol'
import fc from 'fast-check'
import t from 'tap'
import { EventQueue } from '../src/transfers/event-queue.ts'
import { SendWindow } from '../src/transfers/send-window.ts'

const IDS = ['a', 'b', 'c'] as const
const step = fc.record({
  what: fc.constantFrom('room', 'acknowledge', 'end', 'begin'),
  id: fc.constantFrom(...IDS),
  bytes: fc.integer({ min: 1, max: UPLOAD_WINDOW_BYTES }),
})

t.test('whatever uploads do, no more than the window is under way, and nobody waits while there is room', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
      const window = new SendWindow()
      const sent = new Map<string, number>()
      const acknowledged = new Map<string, number>()
      const waiting: { id: string; bytes: number }[] = []
      const flight = () => IDS.reduce((sum, id) => sum + (sent.get(id) ?? 0) - (acknowledged.get(id) ?? 0), 0)
      const reset = (id: string) => {
        sent.set(id, 0)
        acknowledged.set(id, 0)
      }
      for (const id of IDS) {
        window.begin(id, 0)
        reset(id)
      }
      const live = new Set<string>(IDS)
      for (const { what, id, bytes } of steps) {
        if (what === 'room' && live.has(id)) {
          const entry = { id, bytes }
          waiting.push(entry)
          void window.room(id, bytes).then(() => {
            waiting.splice(waiting.indexOf(entry), 1)
            if (live.has(id)) sent.set(id, (sent.get(id) ?? 0) + bytes)
          })
        } else if (what === 'acknowledge' && live.has(id)) {
          const offset = Math.min(sent.get(id) ?? 0, (acknowledged.get(id) ?? 0) + bytes)
          acknowledged.set(id, offset)
          if (!window.acknowledge(id, offset)) return false
        } else if (what === 'end' && waiting.every(entry => entry.id !== id)) {
          window.end(id)
          reset(id)
          live.delete(id)
        } else if (what === 'begin' && !live.has(id)) {
          window.begin(id, 0)
          live.add(id)
        }
        await setImmediate()
        if (flight() > UPLOAD_WINDOW_BYTES) return false
        const [next] = waiting
        if (next !== undefined && flight() + next.bytes <= UPLOAD_WINDOW_BYTES) return false
      }
      return true
    }),
    { numRuns: 60 },
  )
  t.pass('held')
})

t.test('an acknowledgement of bytes that were never sent is found out', async t => {
  const window = new SendWindow()
  window.begin('a', 100)
  await window.room('a', 10)
  t.equal(window.acknowledge('a', 110), true)
  t.equal(window.acknowledge('a', 111), false)
  t.equal(window.acknowledge('unknown', 5), true, 'one of an upload that is over counts for nothing')
})

t.test('a reader gets what came since it asked, and of a flood the newest', async t => {
  const queue = new EventQueue<number>(() => {})
  const first = queue.next()
  for (let number = 0; number < 1000; number++) queue.push(number)
  t.same(await first, { done: false, value: 0 })
  t.same(await queue.next(), { done: false, value: 744 })
  queue.end()
  let last: number | undefined
  for await (const number of queue) last = number
  t.equal(last, 999)
})

t.test('a reader that leaves is forgotten', async t => {
  const left: EventQueue<number>[] = []
  const queue = new EventQueue<number>(done => left.push(done))
  queue.push(1)
  for await (const _ of queue) break
  t.same(left, [queue])
  t.same(await queue.next(), { done: true, value: undefined })
})
