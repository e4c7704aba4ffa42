import t from 'tap'
import { quantile, type Reading } from '../resolve-parts/measure.ts'
import { rowsOf, tableOf } from '../resolve-parts/report.ts'

const LOAD = { name: '8 clients', concurrency: 8, reconnect: false }
const reading = (change: Partial<Reading>): Reading => ({
  answers: 100,
  perSecond: 1000,
  cpuMs: 1,
  perCoreSecond: 1000,
  p50Ms: 1,
  p99Ms: 2,
  ...change,
})

t.test('a quantile is a value that was measured, and none of the parts beyond it', async t => {
  const sorted = Float64Array.from({ length: 100 }, (_, n) => n + 1)
  t.equal(quantile(sorted, 0.5), 50)
  t.equal(quantile(sorted, 0.99), 99)
  t.equal(quantile(sorted, 1), 100)
  t.equal(quantile(Float64Array.of(7), 0.99), 7)
  t.ok(Number.isNaN(quantile(new Float64Array(0), 0.5)), 'of nothing there is none')
})

t.test('a ratio is the middle of the ratios of the rounds, not the ratio of the middles', async t => {
  const resolve = [100, 300, 200].map(perCoreSecond => reading({ perCoreSecond }))
  const bare = [1000, 500, 1000].map(perCoreSecond => reading({ perCoreSecond }))
  const [rate] = rowsOf(LOAD, { resolve, bare })
  t.match(rate, { measure: 'answers a core-second', resolve: 200, bare: 1000, ratio: 0.2, reached: false })
})

t.test('what is promised is marked as reached at its bound, and as missed beyond it', async t => {
  const row = (measure: string, resolve: Reading, bare: Reading) =>
    rowsOf(LOAD, { resolve: [resolve], bare: [bare] }).find(found => found.measure === measure)
  t.equal(row('answers a core-second', reading({ perCoreSecond: 500 }), reading({}))?.reached, true)
  t.equal(row('answers a core-second', reading({ perCoreSecond: 499 }), reading({}))?.reached, false)
  t.equal(row('p99', reading({ p99Ms: 6 }), reading({}))?.reached, true)
  t.equal(row('p99', reading({ p99Ms: 6.1 }), reading({}))?.reached, false)
  t.equal(
    row('p50', reading({ p50Ms: 100 }), reading({}))?.reached,
    undefined,
    'a measure without a promise has no mark',
  )
})

t.test('the table has a line for each row and says what was missed', async t => {
  const rows = rowsOf(LOAD, { resolve: [reading({ perCoreSecond: 100 })], bare: [reading({})] })
  const table = tableOf({ machine: 'a machine', rows })
  t.equal(table.split('\n').filter(line => line.startsWith('| 8 clients')).length, rows.length)
  t.match(table, /\| 8 clients \| answers a core-second \| 100 \/s \| 1000 \| 0\.10 \| ≥ 0\.5 \| NO \|/)
})
