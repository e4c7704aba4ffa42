import t from 'tap'
import { MIN_FETCH_INTERVAL_MS, VerificationKeys } from '../src/verification-keys.ts'
import { signingSet } from './helper.ts'

const first = await signingSet()
const second = await signingSet()

function keysWith(answers: (() => unknown)[]) {
  const state = { now: 0, fetches: 0 }
  const keys = new VerificationKeys({
    now: () => state.now,
    fetchKeySet: async () => {
      const answer = answers[Math.min(state.fetches, answers.length - 1)]
      state.fetches += 1
      return answer?.()
    },
  })
  return { keys, state }
}

const fail = () => {
  throw new Error('control plane is away')
}

t.test('a known key is answered from the cache', async t => {
  const { keys, state } = keysWith([() => first.jwks])
  t.ok(await keys.lookup(first.key.kid))
  t.ok(await keys.lookup(first.key.kid))
  t.equal(state.fetches, 1)
})

t.test('many lookups at once make one fetch', async t => {
  const { keys, state } = keysWith([() => first.jwks])
  const found = await Promise.all(Array.from({ length: 20 }, () => keys.lookup(first.key.kid)))
  t.ok(found.every(key => key !== undefined))
  t.equal(state.fetches, 1)
})

t.test('an unknown key is asked for again, at most once an interval, also while fetches fail', async t => {
  const { keys, state } = keysWith([() => first.jwks, fail, () => second.jwks])
  await keys.lookup(first.key.kid)
  for (let attempt = 0; attempt < 10; attempt++) t.notOk(await keys.lookup('made-up'))
  t.equal(state.fetches, 1)
  state.now += MIN_FETCH_INTERVAL_MS
  for (let attempt = 0; attempt < 10; attempt++) t.notOk(await keys.lookup(second.key.kid))
  t.equal(state.fetches, 2, 'a failed fetch counts')
  state.now += MIN_FETCH_INTERVAL_MS
  t.ok(await keys.lookup(second.key.kid))
  t.notOk(await keys.lookup(first.key.kid), 'a key that is out of the set is out of use')
})

t.test('an old key set is replaced, is used while the control plane is away, and not for ever', async t => {
  const { keys, state } = keysWith([() => first.jwks, fail])
  await keys.lookup(first.key.kid)
  state.now += 6 * 60_000
  t.ok(await keys.lookup(first.key.kid))
  t.equal(state.fetches, 2)
  state.now += 60 * 60_000
  t.notOk(await keys.lookup(first.key.kid))
  t.notOk(await keys.ready())
})

t.test('a document that is no key set gives no key', async t => {
  for (const document of [
    undefined,
    null,
    {},
    { keys: 'x' },
    { keys: Array(100).fill({}) },
    { keys: [{ kty: 'oct', k: 'AA' }] },
  ]) {
    const { keys } = keysWith([() => document])
    t.notOk(await keys.lookup(first.key.kid))
  }
})
