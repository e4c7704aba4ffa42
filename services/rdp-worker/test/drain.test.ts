import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { type Authority, createAuthority, issueCertificate } from '@rap/pki'
import { connectRedis, createLogger } from '@rap/service-kit'
import { startProcess, tempDir, waitFor, writePlatformCertificate } from '@rap/testkit'
import t from 'tap'
import { DataPlaneClient } from './client.ts'
import { ControlPlanePeer } from './control-plane.ts'
import { startDesktop } from './desktop.ts'
import { problem } from './peer.ts'
import { ResolverPeer } from './resolver.ts'
import { assignmentFor, ClientKey, newPlace } from './signing.ts'
import { startTarget } from './target/server.ts'
import { common, TestWorker, workerEnv } from './worker.ts'

const desktop = await startDesktop(t)

async function get(url: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const call = request(url, answer => {
      answer.resume()
      answer.once('end', () => resolve(answer.statusCode ?? 0))
    })
    call.on('error', reject)
    call.end()
  })
}

t.test('a drain lets what is ready be bound and what is bound go on, and turns new orders away with words', async t => {
  const worker = await TestWorker.start(t, { env: { RDP_WORKER_DRAIN_SECONDS: '30' } })
  const live = await worker.desktop({ address: desktop.address })
  const waiting = await worker.ready({ address: desktop.address })
  t.equal(await worker.redis.exists(`rap:worker:${worker.id}`), 1)
  const drained = worker.drain()
  await waitFor(async () => (await worker.redis.exists(`rap:worker:${worker.id}`)) === 0, {
    what: 'the last heartbeat',
  })

  const late = await worker.order({ address: desktop.address })
  t.match(await worker.controlPlane.reported(late.attachment_id, 'failed'), {
    failure: { code: 'ERR_WORKER_DRAINING' },
  })
  const { client, outcome } = await worker.bind(waiting)
  t.equal(outcome, 'bound')
  await client.rdp?.toActive()
  t.equal(live.client.end, undefined)

  let isOver = false
  void drained.then(() => {
    isOver = true
  })
  live.client.socket.close()
  await live.client.closed
  t.equal(isOver, false, 'one is left')
  client.socket.close()
  await drained
  await worker.controlPlane.reported(waiting.attachment_id, 'closed')
  await t.rejects(worker.connect(), 'nobody listens any more')
})

t.test('what is left at the end of a drain is told why, and everything is reported before it is over', async t => {
  const worker = await TestWorker.start(t)
  const strangers = [await worker.connect(), await worker.connect()]
  const live = await worker.desktop({ address: desktop.address })
  const waiting = await worker.ready({ address: desktop.address })
  const opening = await worker.order({
    address: (await startTarget(t, {})).address,
  })
  await waitFor(async () => (await worker.metric('rap_worker_sessions')) === 3, { what: 'three attachments' })
  // The control plane is slow, and is waited for.
  worker.controlPlane.intercept = async () => {
    await new Promise(resolve => setTimeout(resolve, 300))
    return undefined
  }
  await worker.drain()
  for (const { attachment_id, leaseId } of [live.place, waiting, opening]) {
    const report = worker.controlPlane.reports.find(
      entry => entry.attachment_id === attachment_id && entry.state === 'closed',
    )
    t.match(report, { reason: 'ERR_WORKER_DRAINING' })
    t.equal(await worker.redis.exists(`rap:lease:${leaseId}`), 0)
  }
  const end = { code: 4004, reason: 'ERR_WORKER_DRAINING' }
  t.same(await live.client.closed, end)
  t.match(live.client.texts.at(-1), { type: 'closing', ...end })
  for (const stranger of strangers) t.same(await stranger.closed, end)
  t.equal(await worker.metric('rap_worker_connections'), 0)
})

t.test('a worker that starts says who it is, and keeps trying until the control plane knows', async t => {
  let isAway = true
  const worker = await TestWorker.start(t, {
    prepare: controlPlane => {
      controlPlane.intercept = ({ path }) =>
        path.endsWith('/workers/self') && isAway ? problem(503, 'ERR_SHUTTING_DOWN') : undefined
    },
  })
  t.match(await worker.worker.ready(), { redis: 'ok', control_plane: 'not announced', verification_keys: 'ok' })
  isAway = false
  await waitFor(() => worker.controlPlane.announcements.length > 0, { what: 'the next try' })
  t.match(worker.controlPlane.announcements, [
    {
      name: 'test worker',
      labels: {},
      public_url: worker.url,
      version: String,
      runtime_transports: ['rdcleanpath_v1', 'binary_v1', 'json_v1'],
    },
  ])
  t.equal(worker.controlPlane.peer.requests[0]?.caller, `spiffe://rap.internal/worker/${worker.id}`)
  await waitFor(async () => (await worker.worker.ready()).control_plane === 'ok', { what: 'the answer' })
})

t.test('a worker with the certificate of another one does not start', async t => {
  for (const variable of ['RAP_TLS_CERT_FILE', 'RDP_WORKER_DATA_PLANE_TLS_CERT_FILE']) {
    const { authority } = await common()
    const folder = tempDir('rap-worker-')
    t.teardown(() => folder.remove())
    const foreign = await writePlatformCertificate(folder.path, authority, {
      kind: 'worker',
      id: newPlace('').session_id,
    })
    const env = { [variable]: foreign.certFile, [variable.replace('CERT', 'KEY')]: foreign.keyFile }
    await t.rejects(TestWorker.start(t, { env }), {
      message: new RegExp(`^${foreign.certFile} .*carries the identity`),
    })
  }
})

