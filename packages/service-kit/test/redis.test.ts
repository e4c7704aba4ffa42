import { type RedisServer, startRedis, waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import { connectRedis, Secret } from '../src/index.ts'
import { capturedLog } from './helper.ts'

let server: RedisServer
t.before(async () => {
  server = await startRedis()
})
t.teardown(() => server?.stop())

function client(t: Test, url: string | Secret, blocking = false) {
  const log = capturedLog()
  const redis = connectRedis(url, { name: 'rap-test', logger: log.logger, blocking })
  t.teardown(() => redis.disconnect())
  return { redis, log }
}

t.test('a client connects by itself and names itself', async t => {
  const { redis } = client(t, Secret.from(server.url))
  t.equal(await redis.ping(), 'PONG')
  t.equal(await redis.client('GETNAME'), 'rap-test')
})

t.test('commands to a Redis that is away reject soon, and the log stays short and without the password', async t => {
  const away = await startRedis()
  const { url } = away
  await away.stop()
  const { redis, log } = client(t, url)
  const startedAt = performance.now()
  await t.rejects(redis.ping())
  t.ok(performance.now() - startedAt < 10_000)
  const lines = log.lines().filter(line => line.event === 'redis_connection_failed')
  t.ok(lines.length >= 1)
  t.ok(lines.length <= (performance.now() - startedAt) / 1000 + 1)
  t.match(lines[0], { err: { code: 'ECONNREFUSED' } })
  t.notMatch(log.text(), new URL(url).password)
})

t.test('a client is back after a restart of the server', async t => {
  const { redis } = client(t, server.url)
  await redis.set('mark', 'before')
  await server.restart()
  const pong = await waitFor(() => redis.ping().catch(() => undefined), { what: 'redis is back' })
  t.equal(pong, 'PONG')
})

t.test('a command may wait inside a blocking client only', async t => {
  const { redis: waiting } = client(t, server.url, true)
  t.equal(await waiting.blpop('nothing', 6), null, 'longer than the limit of an ordinary command')
  const { redis: ordinary } = client(t, server.url)
  await t.rejects(ordinary.blpop('nothing', 20), { message: /timed out/ })
})
