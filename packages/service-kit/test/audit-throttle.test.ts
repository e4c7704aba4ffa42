import fc from 'fast-check'
import t from 'tap'
import { AuditThrottle, type AuditThrottleOptions } from '../src/index.ts'

interface Row {
  readonly key: string
  readonly suppressed: number
  readonly isMixed: boolean
}

type Overrides = Partial<Omit<AuditThrottleOptions<string>, 'keyOf'>>

/** A throttle over a clock and an audit of the test's own. The part of an event in front of `/` is its key. */
function stand(options: Overrides = {}) {
  const state = { now: 0, rows: [] as Row[], fails: false }
  const throttle = new AuditThrottle<string>({
    keyOf: event => event.split('/', 1)[0]!,
    send: (event, suppressed, isMixed) => {
      if (state.fails) throw new Error('the audit is away')
      state.rows.push({ key: event.split('/', 1)[0]!, suppressed, isMixed })
    },
    perWindow: 2,
    windowMs: 10_000,
    maxKeys: 3,
    now: () => state.now,
    ...options,
  })
  return { throttle, state, counted: () => state.rows.reduce((sum, { suppressed }) => sum + 1 + suppressed, 0) }
}

t.test('the first events of a key are rows, and the rest is one row with a count', async t => {
  const { throttle, state } = stand()
  for (let number = 0; number < 20_000; number++) void throttle.report('a')
  t.equal(state.rows.length, 2)
  t.equal(throttle.pending, 20_000, 'what is being written is pending as well')
  await throttle.flush()
  t.strictSame(state.rows.at(-1), { key: 'a', suppressed: 19_997, isMixed: false })
  t.equal(state.rows.length, 3)
  t.equal(throttle.pending, 0)
  await throttle.flush()
  t.equal(state.rows.length, 3, 'nothing is written twice')
  await throttle.close()
})

t.test('a report resolves when its row is written, and at once where it is counted', async t => {
  let release = () => {}
  const { throttle } = stand({
    send: async () => await new Promise<void>(resolve => (release = resolve)),
    perWindow: 1,
  })
  let isWritten = false
  const first = throttle.report('a').then(() => (isWritten = true))
  await throttle.report('a')
  t.notOk(isWritten)
  release()
  await first
  t.equal(throttle.pending, 1)
  await Promise.all([throttle.close(), Promise.resolve().then(() => release())])
  t.equal(throttle.pending, 0)
})

t.test('a window ends with its time, and the next one lets the first events through again', async t => {
  const { throttle, state } = stand()
  for (let number = 0; number < 5; number++) void throttle.report('a')
  state.now = 9999
  void throttle.report('a')
  t.equal(state.rows.length, 2)
  state.now = 10_000
  void throttle.report('a')
  t.strictSame(state.rows.slice(2), [
    { key: 'a', suppressed: 3, isMixed: false },
    { key: 'a', suppressed: 0, isMixed: false },
  ])
  await throttle.close()
})

t.test('the end of a window needs no further event', async t => {
  const { throttle, state, counted } = stand({ windowMs: 30, now: () => performance.now() })
  for (let number = 0; number < 10; number++) void throttle.report('a')
  const started = performance.now()
  while (counted() < 10 && performance.now() - started < 5000) await new Promise(resolve => setTimeout(resolve, 5))
  t.equal(counted(), 10)
  t.equal(state.rows.length, 3)
  await throttle.close()
})

t.test('keys beyond the bound are counted together, and such a row says that it is mixed', async t => {
  const { throttle, state } = stand()
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f'])
    for (let number = 0; number < 10; number++) void throttle.report(key)
  await throttle.close()
  for (const key of ['a', 'b', 'c']) {
    t.strictSame(
      state.rows.filter(row => row.key === key).map(({ suppressed }) => suppressed),
      [0, 0, 7],
    )
  }
  const others = state.rows.filter(({ key }) => key > 'c')
  t.strictSame(
    others.map(({ suppressed, isMixed }) => [suppressed, isMixed]),
    [
      [0, false],
      [0, false],
      [27, true],
    ],
    'the single rows speak of one event each',
  )
})

