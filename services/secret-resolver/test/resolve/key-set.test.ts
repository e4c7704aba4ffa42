import { remoteKeySet } from '@rap/service-kit'
import t from 'tap'
import { silent } from '../support/database.ts'
import { createPlatform, createSigner, serveKeys } from '../support/platform.ts'

const platform = await createPlatform()
const controlPlane = await platform.identity('service', 'control-plane')
const own = await platform.identity('service', 'secret-resolver')
const [first, second] = [await createSigner(), await createSigner()]

/** A lookup with a clock that the test moves, against a real HTTPS server. */
async function lookup(test: typeof t, { trusting = platform.ca } = {}) {
  const served = await serveKeys(test, controlPlane, [first.jwk])
  const clock = { ms: 0 }
  const { lookup: keys } = remoteKeySet({
    url: served.url,
    tls: () => ({ ...own, ca: trusting }),
    logger: silent,
    now: () => clock.ms,
  })
  return { served, clock, keys }
}

t.test('keys are fetched once and kept', async t => {
  const { served, keys } = await lookup(t as never)
  const found = await Promise.all(Array.from({ length: 10 }, () => keys(first.kid)))
  t.ok(found.every(key => key !== undefined))
  t.equal(served.requests, 1)
})

t.test('an unknown kid is looked for again, and one that is new is found', async t => {
  const { served, keys } = await lookup(t as never)
  await keys(first.kid)
  served.keys = [first.jwk, second.jwk]
  t.ok(await keys(second.kid))
  t.equal(served.requests, 2)
})

t.test('a key that left the set stops to count after thirty seconds', async t => {
  const { served, clock, keys } = await lookup(t as never)
  await keys(first.kid)
  served.keys = [second.jwk]
  t.ok(await keys(first.kid))
  clock.ms = 30_000
  t.equal(await keys(first.kid), undefined)
})

t.test('while the set cannot be had the last one counts for a quarter of an hour, then nothing does', async t => {
  const { served, clock, keys } = await lookup(t as never)
  await keys(first.kid)
  served.status = 503
  clock.ms = 15 * 60_000 - 1
  t.ok(await keys(first.kid))
  clock.ms = 16 * 60_000
  await t.rejects(keys(first.kid) as Promise<unknown>, { code: 'ERR_UPSTREAM_UNAVAILABLE', status: 503 })
  served.status = 200
  clock.ms += 1_000
  t.ok(await keys(first.kid), 'and it comes back by itself')
})

t.test('a set from a server without a certificate of the platform is not taken', async t => {
  const stranger = await createPlatform()
  const { served, keys } = await lookup(t as never, { trusting: stranger.ca })
  await t.rejects(keys(first.kid) as Promise<unknown>, { code: 'ERR_UPSTREAM_UNAVAILABLE' })
  t.equal(served.requests, 0)
})

t.test('a document that is no key set, or too large, is not taken', async t => {
  for (const body of [
    '',
    'x',
    '[]',
    '{"keys":1}',
    `{"keys":[${'{},'.repeat(16)}{}]}`,
    JSON.stringify({ keys: ['x'.repeat(70_000)] }),
  ]) {
    const { served, keys } = await lookup(t as never)
    served.body = body
    await t.rejects(keys(first.kid) as Promise<unknown>, { code: 'ERR_UPSTREAM_UNAVAILABLE' }, body.slice(0, 20))
  }
})
