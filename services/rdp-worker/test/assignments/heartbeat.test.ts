import { randomUUID } from 'node:crypto'
import { connectRedis, createLogger } from '@rap/service-kit'
import { startRedis } from '@rap/testkit'
import t from 'tap'
import { Heartbeat } from '../../src/assignments/heartbeat.ts'

t.test('a heartbeat says where the worker is and how full, for a quarter of a minute, until it stops', async t => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const logger = createLogger({ service: 'rdp-worker', level: 'silent' })
  const redis = connectRedis(server.url, { name: 'test', logger })
  t.teardown(() => redis.disconnect())
  const workerId = randomUUID()
  let sessions = 0
  const heartbeat = new Heartbeat({
    redis,
    logger,
    workerId,
    publicUrl: 'wss://worker.example/data-plane/v1',
    labels: { site: 'berlin' },
    version: '1.2.3',
    load: () => ({ sessions, max_sessions: 5, traffic_ready: true }),
  })
  const read = async () => JSON.parse((await redis.get(`rap:worker:${workerId}`)) ?? 'null')
  await heartbeat.beat()
  t.match(await read(), {
    worker_id: workerId,
    public_url: 'wss://worker.example/data-plane/v1',
    labels: { site: 'berlin' },
    load: { sessions: 0, max_sessions: 5 },
    version: '1.2.3',
    runtime_transports: ['rdcleanpath_v1', 'binary_v1', 'json_v1'],
    traffic_ready: true,
    started_at: String,
  })
  t.ok((await redis.ttl(`rap:worker:${workerId}`)) <= 15)
  sessions = 3
  // A beat that is under way when it stops leaves nothing behind.
  void heartbeat.beat()
  await heartbeat.stop()
  t.equal(await read(), null)
  redis.disconnect()
  await heartbeat.beat()
  await heartbeat.stop()
  t.pass('a Redis that is away is no error')
})
