import { X509Certificate } from 'node:crypto'
import { createServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { type Authority, identityOfCertificate, issueCertificate, spiffeId } from '@rap/pki'
import { freePort, TRUST_DOMAIN } from '@rap/testkit'

/** What a test registers its clean-up with; tap's own `t` fits. */
export interface Teardown {
  teardown(run: () => unknown): void
}

export interface PeerRequest {
  readonly method: string
  readonly path: string
  // biome-ignore lint/suspicious/noExplicitAny: bodies of the internal API, as their tests read them.
  readonly body: any
  /** SPIFFE ID of the caller. */
  readonly caller: string | undefined
}

export interface PeerAnswer {
  readonly status?: number
  readonly body?: unknown
}

export function problem(status: number, code: string): PeerAnswer {
  return { status, body: { type: `urn:rap:problem:${code}`, title: 'refused', status, code } }
}

export interface Peer {
  readonly url: string
  readonly requests: PeerRequest[]
  /** Ends every connection and stops listening, as a service that crashes does. */
  stop(): Promise<void>
  /** Listens again on the same port. */
  start(): Promise<void>
}

/** A service of the platform as the worker sees it: HTTPS with client certificates, JSON and problem documents. */
export async function startPeer(
  t: Teardown,
  { authority, service }: { readonly authority: Authority; readonly service: string },
  answer: (request: PeerRequest) => PeerAnswer | Promise<PeerAnswer>,
): Promise<Peer> {
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: service,
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    uris: [spiffeId(TRUST_DOMAIN, 'service', service)],
    usages: ['server', 'client'],
    now: new Date(),
  })
  const requests: PeerRequest[] = []
  const server = createServer(
    { cert: certificatePem, key: keyPem, ca: authority.certificatePem, requestCert: true, rejectUnauthorized: true },
    async (incoming, outgoing) => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk as Buffer)
      const text = Buffer.concat(chunks).toString()
      const { raw } = (incoming.socket as TLSSocket).getPeerCertificate()
      const request: PeerRequest = {
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        body: text === '' ? undefined : JSON.parse(text),
        caller: raw === undefined ? undefined : identityOfCertificate(new X509Certificate(raw)),
      }
      requests.push(request)
      const { status = 200, body } = await answer(request)
      const type = status >= 400 ? 'application/problem+json' : 'application/json'
      outgoing.writeHead(body === undefined ? 204 : status, { 'content-type': type })
      outgoing.end(body === undefined ? undefined : JSON.stringify(body))
    },
  )
  server.on('clientError', (_error, socket) => socket.destroy())
  // Those that have not done TLS yet are none of `closeAllConnections`.
  const sockets = new Set<Duplex>()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  let port = 0
  const start = async (): Promise<void> => {
    // No port that the kernel gives to outgoing connections: it has to be free when it is asked for again.
    if (port === 0) port = await freePort()
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  }
  const stop = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    if (server.listening) await new Promise(resolve => server.close(resolve))
  }
  await start()
  t.teardown(stop)
  return { url: `https://localhost:${port}`, requests, start, stop }
}