t.test('a row that could not be written is counted, and written when writing works again', async t => {
  const { throttle, state, counted } = stand()
  state.fails = true
  for (let number = 0; number < 100; number++) await throttle.report('a')
  state.now += 10_000
  await throttle.report('a')
  await throttle.flush()
  t.equal(counted(), 0)
  t.equal(throttle.pending, 101)
  state.fails = false
  await throttle.flush()
  t.equal(counted(), 101)
  t.equal(state.rows.length, 1)
  await throttle.close()
})

t.test('rows that nobody answers do not pile up, and what waits for them is counted', async t => {
  const waiting: (() => void)[] = []
  let slow = true
  const { throttle } = stand({
    perWindow: 1000,
    send: async () => {
      if (slow) await new Promise<void>(resolve => waiting.push(resolve))
    },
  })
  for (let number = 0; number < 1000; number++) void throttle.report('a')
  t.equal(waiting.length, 32)
  t.equal(throttle.pending, 1000)
  slow = false
  for (const release of waiting) release()
  await throttle.close()
  t.equal(throttle.pending, 0)
})

t.test('a throttle keeps no process alive, and tries nothing after its close', async t => {
  const { throttle, state } = stand({ windowMs: 20, now: () => performance.now() })
  state.fails = true
  for (let number = 0; number < 10; number++) void throttle.report('a')
  await throttle.close()
  state.fails = false
  await new Promise(resolve => setTimeout(resolve, 60))
  t.equal(state.rows.length, 0)
  t.equal(throttle.pending, 10)
})

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ report: fc.constantFrom('a', 'b', 'c', 'd', 'e'), times: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 3, arbitrary: fc.record({ pass: fc.integer({ min: 0, max: 15_000 }) }) },
  { weight: 2, arbitrary: fc.record({ fails: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ slow: fc.boolean() }) },
  { weight: 2, arbitrary: fc.constant('answer' as const) },
  { weight: 1, arbitrary: fc.constant('flush' as const) },
)

t.test(
  'INVARIANT: events = rows + counts + pending, in any order of events, windows, failures and slow answers',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
        const audit = { rows: [] as Row[], fails: false, slow: false, waiting: [] as (() => void)[] }
        const clock = { now: 0 }
        const reported = new Map<string, number>()
        const throttle = new AuditThrottle<string>({
          keyOf: event => event,
          send: async (key, suppressed, isMixed) => {
            if (audit.slow) await new Promise<void>(resolve => audit.waiting.push(resolve))
            if (audit.fails) throw new Error('the audit is away')
            audit.rows.push({ key, suppressed, isMixed })
          },
          perWindow: 2,
          windowMs: 10_000,
          maxKeys: 2,
          now: () => clock.now,
        })
        const holds = () => {
          const all = [...reported.values()].reduce((sum, count) => sum + count, 0)
          const written = audit.rows.reduce((sum, { suppressed }) => sum + 1 + suppressed, 0)
          const ofKey = (key: string) =>
            audit.rows.filter(row => row.key === key && !row.isMixed).reduce((sum, row) => sum + 1 + row.suppressed, 0)
          return all === written + throttle.pending && [...reported].every(([key, count]) => ofKey(key) <= count)
        }
        const settle = async () => {
          // Every answer that waits comes, and what follows from it.
          for (let turn = 0; turn < 5 || audit.waiting.length > 0; turn++) {
            for (const answer of audit.waiting.splice(0)) answer()
            await new Promise(resolve => setImmediate(resolve))
          }
        }
        for (const action of steps) {
          if (action === 'answer') await settle()
          else if (action === 'flush') void throttle.flush()
          else if ('report' in action) {
            reported.set(action.report, (reported.get(action.report) ?? 0) + action.times)
            for (let number = 0; number < action.times; number++) void throttle.report(action.report)
            await new Promise(resolve => setImmediate(resolve))
          } else if ('pass' in action) clock.now += action.pass
          else Object.assign(audit, action)
          if (!holds()) return false
        }
        audit.fails = false
        audit.slow = false
        const closed = throttle.close()
        await settle()
        await closed
        return holds() && throttle.pending === 0
      }),
      { numRuns: 200 },
    )
  },
)

t.test('INVARIANT: rows in a window are bounded by keys, whatever comes', async () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 500 }), keys => {
      const { throttle, state } = stand({ perWindow: 2, maxKeys: 3 })
      for (const key of keys) void throttle.report(String(key))
      const singles = state.rows.length
      void throttle.flush()
      return singles <= (3 + 1) * 2 && state.rows.length <= (3 + 1) * (2 + 1)
    }),
  )
})
