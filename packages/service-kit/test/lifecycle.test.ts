import { fileURLToPath } from 'node:url'
import { startProcess } from '@rap/testkit'
import t, { type Test } from 'tap'
import { request } from 'undici'

const FIXTURE = fileURLToPath(new URL('fixtures/service.ts', import.meta.url))
/** Starting Node takes long on a busy machine. */
const PATIENCE_MS = 30_000
const CANARY = 'hunter2-canary'

async function start(t: Test, env: Record<string, string | undefined> = {}) {
  const service = await startProcess({
    command: process.execPath,
    args: [FIXTURE],
    env: { MASTER_KEY: CANARY, ...env },
  })
  t.teardown(() => service.stop())
  return service
}

const eventsOf = (log: string): Record<string, unknown>[] =>
  log
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line))

t.test('a service says that it is ready and where, and ends in order on SIGTERM and SIGINT', async t => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const service = await start(t)
    await service.waitForOutput(/service_ready/, PATIENCE_MS)
    const ready = eventsOf(service.log()).find(line => line.event === 'service_ready')
    t.match(ready, { service: 'fixture', public_url: /^http:\/\/127\.0\.0\.1:\d+$/, pid: service.pid })
    t.equal(ready?.enabled, true, 'the secret is out of the environment')
    t.equal((await request(`${ready?.public_url}/readyz`)).statusCode, 200)
    service.kill(signal)
    t.same(await service.exited, { code: 0, signal: null }, signal)
    const closed = eventsOf(service.log()).filter(line => line.event === 'closed')
    t.match(
      closed,
      [{ name: 'last', status: 503 }, { name: 'first' }],
      'last opened, first closed; not ready meanwhile',
    )
    t.match(eventsOf(service.log()).at(-1), { event: 'service_stopped', outcome: 'ok' })
  }
})

t.test('a wrong environment ends with 78 and one line for each variable, before anything is started', async t => {
  const service = await start(t, { MASTER_KEY: undefined, PORT: 'http', LOG_LEVEL: CANARY.repeat(10) })
  t.same(await service.exited, { code: 78, signal: null })
  const lines = service.log().trim().split('\n')
  t.match(lines, [
    /^fixture: LOG_LEVEL: must be one of/,
    /^fixture: MASTER_KEY: is required/,
    /^fixture: PORT: must be/,
  ])
  t.equal(lines.length, 3)
})

t.test('an unknown variable of ours is a warning', async t => {
  const service = await start(t, { RAP_TYPO: CANARY })
  await service.waitForOutput(/fixture: warning: RAP_TYPO: /, PATIENCE_MS)
  t.notMatch(service.log(), CANARY)
})

t.test('a start that fails closes what was open and ends with 1', async t => {
  const service = await start(t, { BEHAVIOUR: 'start fails' })
  t.same(await service.exited, { code: 1, signal: null })
  const events = eventsOf(service.log()).map(line => line.event)
  t.same(events, ['service_start_failed', 'service_stopping', 'closed', 'service_stopped'])
})

t.test('a start that fails over what the environment names ends with 78, in the same order', async t => {
  const service = await start(t, { BEHAVIOUR: 'key is too short' })
  t.same(await service.exited, { code: 78, signal: null })
  const events = eventsOf(service.log()).map(line => line.event)
  t.same(events, ['service_start_failed', 'service_stopping', 'closed', 'service_stopped'])
})

t.test('errors that nobody handles are logged and end the process with 1', async t => {
  for (const [behaviour, event] of [
    ['exception', 'uncaught_exception'],
    ['rejection', 'unhandled_rejection'],
  ] as const) {
    const service = await start(t, { BEHAVIOUR: behaviour })
    t.same(await service.exited, { code: 1, signal: null }, behaviour)
    t.match(eventsOf(service.log()).at(-1), { level: 'fatal', event, err: { message: /^nobody/ } })
  }
})

t.test('a closer that fails does not keep the others from closing, and the exit code tells', async t => {
  const service = await start(t, { BEHAVIOUR: 'closer fails' })
  await service.waitForOutput(/service_ready/, PATIENCE_MS)
  service.kill('SIGTERM')
  t.same(await service.exited, { code: 1, signal: null })
  const events = eventsOf(service.log())
  t.ok(events.some(line => line.event === 'shutdown_step_failed' && line.component === 'last'))
  t.ok(events.some(line => line.event === 'closed' && line.name === 'first'))
})

t.test('an end that takes too long is cut off, and a second signal cuts it off at once', async t => {
  const slow = await start(t, { BEHAVIOUR: 'closer hangs' })
  await slow.waitForOutput(/service_ready/, PATIENCE_MS)
  slow.kill('SIGTERM')
  t.same(await slow.exited, { code: 1, signal: null })
  t.match(eventsOf(slow.log()).at(-1), { event: 'shutdown_timed_out' })

  const hurried = await start(t, { BEHAVIOUR: 'closer hangs' })
  await hurried.waitForOutput(/service_ready/, PATIENCE_MS)
  hurried.kill('SIGTERM')
  await hurried.waitForOutput(/"event":"closed"/, PATIENCE_MS)
  hurried.kill('SIGTERM')
  t.same(await hurried.exited, { code: 143, signal: null })
})