t.test('the process drains on SIGTERM, says so on its health listener, and ends with 0', async t => {
  const { authority, redisServer, signing } = await common()
  const controlPlane = await ControlPlanePeer.start(t, authority)
  const resolver = await ResolverPeer.start(t, authority)
  const { id, url, env } = await workerEnv(t, { controlPlane, resolver })
  const worker = await startProcess({
    name: 'rdp-worker',
    command: process.execPath,
    args: [`${import.meta.dirname}/../src/main.ts`],
    env: { ...env, RDP_WORKER_DRAIN_SECONDS: '60' },
    readyWhen: /service_ready/,
    readyTimeoutMs: 60_000,
  })
  t.teardown(() => worker.stop())
  const ready = JSON.parse(
    worker
      .log()
      .split('\n')
      .find(line => line.includes('service_ready')) ?? '{}',
  )
  const isReady = async () => (await get(`${ready.health_url}/readyz`)) === 200
  await waitFor(isReady, { what: 'readiness' })

  const redis = connectRedis(redisServer.url, {
    name: 'test',
    logger: createLogger({ service: 'test', level: 'silent' }),
  })
  t.teardown(() => redis.disconnect())
  const place = newPlace(id)
  controlPlane.states.set(place.attachment_id, { state: 'assigning', reason: null })
  const { jws } = await assignmentFor(
    signing,
    place,
    {
      protocol: 'rdp',
      address: desktop.address,
      certificate_verification_mode: 'insecure',
      security: 'auto',
      render_quality_profile: 'balanced',
    },
    { claims: { bind_urls: [url] } },
  )
  await redis.xadd(`rap:worker:${id}:assignments`, '*', 'assignment', jws)
  await controlPlane.reported(place.attachment_id, 'ready')
  const key = await ClientKey.make()
  const token = await key.token(signing, place)
  const client = await DataPlaneClient.connect(t, url, { ca: authority.certificatePem })
  t.equal(await client.bind({ token, proof: await key.proof(token, url) }), 'bound')
  await client.rdp?.toActive()

  worker.kill('SIGTERM')
  await waitFor(async () => (await get(`${ready.health_url}/readyz`)) === 503, { what: 'the word that it drains' })
  t.equal(await get(`${ready.health_url}/healthz`), 200, 'it lives while it drains')
  t.equal(client.end, undefined)
  client.socket.close()
  t.match(await worker.exited, { code: 0 })
  await controlPlane.reported(place.attachment_id, 'closed')
  t.notMatch(worker.log(), /unhandled|fatal/)
})

t.test('a renewed certificate is shown to new clients and used for new calls, and live desktops go on', async t => {
  const worker = await TestWorker.start(t)
  const live = await worker.desktop({ address: desktop.address })
  const serialOf = (client: DataPlaneClient): string =>
    (
      client.socket as unknown as { _socket: { getPeerCertificate(): { serialNumber: string } } }
    )._socket.getPeerCertificate().serialNumber
  const before = serialOf(live.client)
  const { certFile } = worker.files
  const folder = certFile.slice(0, certFile.lastIndexOf('/'))
  await writePlatformCertificate(folder, worker.authority, { kind: 'worker', id: worker.id })
  await worker.worker.reloadDataPlaneTls()
  const next = await worker.connect()
  t.not(serialOf(next), before)
  const up = await worker.desktop({ address: desktop.address })
  t.equal(live.client.end, undefined)
  desktop.sessions[desktop.sessions.length - 2]?.send(Buffer.from('0005aaaaaa', 'hex'))
  await waitFor(() => (live.client.rdp?.receivedBytes ?? 0) > 0, { what: 'the desktop that was there' })

  await worker.identity.check()
  t.equal(String(worker.identity.material.cert), readFileSync(certFile, 'utf8'))
  up.client.socket.close()
  await worker.controlPlane.reported(up.place.attachment_id, 'closed')

  const foreign = await writePlatformCertificate(`${folder}/foreign`, worker.authority, {
    kind: 'worker',
    id: newPlace('').session_id,
  })
  const renewed = worker.identity.material
  copyFileSync(foreign.certFile, certFile)
  copyFileSync(foreign.keyFile, worker.files.keyFile)
  await worker.identity.check()
  t.equal(worker.identity.material, renewed)
  const { identity } = await worker.worker.ready()
  t.match(identity, /^changed files are not in use: .* carries the identity/)
})

t.test(
  'a data plane may show a public certificate, and one of the platform CA only with the name of its worker',
  async t => {
    const { authority } = await common()
    const publicCa = await createAuthority({ name: 'public CA', days: 2, now: new Date() })
    const folder = tempDir('rap-worker-')
    t.teardown(() => folder.remove())
    const shown = async (issuer: Authority, name: string) => {
      const { certificatePem, keyPem } = await issueCertificate({
        authority: issuer,
        commonName: 'localhost',
        dnsNames: ['localhost'],
        usages: ['server'],
        now: new Date(),
      })
      const [certFile, keyFile] = [join(folder.path, `${name}.pem`), join(folder.path, `${name}.key`)]
      writeFileSync(certFile, certificatePem)
      writeFileSync(keyFile, keyPem)
      return { RDP_WORKER_DATA_PLANE_TLS_CERT_FILE: certFile, RDP_WORKER_DATA_PLANE_TLS_KEY_FILE: keyFile }
    }
    await t.rejects(TestWorker.start(t, { env: await shown(authority, 'platform') }), {
      message: /carries the identity none/,
    })
    const worker = await TestWorker.start(t, { env: await shown(publicCa, 'public') })
    const client = await worker.connect({ ca: publicCa.certificatePem })
    client.socket.close()
    await t.rejects(worker.connect(), 'clients that know the platform CA alone do not take it')
  },
)
