import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startProcess, tempDir, waitFor } from '@rap/testkit'
import t from 'tap'
import { ControlPlanePeer } from '../control-plane.ts'
import { startDesktop } from '../desktop.ts'
import { ResolverPeer } from '../resolver.ts'
import { assignmentFor, newPlace, type SigningSet, signingSet } from '../signing.ts'
import { common, TestWorker, workerEnv } from '../worker.ts'

const desktop = await startDesktop(t)
const { signing: first } = await common()
const second = await signingSet()

/** An order as the control plane signs it with any of its keys. */
async function order(worker: TestWorker, signing: SigningSet) {
  const place = newPlace(worker.id)
  worker.controlPlane.states.set(place.attachment_id, { state: 'assigning', reason: null })
  const target = {
    protocol: 'rdp',
    address: desktop.address,
    certificate_verification_mode: 'insecure',
    security: 'auto',
    render_quality_profile: 'balanced',
  } as const
  const { jws } = await assignmentFor(signing, place, target, { claims: { bind_urls: [worker.url] } })
  await worker.redis.xadd(`rap:worker:${worker.id}:assignments`, '*', 'assignment', jws)
  return place
}

async function trafficReady(worker: TestWorker): Promise<boolean> {
  return JSON.parse((await worker.redis.get(`rap:worker:${worker.id}`)) ?? '{}').traffic_ready
}

t.test(
  'a worker with a key file takes no session while the control plane signs with another key, and keeps those it has',
  async t => {
    const folder = tempDir('rap-keys-')
    t.teardown(() => folder.remove())
    const file = join(folder.path, 'public.pem')
    writeFileSync(file, first.publicPem)
    const worker = await TestWorker.start(t, {
      env: { RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM: '', RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE: file },
      prepare: controlPlane => {
        controlPlane.signing = { active_kid: first.key.kid, next_kid: second.key.kid }
      },
    })
    const live = await worker.desktop({ address: desktop.address })
    t.equal((await worker.worker.ready()).verification_keys, 'ok')
    await waitFor(async () => await trafficReady(worker), { what: 'the word that it takes sessions' })
    t.ok(
      worker.lines.some(line => line.includes('next_verification_key_missing')),
      'it is told before it happens',
    )

    worker.controlPlane.signing = { active_kid: second.key.kid, next_kid: null }
    await order(worker, second)
    await waitFor(async () => !(await trafficReady(worker)), {
      what: 'the worker to find out by the first token',
    })
    t.equal(
      (await worker.worker.ready()).verification_keys,
      `the control plane signs with ${second.key.kid}, which is not configured here`,
    )
    t.equal(live.client.end, undefined)

    writeFileSync(file, first.publicPem + second.publicPem)
    const place = await order(worker, second)
    await worker.controlPlane.reported(place.attachment_id, 'ready')
    t.equal((await worker.worker.ready()).verification_keys, 'ok')
    await waitFor(async () => await trafficReady(worker), { what: 'the next heartbeat' })
    const token = await worker.key.token(second, place)
    const client = await worker.connect()
    t.equal(await client.bind({ token, proof: await worker.key.proof(token, worker.url) }), 'bound')
    t.equal(live.client.end, undefined, 'all the time')
  },
)

t.test('orders with made-up keys do not keep a worker from its own', async t => {
  const worker = await TestWorker.start(t)
  const made = await signingSet()
  const strangers = { ...made, key: { ...made.key, kid: randomUUID() } }
  const beganAtMs = performance.now()
  for (let number = 0; number < 30; number++) await order(worker, strangers)
  const place = await order(worker, first)
  await worker.controlPlane.reported(place.attachment_id, 'ready')
  const seconds = Math.ceil((performance.now() - beganAtMs) / 1000)
  const { length } = worker.controlPlane.announcements
  t.ok(length <= 2 + seconds, `nor does each of them become a request: ${length} in ${seconds} s`)
})

t.test('a process that is given a private key ends with 78 and repeats nothing of it', async t => {
  const { authority } = await common()
  const controlPlane = await ControlPlanePeer.start(t, authority)
  const resolver = await ResolverPeer.start(t, authority)
  const { env } = await workerEnv(t, { controlPlane, resolver })
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const running = await startProcess({
    name: 'rdp-worker',
    command: process.execPath,
    args: [`${import.meta.dirname}/../../src/main.ts`],
    env: { ...env, RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM: pem },
  })
  t.teardown(() => running.stop())
  t.match(await running.exited, { code: 78 })
  t.match(running.log(), /ERR_VERIFICATION_KEY_PRIVATE/)
  t.notOk(pem.split('\n').some(line => line.length > 20 && !line.startsWith('---') && running.log().includes(line)))
})
