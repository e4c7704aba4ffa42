import { createLogger } from '@rap/service-kit'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import { RevokedState } from '../../src/control-plane/revoked.ts'
import { startDesktop } from '../desktop.ts'
import { problem } from '../peer.ts'
import { TestWorker } from '../worker.ts'

const desktop = await startDesktop(t)
const END = { code: 4005, reason: 'ERR_WORKER_REVOKED' }
const refuseAll = (code: string) => () => problem(403, code)

async function isOver(worker: TestWorker): Promise<void> {
  await waitFor(async () => (await worker.worker.ready()).control_plane?.startsWith('revoked'), {
    what: 'the word of it in /readyz',
  })
  await waitFor(
    async () =>
      await worker.connect().then(
        () => false,
        () => true,
      ),
    { what: 'the end of the listener' },
  )
  await waitFor(async () => (await worker.redis.exists(`rap:worker:${worker.id}`)) === 0, {
    what: 'the last heartbeat',
  })
  await waitFor(async () => (await worker.metric('rap_worker_sessions')) === 0, { what: 'no session' })
}

t.test(
  'a worker that learns that it is revoked closes what it holds with the reason, stops listening and says so',
  async t => {
    const worker = await TestWorker.start(t, { times: { pollMs: 100 } })
    const stranger = await worker.connect()
    const live = await worker.desktop({ address: desktop.address })
    const waiting = await worker.ready({ address: desktop.address })
    worker.controlPlane.intercept = refuseAll('ERR_WORKER_REVOKED')
    t.same(await live.client.closed, END)
    t.match(live.client.texts.at(-1), { type: 'closing', ...END })
    t.same(await stranger.closed, END)
    await isOver(worker)
    await waitFor(() => desktop.open() === 0, { what: 'the end of the targets' })
    for (const { leaseId } of [live.place, waiting])
      await waitFor(async () => (await worker.redis.exists(`rap:lease:${leaseId}`)) === 0, {
        what: 'the end of the lease',
      })
    t.equal(worker.lines.filter(line => line.includes('"worker_revoked"')).length, 1)
  },
)

t.test('one that holds nothing learns it too, and asks no more', async t => {
  const worker = await TestWorker.start(t, { times: { pollMs: 50 } })
  let asked = 0
  worker.controlPlane.intercept = () => {
    asked += 1
    return problem(403, 'ERR_CERTIFICATE_REVOKED')
  }
  await isOver(worker)
  const before = asked
  const until = performance.now() + 300
  await waitFor(() => performance.now() > until, { what: 'the time of six polls' })
  t.equal(asked, before)
})

t.test('the pause between two polls leaves room within five seconds', async t => {
  const worker = await TestWorker.start(t)
  await waitFor(() => worker.controlPlane.polled.length > 0, { what: 'a first poll', timeoutMs: 4800 })
  t.same(worker.controlPlane.polled[0], [])
})

t.test('one that was revoked while it was down serves nothing after its start', async t => {
  const worker = await TestWorker.start(t, {
    prepare: controlPlane => {
      controlPlane.intercept = refuseAll('ERR_WORKER_REVOKED')
    },
  })
  await isOver(worker)
})

t.test('refusals that say something else, and answers that are none, revoke nobody', async t => {
  const worker = await TestWorker.start(t, { times: { pollMs: 20 } })
  const { client } = await worker.desktop({ address: desktop.address })
  for (const answer of [
    problem(403, 'ERR_MTLS_IDENTITY'),
    problem(403, 'ERR_WORKER_UNKNOWN'),
    problem(503, 'ERR_UPSTREAM_UNAVAILABLE'),
    problem(500, 'ERR_WORKER_REVOKED'),
  ]) {
    let asked = 0
    worker.controlPlane.intercept = () => {
      asked += 1
      return answer
    }
    await waitFor(() => asked > 3, { what: 'a few polls' })
    t.equal(client.end, undefined)
    t.match(await worker.worker.ready(), { control_plane: 'ok' })
  }
})

t.test('whoever asks late is told at once, and everybody once', async t => {
  const state = new RevokedState(createLogger({ service: 'test', level: 'silent' }))
  t.equal(state.status(), undefined)
  let told = 0
  state.learn('ERR_WORKER_REVOKED')
  state.onRevoked(() => {
    told += 1
  })
  state.learn('ERR_CERTIFICATE_REVOKED')
  t.equal(told, 1)
  t.match(state.status(), /ERR_WORKER_REVOKED/)
})
