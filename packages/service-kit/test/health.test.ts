import t from 'tap'
import { cachedReadiness } from '../src/health.ts'
import { buildHealthServer, createMetrics } from '../src/index.ts'
import { build, silentLogger } from './helper.ts'

t.test('a service is ready when every check says ok', async t => {
  const checks: Record<string, string> = { postgres: 'ok', redis: 'ok' }
  const app = await build(t, { ready: async () => ({ ...checks }) })
  t.match((await app.inject('/healthz')).json(), { status: 'ok' })
  t.match(await app.inject('/readyz'), { statusCode: 200 })
})

t.test('a check that fails, throws or hangs makes the service not ready, without its error text', async t => {
  const failing = await build(t, { ready: async () => ({ postgres: 'ok', redis: 'not reachable' }) })
  const answer = await failing.inject('/readyz')
  t.equal(answer.statusCode, 503)
  t.same(answer.json(), { status: 'not_ready', checks: { postgres: 'ok', redis: 'not reachable' } })

  const throwing = await build(t, {
    ready: async () => {
      throw new Error('connect postgres://rap:hunter2@db')
    },
  })
  const refused = await throwing.inject('/readyz')
  t.equal(refused.statusCode, 503)
  t.notMatch(refused.body, /hunter2/)
  t.equal((await throwing.inject('/healthz')).statusCode, 200, 'the process itself lives')

  const hanging = await build(t, { ready: () => new Promise(() => {}) })
  t.match((await hanging.inject('/readyz')).json(), { checks: { checks: 'timed out' } })
})

t.test('many probes at once make one check', async t => {
  let calls = 0
  const readiness = cachedReadiness(async () => {
    calls += 1
    return { postgres: 'ok' }
  })
  await Promise.all(Array.from({ length: 50 }, readiness))
  await readiness()
  t.equal(calls, 1)
})

t.test('a service that drains is not ready, whatever its checks say', async t => {
  const controller = new AbortController()
  const app = await build(t, { ready: async () => ({ postgres: 'ok' }), draining: controller.signal })
  t.equal((await app.inject('/readyz')).statusCode, 200)
  controller.abort()
  t.match(await app.inject('/readyz'), { statusCode: 503 })
  t.equal((await app.inject('/healthz')).statusCode, 200)
})

t.test('a public server can leave health and metrics to a private one', async t => {
  const metrics = createMetrics({ service: 'test' })
  const main = await build(t, { metrics, healthRoutes: false })
  for (const url of ['/healthz', '/readyz', '/metrics']) t.equal((await main.inject(url)).statusCode, 404, url)
  await main.inject('/v1/x')
  const health = await buildHealthServer({ service: 'test', logger: silentLogger, metrics, ready: async () => ({}) })
  t.teardown(() => health.close())
  t.equal((await health.inject('/readyz')).statusCode, 200)
  t.match((await health.inject('/metrics')).body, /route="unmatched"/, 'the registry is shared')
})
