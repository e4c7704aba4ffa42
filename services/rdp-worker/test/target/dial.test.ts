import { createServer } from 'node:net'
import { freePort } from '@rap/testkit'
import t from 'tap'
import { targetPolicyOf } from '../../src/target/address.ts'
import { dialTarget, tcpFailure } from '../../src/target/dial.ts'
import { open, startTarget } from './server.ts'

const policy = targetPolicyOf([], { loopback: true })
const never = new AbortController().signal

t.test('of many answers of a name only the allowed ones are dialled, and by address', async t => {
  const target = await startTarget(t, {})
  let lookups = 0
  const socket = await dialTarget({ host: 'desk.corp.example', port: target.port }, policy, {
    signal: never,
    lookupAll: async () => {
      lookups += 1
      // A second lookup would lead elsewhere: DNS rebinding.
      return lookups === 1 ? ['169.254.169.254', 'fe80::1%2', '127.0.0.1'] : ['169.254.169.254']
    },
  })
  t.teardown(() => socket.destroy())
  t.equal(lookups, 1)
  t.equal(socket.remoteAddress, '127.0.0.1')
})

t.test('a name whose answers are all forbidden is not dialled, however they are written', async t => {
  const target = await startTarget(t, {})
  const strict = targetPolicyOf([])
  for (const answers of [
    ['127.0.0.1'],
    ['::ffff:127.0.0.1'],
    ['::1', '0.0.0.0'],
    ['169.254.169.254', '64:ff9b::7f00:1'],
  ]) {
    await t.rejects(
      dialTarget({ host: 'desk.corp.example', port: target.port }, strict, {
        signal: never,
        lookupAll: async () => answers,
      }),
      { code: 'ERR_TARGET_ADDRESS_NOT_ALLOWED', facts: { addresses: answers.length } },
      answers.join(),
    )
  }
  t.equal(target.connections.length, 0)
})

t.test('names that a resolver takes for addresses are checked as what they are', async t => {
  const strict = targetPolicyOf([])
  for (const host of ['127.0.0.1', '127.1', '2130706433', '0x7f000001', '017700000001', 'localhost', '0', '::1']) {
    await t.rejects(
      dialTarget({ host, port: 9 }, strict, { signal: never }),
      { code: /^ERR_TARGET_(ADDRESS_NOT_ALLOWED|DNS)$/ },
      host,
    )
  }
})

t.test('the next address is tried where one refuses', async t => {
  const target = await startTarget(t, {})
  const socket = await dialTarget({ host: 'desk', port: target.port }, policy, {
    signal: never,
    // Nothing listens on the first: the target listens on 127.0.0.1 alone.
    lookupAll: async () => ['127.0.0.2', '127.0.0.1'],
  })
  t.teardown(() => socket.destroy())
  t.equal(socket.remoteAddress, '127.0.0.1')
})

t.test('a port that nothing listens on, and a name that is not there, are told apart', async t => {
  const port = await freePort()
  await t.rejects(dialTarget({ host: '127.0.0.1', port }, policy, { signal: never }), { code: 'ERR_TARGET_REFUSED' })
  await t.rejects(dialTarget({ host: 'desk.invalid', port }, policy, { signal: never }), { code: 'ERR_TARGET_DNS' })
  await t.rejects(
    dialTarget({ host: 'desk', port }, policy, { signal: never, lookupAll: async () => [] }),
    { code: 'ERR_TARGET_DNS' },
    'a name without an address',
  )
})

t.test('an abort ends the wait for a name and for a connection, and leaves no socket', async t => {
  const ended = new AbortController()
  const waiting = dialTarget({ host: 'desk', port: 1 }, policy, {
    signal: ended.signal,
    lookupAll: () => new Promise(() => {}),
  })
  ended.abort(new Error('ended'))
  await t.rejects(waiting, { message: 'ended' })
  const target = await startTarget(t, {})
  await t.rejects(dialTarget({ host: '127.0.0.1', port: target.port }, policy, { signal: ended.signal }), {
    message: 'ended',
  })
  t.equal(target.connections.length, 0)
})

t.test('system errors of a connection become failures with words', async t => {
  for (const [code, failure] of [
    ['ECONNREFUSED', 'ERR_TARGET_REFUSED'],
    ['ECONNRESET', 'ERR_TARGET_CLOSED'],
    ['ETIMEDOUT', 'ERR_TARGET_TIMEOUT'],
    ['EHOSTUNREACH', 'ERR_TARGET_UNREACHABLE'],
    ['ENETUNREACH', 'ERR_TARGET_UNREACHABLE'],
    ['toString', 'ERR_TARGET_UNREACHABLE'],
    [undefined, 'ERR_TARGET_UNREACHABLE'],
  ] as const) {
    t.equal(tcpFailure(Object.assign(new Error(), { code })).code, failure, String(code))
  }
})

t.test('a target that resets at once is told from one that refuses', async t => {
  const server = createServer(socket => socket.resetAndDestroy())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  await t.rejects(open(t, { address: `127.0.0.1:${port}` }), { code: 'ERR_TARGET_CLOSED' })
})
