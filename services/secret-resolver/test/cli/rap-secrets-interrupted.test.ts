import { randomInt } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { countByKey, lostOf } from '../support/keep.ts'
import { startToolStand } from '../support/tool.ts'

// Processes are started and ended, one after the other.
t.setTimeout(240_000)
const { database, keys, run, start, stored } = await startToolStand(t)
const { resolver: sql } = database

t.test('a re-wrap that is killed at any moment loses nothing, and the next one goes on', async t => {
  const kept = await stored(1500)
  let kills = 0
  for (; kills < 4; kills++) {
    const runners = await Promise.all([start(['rewrap']), start(['rewrap'])])
    await waitFor(() => runners.some(({ log }) => log().includes('rewrap_progress')), { what: 'a first batch' })
    await delay(randomInt(60))
    for (const runner of runners) runner.kill('SIGKILL')
    await Promise.all(runners.map(({ exited }) => exited))
    t.strictSame(await lostOf(sql, keys, kept), [], 'everything opens after the kill')
    if (((await countByKey(sql))['2026-a'] ?? 0) === 0) break
  }
  const last = await run(t, ['rewrap'])
  t.equal(last.code, 0)
  t.strictSame(await countByKey(sql), { '2026-b': 1500 })
  t.strictSame(await lostOf(sql, keys, kept), [])
  t.ok(kills > 0, 'at least one was killed with work left')
})

t.test('an interrupt ends it between two batches and says how to go on', async t => {
  const kept = await stored(1500)
  const running = await start(['rewrap'])
  await running.waitForOutput(/rewrap_progress/)
  running.kill('SIGINT')
  const { code } = await running.exited
  t.match(running.log(), code === 130 ? /"event":"interrupted"/ : /"event":"rewrap_finished"/)
  t.equal((await run(t, ['rewrap'])).code, 0)
  t.strictSame(await lostOf(sql, keys, kept), [])
})
