import { copyFileSync, writeFileSync } from 'node:fs'
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import { waitFor, writePlatformCertificate } from '@rap/testkit'
import t from 'tap'
import type { DataPlaneClient } from '../client.ts'
import { startDesktop } from '../desktop.ts'
import { TestWorker } from '../worker.ts'

const desktop = await startDesktop(t)

const certificateOf = (client: DataPlaneClient): PeerCertificate =>
  (client.socket as unknown as { _socket: TLSSocket })._socket.getPeerCertificate()

const RENEWALS = 8

/** Writes another certificate where the worker reads its own. */
async function renew(worker: TestWorker): Promise<void> {
  const folder = worker.files.certFile.slice(0, worker.files.certFile.lastIndexOf('/'))
  await writePlatformCertificate(folder, worker.authority, { kind: 'worker', id: worker.id })
  await worker.worker.reloadDataPlaneTls()
}

t.test(
  'a desktop outlives every renewal, each new client sees the newest certificate, and nobody is kept out',
  async t => {
    const worker = await TestWorker.start(t, { times: { lingerMs: 50 } })
    const live = await worker.desktop({ address: desktop.address })
    const session = desktop.sessions.at(-1)
    const certificates = () => worker.metric('rap_worker_data_plane_certificates')
    const serials = new Set([certificateOf(live.client).serialNumber])

    let isConnecting = true
    let tried = 0
    const failures: unknown[] = []
    /**
     * Without net.ipv4.tcp_migrate_req the kernel resets who stands in the queue of a listener that closes, before or after its first bytes:
     * nobody more often than there are renewals.
     */
    const getIn = (resets: number): Promise<void> =>
      handshake(worker).catch(error => {
        if (error.code !== 'ECONNRESET' || resets === 0) throw error
        return getIn(resets - 1)
      })
    const connecting = Array.from({ length: 4 }, async () => {
      while (isConnecting) {
        tried += 1
        await getIn(RENEWALS).catch(error => failures.push(error))
      }
    })
    for (let round = 1; round <= RENEWALS; round++) {
      await renew(worker)
      const next = await worker.connect()
      serials.add(certificateOf(next).serialNumber)
      t.equal(serials.size, round + 1, 'a new client sees the new certificate')
      next.socket.close()
      const before = live.client.rdp?.receivedBytes ?? 0
      session?.send(Buffer.from('0005aaaaaa', 'hex'))
      await waitFor(() => (live.client.rdp?.receivedBytes ?? 0) > before, { what: `bytes after renewal ${round}` })
    }
    await waitFor(() => tried > 50, { what: 'many clients' })
    isConnecting = false
    await Promise.all(connecting)
    t.same(failures, [], `each of ${tried} clients got in`)

    await waitFor(async () => (await certificates()) === 2, { what: 'the release of certificates that nobody uses' })
    t.equal(live.client.end, undefined)
    live.client.socket.close()
    await waitFor(async () => (await certificates()) === 1, { what: 'the release of the last one' })
    const last = await worker.desktop({ address: desktop.address })
    t.equal(last.client.end, undefined, 'a worker that has released others serves on')
  },
)

t.test('a certificate file that cannot be used leaves the listener as it is', async t => {
  const worker = await TestWorker.start(t)
  const { certFile } = worker.files
  copyFileSync(certFile, `${certFile}.kept`)
  for (const content of ['', 'no certificate', 'x'.repeat(2 * 1024 * 1024)]) {
    writeFileSync(certFile, content)
    await t.rejects(worker.worker.reloadDataPlaneTls(), { message: /holds no certificate/ })
  }
  copyFileSync(`${certFile}.kept`, certFile)
  const client = await worker.connect()
  t.equal(client.end, undefined)
})

/** One TLS handshake, and its end. */
function handshake(worker: TestWorker): Promise<void> {
  const { hostname, port } = new URL(worker.url)
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      servername: hostname,
      port: Number(port),
      ca: worker.authority.certificatePem,
    })
    socket.once('error', reject)
    socket.once('secureConnect', () => {
      socket.end()
      resolve()
    })
  })
}
