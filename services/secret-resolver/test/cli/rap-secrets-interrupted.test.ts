import { randomInt } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { countByKey, lostOf, withWorkLeft } from '../support/keep.ts'
import { startToolStand } from '../support/tool.ts'

const { database, keys, run, start, stored } = await startToolStand(t)
const { resolver: sql, superuser } = database
/** Two programs start first. */
const PATIENCE_MS = 50_000

t.test('a re-wrap that is killed at any moment loses nothing, and the next one goes on', async t => {
  const kept = await stored(1500)
  for (let kills = 0; kills < 4; kills++) {
    await withWorkLeft(superuser, async () => {
      const runners = await Promise.all([start(['rewrap']), start(['rewrap'])])
      const isBegun = () => runners.some(({ log }) => log().includes('rewrap_progress'))
      await waitFor(isBegun, { what: 'a first batch', timeoutMs: PATIENCE_MS })
      await delay(randomInt(60))
      for (const runner of runners) runner.kill('SIGKILL')
      await Promise.all(runners.map(({ exited }) => exited))
    })
    t.strictSame(await lostOf(sql, keys, kept), [], 'everything opens after the kill')
    t.ok((await countByKey(sql))['2026-a'], 'it was killed with work left')
  }
  const last = await run(t, ['rewrap'])
  t.equal(last.code, 0)
  t.strictSame(await countByKey(sql), { '2026-b': 1500 })
  t.strictSame(await lostOf(sql, keys, kept), [])
})

t.test('an interrupt ends it between two batches and says how to go on', async t => {
  const kept = await stored(1500)
  const running = await start(['rewrap'])
  await running.waitForOutput(/rewrap_progress/, PATIENCE_MS)
  running.kill('SIGINT')
  const { code } = await running.exited
  t.match(running.log(), code === 130 ? /"event":"interrupted"/ : /"event":"rewrap_finished"/)
  t.equal((await run(t, ['rewrap'])).code, 0)
  t.strictSame(await lostOf(sql, keys, kept), [])
})
