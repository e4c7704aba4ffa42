import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:https'
import type { TLSSocket } from 'node:tls'
import { type Authority, identityOfCertificate, issueCertificate, spiffeId } from '@rap/pki'
import { InternalClient, internalAgent, type Logger } from '@rap/service-kit'
import { freePort } from '@rap/testkit'

const TRUST_DOMAIN = 'rap.internal'

/** What a test registers its clean-up with; tap's own `t` fits. */
interface Teardown {
  teardown(run: () => unknown): void
}

interface Report {
  readonly peer: string | undefined
  readonly path: string | undefined
  readonly body: Record<string, unknown>
}

export interface RegisteredWorker {
  readonly public_url: string
  readonly names: readonly string[] | null
}

async function certificate(authority: Authority, name: string) {
  return await issueCertificate({
    authority,
    commonName: name,
    usages: ['server', 'client'],
    ipAddresses: ['127.0.0.1'],
    dnsNames: ['localhost'],
    uris: [spiffeId(TRUST_DOMAIN, 'service', name)],
    now: new Date(),
  })
}

/** The control plane's internal listener as far as a gateway can see it: mutual TLS, a directory that a test writes, reports that are kept. */
export class ControlPlaneStandIn {
  readonly workers = new Map<string, RegisteredWorker>()
  readonly revokedThumbprints: string[] = []
  readonly reports: Report[] = []
  /** Statuses that the directory was answered with. */
  readonly answered: number[] = []
  trustMode = 'platform_ca'
  /** What the directory answers instead, while set. */
  answer: { readonly status: number; readonly body: unknown } | undefined
  readonly #server: Server
  #port = 0

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(t: Teardown, authority: Authority): Promise<ControlPlaneStandIn> {
    const { certificatePem: cert, keyPem: key } = await certificate(authority, 'control-plane')
    const server = createServer({
      cert,
      key,
      ca: authority.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
    })
    const standIn = new ControlPlaneStandIn(server)
    server.on('request', async (request, response) => {
      let text = ''
      for await (const chunk of request) text += chunk
      if (request.url === '/internal/v1/workers/directory') {
        const { status, etag, body } = standIn.#directory(request.headers['if-none-match'])
        standIn.answered.push(status)
        response.writeHead(status, { 'content-type': 'application/json', etag }).end(body)
        return
      }
      const peer = (request.socket as TLSSocket).getPeerX509Certificate()
      standIn.reports.push({
        peer: peer === undefined ? undefined : identityOfCertificate(peer),
        path: request.url,
        body: JSON.parse(text),
      })
      response.writeHead(204).end()
    })
    await standIn.listen()
    t.teardown(() => standIn.stop())
    return standIn
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`
  }

  /** On the port that it had, where it had one. */
  async listen(): Promise<void> {
    // No port that the kernel gives to outgoing connections: it has to be free when it is asked for again.
    if (this.#port === 0) this.#port = await freePort()
    await new Promise<void>(resolve => this.#server.listen(this.#port, '127.0.0.1', resolve))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
  }

  /** The gateway's client for it. */
  async client(t: Teardown, authority: Authority, logger: Logger): Promise<InternalClient> {
    const { certificatePem: cert, keyPem: key } = await certificate(authority, 'gateway')
    const identity = { trustDomain: TRUST_DOMAIN, expectedIdentity: 'service/control-plane' }
    const agent = internalAgent({ cert, key, ca: authority.certificatePem, ...identity })
    t.teardown(() => agent.destroy())
    return new InternalClient({ baseUrl: this.url, agent, logger })
  }

  #directory(known: string | undefined): { status: number; etag: string; body: string } {
    const workers = [...this.workers].map(([id, worker]) => ({ id, ...worker }))
    const directory = { workers, trust_mode: this.trustMode, revoked_thumbprints: this.revokedThumbprints }
    const body = JSON.stringify(this.answer?.body ?? directory)
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`
    if (this.answer !== undefined) return { status: this.answer.status, etag, body }
    return etag === known ? { status: 304, etag, body: '' } : { status: 200, etag, body }
  }
}
