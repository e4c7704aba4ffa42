import t from 'tap'
import { PacedAttempts } from '../src/index.ts'

/** Attempts that end when the test says so, with a clock that the test moves. */
function paced(pauseMs: number) {
  const state = { now: 0, running: 0, most: 0, end: () => {} }
  const attempts = new PacedAttempts({
    pauseMs,
    now: () => state.now,
    async attempt() {
      state.running += 1
      state.most = Math.max(state.most, state.running)
      await new Promise<void>(resolve => {
        state.end = resolve
      })
      state.running -= 1
    },
  })
  const turn = () => new Promise(resolve => setImmediate(resolve))
  return { attempts, state, turn }
}

t.test('however many ask, attempts never overlap', async t => {
  const { attempts, state, turn } = paced(0)
  const asked = Array.from({ length: 10 }, () => attempts.any())
  await turn()
  t.equal(attempts.begun, 1)
  state.end()
  await Promise.all(asked)
  t.equal(state.most, 1)
})

t.test('who asks for a fresh attempt during one gets the next, together with all others who do', async t => {
  const { attempts, state, turn } = paced(0)
  const first = attempts.any()
  await turn()
  const fresh = [attempts.fresh(), attempts.fresh()]
  t.equal(attempts.begun, 1)
  state.end()
  await first
  await turn()
  t.equal(attempts.begun, 2)
  state.end()
  await Promise.all(fresh)
  t.equal(attempts.begun, 2)
})

t.test('within the pause nobody is turned away, and no attempt begins before its end', async t => {
  const { attempts, state, turn } = paced(50)
  const first = attempts.fresh()
  await turn()
  state.end()
  await first
  const began = performance.now()
  const second = attempts.fresh()
  while (attempts.begun === 1) await turn()
  t.ok(performance.now() - began > 40)
  state.end()
  await second
  state.now += 50
  const third = attempts.fresh()
  await turn()
  t.equal(attempts.begun, 3, 'past the pause it begins at once')
  state.end()
  await third
})
