import t from 'tap'
import { clockOffsetMs, TokenSource } from '../src/token-source.ts'

const NOW = Date.parse('2026-01-01T00:00:00Z')
const grant = (token: string, seconds: number, clockOffset = 0) => ({
  dataPlane: { token, expires_at: new Date(NOW + seconds * 1000).toISOString(), candidates: [] },
  clockOffsetMs: clockOffset,
})

t.test('a token is handed out once, then a fresh one is asked for', async t => {
  let minted = 0
  const tokens = new TokenSource(
    grant('first', 60),
    async () => grant(`fresh-${++minted}`, 60),
    () => NOW,
  )
  t.equal(await tokens.take(), 'first')
  t.equal(await tokens.take(), 'fresh-1')
  t.equal(await tokens.take(), 'fresh-2')
})

t.test('a token that is nearly over is not handed out', async t => {
  for (const [seconds, expected] of [
    [15, 'first'],
    [14, 'fresh'],
    [-100, 'fresh'],
  ] as const) {
    const tokens = new TokenSource(
      grant('first', seconds),
      async () => grant('fresh', 60),
      () => NOW,
    )
    t.equal(await tokens.take(), expected, `${seconds} s left`)
  }
})

t.test('a wrong clock of this machine changes nothing: the time of the server counts', async t => {
  const slowByAnHour = 3_600_000
  const tokens = new TokenSource(
    grant('first', 60 + 3600, slowByAnHour),
    async () => grant('fresh', 60, slowByAnHour),
    () => NOW,
  )
  t.equal(await tokens.take(), 'first')
  t.equal(tokens.nowSeconds, NOW / 1000 + 3600)
  t.equal(clockOffsetMs(NOW + slowByAnHour, NOW), slowByAnHour)
  t.equal(clockOffsetMs(NOW - 1999, NOW), 0, 'the Date header has whole seconds')
  t.equal(clockOffsetMs(undefined, NOW), 0)
})

t.test('after an attach the older token is forgotten', async t => {
  const tokens = new TokenSource(
    grant('first', 60),
    async () => grant('fresh', 60),
    () => NOW,
  )
  await tokens.take()
  tokens.replace(grant('attached', 60))
  t.equal(await tokens.take(), 'attached')
})

t.test('an expiry that is no time is refused', async t => {
  const bad = { dataPlane: { token: 'x', expires_at: 'soon', candidates: [] }, clockOffsetMs: 0 }
  await t.rejects(
    new TokenSource(
      bad,
      async () => bad,
      () => NOW,
    ).take(),
    { code: 'ERR_RESPONSE_INVALID' },
  )
})

t.test('a token that was asked for before an attach does not take the place of what the attach brought', async t => {
  const asked = [Promise.withResolvers<ReturnType<typeof grant>>(), Promise.withResolvers<ReturnType<typeof grant>>()]
  let mints = 0
  const tokens = new TokenSource(
    grant('first', 60),
    () => asked[mints++]?.promise ?? Promise.reject(new Error('asked too often')),
    () => NOW,
  )
  await tokens.take()
  const late = tokens.take()
  tokens.replace(grant('attached', 60))
  asked[0]?.resolve(grant('before the attach', 60))
  t.equal(await late, 'attached')
  asked[1]?.resolve(grant('fresh', 60))
  t.equal(await tokens.take(), 'fresh')
})

t.test('two who ask at once have a token each', async t => {
  let minted = 0
  const tokens = new TokenSource(
    grant('first', 60),
    async () => grant(`fresh-${++minted}`, 60),
    () => NOW,
  )
  const taken = await Promise.all([tokens.take(), tokens.take(), tokens.take(), tokens.take()])
  t.equal(new Set(taken).size, 4)
})
