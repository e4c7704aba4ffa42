import { DEFAULT_LIMITS } from '@rap/session-policy'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { LimitWatch, type NearLimit } from '../../src/relays/limit-watch.ts'
import type { RuntimePolicy } from '../../src/sessions/runtime-policy.ts'

const SECOND_MS = 10

/** It stands still, but where a test moves it. */
const clock = { ms: 0 }
const pass = (seconds: number) => {
  clock.ms += seconds * SECOND_MS
}

function policyFor({ idle, left, at = 'then' }: { idle?: number; left?: number; at?: string }): RuntimePolicy {
  return {
    channels: ['display', 'events'],
    limits: { ...DEFAULT_LIMITS, idle_seconds: idle ?? null },
    endsAt: left === undefined ? undefined : { at, overAtMs: clock.ms + left * SECOND_MS },
  }
}

function watchOver(t: { teardown(run: () => void): void }, policy: RuntimePolicy) {
  const told: NearLimit[] = []
  const reached: string[] = []
  const did = { count: 0, looks: 0 }
  const watch = new LimitWatch({
    policy,
    activity: () => {
      did.looks += 1
      return did.count
    },
    onNear: near => told.push(near),
    onReached: reason => reached.push(reason),
    secondMs: SECOND_MS,
    now: () => clock.ms,
  })
  t.teardown(() => watch.stop())
  return { watch, told, reached, did }
}

t.test('a limit that is near is told once, is there for whoever asks, and ends once', async t => {
  const { watch, told, reached } = watchOver(t, policyFor({ idle: 100_000, left: 90 }))
  t.same(watch.near(), [])
  pass(31)
  await waitFor(() => told.length > 0, { what: 'the warning', intervalMs: 2 })
  const [near] = watch.near()
  t.match(near, { limit: 'session_seconds' })
  t.ok(near !== undefined && near.secondsLeft <= 60 && near.secondsLeft > 0, `${near?.secondsLeft}`)
  pass(60)
  await waitFor(() => reached.length > 0, { what: 'the end', intervalMs: 2 })
  t.same(reached, ['ERR_SESSION_TIME_LIMIT'])
  t.equal(told.length, 1)
  t.same(watch.near(), [])
})

t.test('the end of the session goes before that of idleness where both are reached', async t => {
  const { watch, reached } = watchOver(t, policyFor({}))
  watch.setPolicy({ ...policyFor({ idle: 0, left: -1 }) })
  t.same(reached, ['ERR_SESSION_TIME_LIMIT'])
})

t.test('an answer that says the same again warns nobody again; another end does', async t => {
  const { watch, told } = watchOver(t, policyFor({}))
  for (const left of [5000, 50, 49, 48]) watch.setPolicy(policyFor({ left }))
  t.equal(told.length, 1)
  watch.setPolicy(policyFor({ left: 40, at: 'earlier' }))
  t.equal(told.length, 2)
  watch.setPolicy(policyFor({ left: 5000, at: 'much later' }))
  t.same(watch.near(), [])
})

t.test('whoever does something is not idle, and is warned anew the next time', async t => {
  const { watch, told, did, reached } = watchOver(t, policyFor({ idle: 40 }))
  for (let round = 1; round <= 3; round++) {
    pass(30)
    await waitFor(() => told.length === round, { what: `warning ${round}`, intervalMs: 2 })
    t.match(watch.near(), [{ limit: 'idle_seconds' }])
    did.count++
    t.same(watch.near(), [], 'at once')
    const { looks } = did
    await waitFor(() => did.looks > looks, { what: 'a look', intervalMs: 2 })
  }
  t.same(reached, [])
})
