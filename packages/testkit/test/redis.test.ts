import { Redis } from 'ioredis'
import t from 'tap'
import { startRedis } from '../src/index.ts'

const connect = (url: string) => {
  const client = new Redis(url, { maxRetriesPerRequest: 0, retryStrategy: () => null })
  client.on('error', () => {})
  return client
}

t.test('a server asks for its password', async t => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  const client = connect(server.url)
  t.equal(await client.set('a', 'b'), 'OK')
  client.disconnect()
  const stranger = connect(`redis://127.0.0.1:${server.port}`)
  await t.rejects(stranger.get('a'), { message: /NOAUTH/ })
  stranger.disconnect()
})

t.test('a restart empties a server that is not persistent, and keeps the data of one that is', async t => {
  for (const persistent of [false, true]) {
    const server = await startRedis({ persistent })
    t.teardown(() => server.stop())
    const before = connect(server.url)
    await before.set('mark', 'kept')
    before.disconnect()
    await server.restart()
    const after = connect(server.url)
    t.equal(await after.get('mark'), persistent ? 'kept' : null)
    after.disconnect()
  }
})

t.test('a stopped server answers nobody until it is restarted', async t => {
  const server = await startRedis()
  t.teardown(() => server.stop())
  await server.stop()
  const down = connect(server.url)
  await t.rejects(down.ping())
  down.disconnect()
  await server.restart()
  const up = connect(server.url)
  t.equal(await up.ping(), 'PONG')
  up.disconnect()
})
