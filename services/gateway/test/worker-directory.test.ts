import { randomUUID } from 'node:crypto'
import { createLogger } from '@rap/service-kit'
import { waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import { WorkerDirectory } from '../src/worker-directory.ts'
import { ControlPlaneStandIn } from './control-plane.ts'
import { authority } from './helper.ts'

const ca = await authority()
const silent = createLogger({ service: 'test', level: 'silent' })
const URL_TEXT = 'wss://worker.example:8463/data-plane/v1'
const worker = { public_url: URL_TEXT, names: null }
const unreachable = (finding: string) => ({ name: 'Refusal', reason: 'ERR_WORKER_UNREACHABLE', finding })

/** A directory that asks when it is told to, and whose clock a test moves. */
async function start(t: Test, options: { intervalMs?: number } = {}) {
  const controlPlane = await ControlPlaneStandIn.start(t, ca)
  const clock = { now: 0 }
  const outcomes: string[] = []
  const directory = new WorkerDirectory({
    client: await controlPlane.client(t, ca, silent),
    logger: silent,
    now: () => clock.now,
    onPoll: outcome => outcomes.push(outcome),
    intervalMs: 3_600_000,
    ...options,
  })
  t.teardown(() => directory.close())
  return { controlPlane, clock, outcomes, directory }
}

t.test('without a directory nobody is dialled, and the service is not ready', async t => {
  const { controlPlane, directory } = await start(t)
  controlPlane.answer = { status: 503, body: {} }
  await directory.start()
  await t.rejects(directory.find(randomUUID()), unreachable('no_directory'))
  t.equal(directory.status(), 'no directory')
})

t.test('a worker is dialled where the control plane says, and what has not changed is not sent again', async t => {
  const { controlPlane, outcomes, directory } = await start(t)
  const id = randomUUID()
  controlPlane.workers.set(id, { public_url: URL_TEXT, names: ['worker.example'] })
  await directory.start()
  t.equal(directory.status(), 'ok')
  t.match(await directory.find(id), { url: new URL(URL_TEXT), names: ['worker.example'], trust: 'platform_ca' })
  await directory.refresh()
  controlPlane.trustMode = 'public_ca'
  await directory.refresh()
  t.match(await directory.find(id), { trust: 'public_ca' })
  controlPlane.trustMode = 'smoke_insecure'
  await directory.refresh()
  t.match(await directory.find(id), { trust: 'platform_ca' }, 'a gateway never dials anybody unverified')
  t.same(controlPlane.answered, [200, 304, 200, 200])
  t.same(outcomes, ['changed', 'unchanged', 'changed', 'changed'])
})

t.test(
  'one that registered a moment ago is found by asking again, and a flood of unknown ones asks seldom',
  async t => {
    const { controlPlane, clock, directory } = await start(t)
    await directory.start()
    const id = randomUUID()
    controlPlane.workers.set(id, worker)
    await t.rejects(directory.find(id), unreachable('worker_not_in_directory'), 'asked just now')
    clock.now = 200
    t.match(await directory.find(id), { url: new URL(URL_TEXT) })
    clock.now = 400
    const asked = controlPlane.answered.length
    const finds = Array.from({ length: 100 }, () => t.rejects(directory.find(randomUUID())))
    await Promise.all(finds)
    t.equal(controlPlane.answered.length, asked + 1)
  },
)

t.test(
  'while the control plane is away known workers are dialled for a quarter of an hour, and then nobody',
  async t => {
    const { controlPlane, clock, directory } = await start(t)
    const id = randomUUID()
    controlPlane.workers.set(id, worker)
    await directory.start()
    clock.now = 60_000
    await directory.refresh()
    await controlPlane.stop()
    clock.now = 60_000 + 15 * 60_000 - 1
    await directory.refresh()
    t.ok(await directory.find(id), 'counted from the last answer, which changed nothing')
    clock.now += 1
    await t.rejects(directory.find(id), unreachable('directory_stale'))
    t.equal(directory.status(), 'directory stale')
    t.equal(directory.carries(id, 'x'), true, 'what is there goes on')
    await controlPlane.listen()
    clock.now += 200
    t.ok(await directory.find(id))
  },
)

t.test('a worker that is in the directory no more, and a certificate that was taken back, carry nothing', async t => {
  const { controlPlane, directory } = await start(t)
  const [good, bad] = [randomUUID(), randomUUID()]
  for (const id of [good, bad]) controlPlane.workers.set(id, worker)
  t.equal(directory.carries(bad, 'x'), true, 'nothing is known yet')
  await directory.start()
  const told: boolean[][] = []
  directory.onChange(() => told.push([directory.carries(good, 'x'), directory.carries(bad, 'x')]))
  controlPlane.workers.delete(bad)
  await directory.refresh()
  controlPlane.revokedThumbprints.push('x')
  await directory.refresh()
  await directory.refresh()
  t.same(told, [
    [true, false],
    [false, false],
  ])
  t.equal(directory.carries(good, 'another'), true)
})

t.test('an answer that is out of form changes nothing', async t => {
  const { controlPlane, directory } = await start(t)
  const id = randomUUID()
  controlPlane.workers.set(id, worker)
  await directory.start()
  const whole = { workers: [], trust_mode: 'platform_ca', revoked_thumbprints: [] }
  for (const body of [
    null,
    [],
    {},
    { ...whole, workers: {} },
    { ...whole, workers: [{ id }] },
    { ...whole, workers: [{ id, public_url: 7, names: null }] },
    { ...whole, trust_mode: 'none' },
    { ...whole, revoked_thumbprints: null },
  ]) {
    controlPlane.answer = { status: 200, body }
    await directory.refresh()
    t.ok(await directory.find(id), JSON.stringify(body))
  }
  controlPlane.answer = { status: 302, body: whole }
  await directory.refresh()
  t.ok(await directory.find(id), 'a redirect')
})

t.test('a gateway that the control plane refuses dials nobody any more', async t => {
  const { controlPlane, directory } = await start(t)
  const id = randomUUID()
  controlPlane.workers.set(id, worker)
  await directory.start()
  controlPlane.answer = { status: 403, body: { code: 'ERR_MTLS_IDENTITY', title: 'no', status: 403 } }
  await directory.refresh()
  await t.rejects(directory.find(id), unreachable('no_directory'))
})

t.test('it asks by itself until it is closed, also after a failure', async t => {
  const { controlPlane, outcomes, directory } = await start(t, { intervalMs: 10 })
  await directory.start()
  controlPlane.answer = { status: 500, body: {} }
  await waitFor(() => outcomes.includes('failed'), { what: 'a failure' })
  controlPlane.answer = undefined
  await waitFor(() => outcomes.at(-1) === 'unchanged', { what: 'an answer' })
  directory.close()
  await directory.refresh()
  const { length } = outcomes
  await new Promise(resolve => setTimeout(resolve, 50))
  t.equal(outcomes.length, length)
})
