import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { build, capturedLog, listen } from './helper.ts'

async function rawExchange(t: Test, port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  let answer = ''
  socket.setEncoding('latin1').on('data', text => {
    answer += text
  })
  socket.on('error', () => {})
  socket.write(bytes)
  await once(socket, 'close', { signal: AbortSignal.timeout(30_000) })
  return answer
}

t.test(
  'bytes that are not HTTP are answered shortly, closed and kept out of the log, and the server goes on',
  async t => {
    const log = capturedLog()
    const app = await build(t, { logger: log.logger })
    const { port } = await listen(app)
    const canary = 'hunter2-canary'
    const attacks: [string, RegExp][] = [
      [`\x16\x03\x01\x02\x00${canary}\r\n\r\n`, /^HTTP\/1\.1 400 /],
      [`GET / HTTP/1.1\r\nhost: x\r\nbad header ${canary}\r\n\r\n`, /^HTTP\/1\.1 400 /],
      [`GET / HTTP/1.1\r\nhost: x\r\nx-big: ${canary.repeat(2000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
      [
        `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
        /^HTTP\/1\.1 400 /,
      ],
    ]
    for (const [bytes, expected] of attacks) t.match(await rawExchange(t, port, bytes), expected)
    t.notMatch(log.text(), canary)
    t.match(
      await rawExchange(t, port, 'GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
      /^HTTP\/1\.1 200 /,
    )
  },
)

t.test('a request whose body never ends is closed after the request timeout', async t => {
  const app = await build(t, { requestTimeoutMs: 300 })
  app.post('/v1/slow', async request => request.body)
  const { port } = await listen(app)
  const startedAt = performance.now()
  const head = 'POST /v1/slow HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{'
  t.match(await rawExchange(t, port, head), /^HTTP\/1\.1 408 /)
  t.ok(performance.now() - startedAt < 20_000)
})

t.test('closing waits for a request that is being answered, and refuses new ones', async t => {
  const app = await build(t)
  let release = () => {}
  const gate = new Promise<void>(resolve => {
    release = resolve
  })
  const arrived = new Promise<void>(resolve => {
    app.get('/v1/slow', async () => {
      resolve()
      await gate
      return { status: 'done' }
    })
  })
  const { port } = await listen(app)
  const answer = rawExchange(t, port, 'GET /v1/slow HTTP/1.1\r\nhost: x\r\n\r\n')
  await arrived
  const closed = app.close()
  release()
  t.match(await answer, /"status":"done"/)
  await closed
  await t.rejects(rawExchange(t, port, 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'))
})
