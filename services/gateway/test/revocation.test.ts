import { randomUUID, X509Certificate } from 'node:crypto'
import { certificateThumbprint } from '@rap/pki'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import {
  authority,
  bindWith,
  bound,
  certificate,
  startGateway,
  type TestGateway,
  workerStandIn,
  workerUri,
} from './helper.ts'

const REVOKED = { code: 4005, reason: 'ERR_WORKER_REVOKED' }

async function refusal(gateway: TestGateway, workerId: string) {
  const client = await gateway.connect()
  client.socket.send(bindWith(await gateway.token(workerId)))
  return await client.closed
}

t.test('relays to a revoked worker end at both ends, its neighbour goes on, and it is dialled no more', async t => {
  const gateway = await startGateway(t)
  const [doomed, innocent] = [await gateway.worker(), await gateway.worker()]
  const [one, two] = [await bound(gateway, doomed), await bound(gateway, doomed)]
  const other = await bound(gateway, innocent)
  const workerEnds = [one, two].map(({ workerEnd }) => new Promise(resolve => workerEnd.once('close', resolve)))
  gateway.controlPlane.workers.delete(doomed.id)
  t.same(await one.client.closed, REVOKED)
  t.same(await two.client.closed, REVOKED)
  t.match(one.client.received.at(-1)?.text, /"reason":"ERR_WORKER_REVOKED"/)
  await Promise.all(workerEnds)
  t.match(await refusal(gateway, doomed.id), { code: 4502, reason: 'ERR_WORKER_UNREACHABLE' })
  other.client.socket.send('still here')
  await waitFor(() => innocent.received.some(({ text }) => text === 'still here'), { what: 'message' })
  t.equal(
    (await gateway.metrics.registry.getSingleMetric('rap_gateway_revoked_relays_total')?.get())?.values[0]?.value,
    2,
  )
})

t.test('a client that does not answer the close gets no further byte to the worker', async t => {
  const gateway = await startGateway(t)
  const doomed = await gateway.worker()
  const { client } = await bound(gateway, doomed)
  await waitFor(() => doomed.received.length === 1, { what: 'the bind' })
  // Its close frame is never read, and it goes on talking.
  client.socket.pause()
  gateway.controlPlane.workers.delete(doomed.id)
  await waitFor(() => doomed.connections.every(end => end.readyState === end.CLOSED), { what: 'end of the worker' })
  for (let number = 0; number < 20; number++) client.socket.send(`late ${number}`)
  await new Promise(resolve => setTimeout(resolve, 100))
  t.equal(doomed.received.length, 1)
})

t.test('a certificate that was taken back is refused at the dial, and ends the relays that stand on it', async t => {
  const gateway = await startGateway(t)
  const id = randomUUID()
  const stolen = await certificate(gateway.ca, { uris: [workerUri(id)] })
  const thumbprint = certificateThumbprint(new X509Certificate(stolen.certificatePem).raw)
  const old = await workerStandIn(t, stolen, { id })
  await gateway.register(id, old.url)
  const { client } = await bound(gateway, old)
  gateway.controlPlane.revokedThumbprints.push(thumbprint)
  t.same(await client.closed, REVOKED)
  t.same(await refusal(gateway, id), REVOKED)
  t.equal(old.connections.length, 1)
  const fresh = await workerStandIn(t, await certificate(gateway.ca, { uris: [workerUri(id)] }), { id })
  await gateway.register(id, fresh.url)
  await bound(gateway, fresh)
})

t.test('a worker that is revoked while it is dialled hears nothing', async t => {
  const gateway = await startGateway(t, { directoryTimes: { intervalMs: 3_600_000 } })
  const id = randomUUID()
  const doomed = await workerStandIn(t, await certificate(gateway.ca, { uris: [workerUri(id)] }), {
    id,
    // TLS is up, and the gateway waits for the answer to its upgrade.
    beforeUpgrade: async () => {
      gateway.controlPlane.workers.delete(id)
      await gateway.gateway.directory.refresh()
    },
  })
  await gateway.register(id, doomed.url)
  t.same(await refusal(gateway, id), REVOKED)
  t.same(doomed.received, [])
})

t.test('a control plane that goes away ends no relay, and the gateway finds it again', async t => {
  const gateway = await startGateway(t)
  const worker = await gateway.worker()
  const { client } = await bound(gateway, worker)
  await gateway.controlPlane.stop()
  await waitFor(() => gateway.lines.some(line => line.includes('worker_directory_not_read')), { what: 'the failure' })
  await bound(gateway, worker)
  client.socket.send('still here')
  await waitFor(() => worker.received.some(({ text }) => text === 'still here'), { what: 'message' })
  gateway.controlPlane.workers.delete(worker.id)
  await gateway.controlPlane.listen()
  t.same(await client.closed, REVOKED, 'what happened meanwhile counts')
})

t.test('with public certificates the public authorities and the registered name count, and nothing else', async t => {
  const publicAuthority = await authority('public CA')
  const start = () =>
    startGateway(t, {
      publicCa: publicAuthority.certificatePem,
      prepare: controlPlane => {
        controlPlane.trustMode = 'public_ca'
      },
    })
  const gateway = await start()
  const finding = async (id: string, url: string, names: string[] | null) => {
    gateway.controlPlane.workers.set(id, { public_url: url, names })
    await gateway.gateway.directory.refresh()
    await gateway.gateway.directory.refresh()
    const logged = gateway.lines.length
    t.match(await refusal(gateway, id), { reason: 'ERR_WORKER_UNREACHABLE' })
    const line = gateway.lines.slice(logged).find(text => text.includes('data_plane_refused')) ?? '{}'
    return JSON.parse(line).finding as string
  }
  const good = await workerStandIn(t, await certificate(publicAuthority), { host: 'localhost' })
  gateway.controlPlane.workers.set(good.id, { public_url: good.url, names: ['localhost'] })
  await gateway.gateway.directory.refresh()
  await gateway.gateway.directory.refresh()
  await bound(gateway, good)
  const before = good.connections.length
  t.equal(await finding(good.id, good.url, ['worker.example']), 'name_not_registered', 'another host of the same owner')
  t.equal(await finding(good.id, good.url, []), 'name_not_registered')
  const misnamed = await workerStandIn(t, await certificate(publicAuthority, { dnsNames: ['evil.example'] }), {
    host: 'localhost',
  })
  t.equal(await finding(misnamed.id, misnamed.url, ['localhost']), 'ERR_TLS_CERT_ALTNAME_INVALID')
  const own = await workerStandIn(t, await certificate(gateway.ca, { uris: [workerUri(good.id)] }), {
    host: 'localhost',
  })
  t.match(await finding(good.id, own.url, ['localhost']), /SELF_SIGNED|UNABLE_TO/, 'the platform CA is no public one')
  t.equal(good.connections.length, before)

  const strict = await startGateway(t, { publicCa: publicAuthority.certificatePem })
  strict.controlPlane.workers.set(good.id, { public_url: good.url, names: ['localhost'] })
  await strict.gateway.directory.refresh()
  await strict.gateway.directory.refresh()
  t.match(await refusal(strict, good.id), { reason: 'ERR_WORKER_UNREACHABLE' }, 'a public CA is not the platform CA')
})
