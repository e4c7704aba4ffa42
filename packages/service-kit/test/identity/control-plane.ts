import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  createCsr,
  createIntermediate,
  createRoot,
  crossSign,
  issueFromCsr,
  openAuthority,
  readCsr,
  type SigningAuthority,
  type SpiffeKind,
  spiffeId,
} from '@rap/pki'
import { tempDir } from '@rap/testkit'
import {
  firstTrustBundle,
  type HeldTrustBundle,
  nextTrustBundle,
  signTrustBundle,
  trustBundleRef,
} from '@rap/trust-bundle'
import type { Test } from 'tap'
import {
  buildServer,
  createMetrics,
  IdentityError,
  type IdentityTimes,
  type Metrics,
  openPlatformIdentity,
  type PlatformIdentity,
  ProblemError,
  peerIdentity,
  type RapServer,
} from '../../src/index.ts'
import { type CapturedLog, capturedLog, silentLogger } from '../helper.ts'

export const TRUST_DOMAIN = 'rap.test'
const HOUR_MS = 3_600_000

/** A clock that a test moves. */
export class TestClock {
  offsetMs = 0
  readonly now = (): number => Date.now() + this.offsetMs
  /** Moves on, in hours. */
  pass(hours: number): void {
    this.offsetMs += hours * HOUR_MS
  }
}

interface Generation {
  readonly root: SigningAuthority
  readonly intermediate: SigningAuthority
  readonly cross?: string
}

export interface IssueChanges {
  /** Default: that of whoever asks. */
  readonly csr?: string
  readonly kind?: SpiffeKind
  readonly id?: string
  readonly trustDomain?: string
  readonly usages?: ('server' | 'client')[]
  readonly hours?: number
  readonly uris?: string[]
  /** By another CA. */
  readonly by?: TestControlPlane
  readonly isUnchained?: boolean
}

/** The control plane's side of identities as section 5 of the design has it: real servers, a real CA, its register in memory. */
export class TestControlPlane {
  readonly clock: TestClock
  readonly #generations: Generation[] = []
  readonly bundles: HeldTrustBundle[] = []
  active = 0
  readonly revoked = new Set<string>()
  readonly received: { path: string; body: unknown; thumbprint: string | undefined }[] = []
  /** What a dishonest or broken control plane issues. */
  issue: IssueChanges = {}
  /** Called before each answer; it may throw or wait. */
  before: (path: string) => void | Promise<void> = () => {}
  /** Throws the answer of an enrolment away once. */
  losesAnswer = false
  dateOffsetMs = 0
  readonly #tokens = new Map<string, { kind: SpiffeKind; id: string; usedKey?: string }>()
  /** Keys of certificates whose generation counts; by thumbprint. */
  readonly #issuedBy = new Map<string, number>()
  #public: RapServer | undefined
  #internal: RapServer | undefined
  #ports: [number, number] = [0, 0]

  private constructor(clock: TestClock) {
    this.clock = clock
  }

  static async start(t: Test, clock = new TestClock()): Promise<TestControlPlane> {
    const made = new TestControlPlane(clock)
    await made.stage()
    await made.listen()
    t.teardown(() => made.stop())
    return made
  }

  get url(): string {
    return `https://localhost:${this.#ports[0]}`
  }

  get internalUrl(): string {
    return `https://localhost:${this.#ports[1]}`
  }

  get newest(): HeldTrustBundle {
    return this.bundles.at(-1) as HeldTrustBundle
  }

  paths(path: string): unknown[] {
    return this.received.filter(request => request.path === path)
  }

  /** A new generation, published beside those that are. */
  async stage(): Promise<void> {
    const now = new Date()
    const number = this.#generations.length + 1
    const made = await createRoot({ name: `root ${number}`, days: 100, now })
    const root = await openAuthority(made.certificatePem, made.privateKey)
    const below = await createIntermediate({ root, name: `issuing ${number}`, days: 90, now })
    const intermediate = await openAuthority(below.certificatePem, below.privateKey)
    const older = this.#generations.at(-1)?.root
    const cross =
      older === undefined ? undefined : await crossSign({ issuer: older, certificatePem: root.certificatePem, now })
    this.#generations.push({ root, intermediate, ...(cross !== undefined && { cross }) })
    await this.#publish(this.#generations.slice(-2).map(generation => generation.root))
  }

  /** Issues by the newest generation, its own certificate first. */
  async activate(): Promise<void> {
    this.active = this.#generations.length - 1
    const { cert, key } = await this.#own()
    this.#public?.setTls({ cert, key })
    this.#internal?.setTls({ cert, key, ca: this.newest.pem })
  }

  /** Publishes a bundle without the older roots. */
  async retire(): Promise<void> {
    const { root } = this.#generations[this.active] as Generation
    await this.#publish([root])
    const { cert, key } = await this.#own()
    this.#internal?.setTls({ cert, key, ca: this.newest.pem })
    this.#public?.setTls({ cert, key })
  }

  async #publish(roots: SigningAuthority[]): Promise<void> {
    const held = this.bundles.at(-1)
    const version = this.bundles.length + 1
    const signers = [this.#generations[Math.max(0, this.active)] as Generation, ...this.#generations].map(
      generation => generation.root,
    )
    const own = signers.find(({ certificatePem }) => roots.some(root => root.certificatePem === certificatePem))
    const signed = await signTrustBundle(
      {
        ref: trustBundleRef('test-ca', version),
        version,
        trust_domain: TRUST_DOMAIN,
        certificates: roots.map(({ certificatePem }) => certificatePem),
        issued_at: new Date().toISOString(),
        previous_sha256: held?.sha256 ?? null,
      },
      [own as SigningAuthority],
    )
    this.bundles.push(held === undefined ? await firstTrustBundle(signed) : await nextTrustBundle(held, signed))
    const internal = this.#internal
    if (internal !== undefined) internal.setTls({ ...(await this.#own()), ca: this.newest.pem })
  }

  joinToken(kind: SpiffeKind, id: string, bundle = this.newest): string {
    const text = `rapjoin.${randomUUID()}.${randomBytes(32).toString('base64url')}.${bundle.sha256}`
    this.#tokens.set(text, { kind, id })
    return text
  }

  async listen(): Promise<void> {
    const tls = await this.#own()
    const [publicPort, internalPort] = this.#ports
    this.#public = await buildServer({ service: 'test', logger: silentLogger, tls })
    this.#internal = await buildServer({
      service: 'test',
      logger: silentLogger,
      trustDomain: TRUST_DOMAIN,
      tls: { ...tls, ca: this.newest.pem, requireClientCertificate: true },
    })
    this.#addRoutes(this.#public, this.#internal)
    const portOf = async (app: RapServer, port: number) =>
      Number(new URL(await app.listen({ host: '127.0.0.1', port })).port)
    this.#ports = [await portOf(this.#public, publicPort), await portOf(this.#internal, internalPort)]
  }

  /** Listens where another one has listened. */
  async takePlaceOf(other: TestControlPlane): Promise<void> {
    await this.stop()
    this.#ports = other.#ports
    await this.listen()
  }

  async stop(): Promise<void> {
    const servers = [this.#public, this.#internal]
    this.#public = undefined
    this.#internal = undefined
    await Promise.all(servers.map(server => server?.close()))
  }

  #addRoutes(open: RapServer, internal: RapServer): void {
    for (const app of [open, internal]) {
      app.addHook('preHandler', async (request, reply) => {
        const path = request.routeOptions.url ?? ''
        this.received.push({ path, body: request.body, thumbprint: peerIdentity(request)?.thumbprint })
        reply.header('date', new Date(this.clock.now() + this.dateOffsetMs).toUTCString())
        await this.before(path)
      })
    }
    for (const [app, prefix] of [[open, ''] as const, [internal, '/internal'] as const]) {
      app.get(`${prefix}/v1/trust-bundle`, async () => this.#bundleView(this.bundles.length))
      app.get(`${prefix}/v1/trust-bundles/:version`, async request =>
        this.#bundleView(Number((request.params as { version: string }).version)),
      )
    }
    open.post('/v1/enroll', async (request, reply) => {
      const { join_token: text, csr } = request.body as { join_token: string; csr: string }
      const token = this.#tokens.get(text)
      const { keySha256 } = await readCsr(csr)
      if (token === undefined || (token.usedKey !== undefined && token.usedKey !== keySha256)) {
        throw refusal('ERR_ENROLMENT_REFUSED')
      }
      token.usedKey = keySha256
      const answer = await this.#answer(token, csr)
      if (this.losesAnswer) {
        this.losesAnswer = false
        reply.raw.destroy()
        return reply
      }
      return answer
    })
    const peerOf = (request: Parameters<typeof peerIdentity>[0]) => {
      const peer = peerIdentity(request)
      if (peer === undefined) throw refusal('ERR_MTLS_IDENTITY')
      if (this.revoked.has(peer.id))
        throw refusal(peer.kind === 'worker' ? 'ERR_WORKER_REVOKED' : 'ERR_IDENTITY_REVOKED')
      return peer
    }
    internal.get('/internal/v1/identity', async request => {
      const { kind, id, thumbprint } = peerOf(request)
      return {
        kind,
        id,
        state: 'active',
        trust_bundle_version: this.bundles.length,
        renew_now: this.#issuedBy.get(thumbprint) !== this.active,
        serial: null,
      }
    })
    internal.post('/internal/v1/identity/certificates', async request =>
      this.#answer(peerOf(request), (request.body as { csr: string }).csr),
    )
  }

  #bundleView(version: number) {
    const bundle = this.bundles[version - 1]
    if (bundle === undefined) throw refusal('ERR_NOT_FOUND')
    return {
      ref: bundle.bundle.ref,
      version,
      format: 'pem',
      certificates: bundle.pem,
      sha256: bundle.sha256,
      signed: bundle.signed,
    }
  }

  async #answer({ kind, id }: { kind: SpiffeKind; id: string }, csr: string) {
    const certificate = await this.certificate(kind, id, csr)
    return {
      kind,
      id,
      certificate,
      trust_bundle: this.newest.signed,
      trust_domain: TRUST_DOMAIN,
      not_after: '',
      renew_at: '',
    }
  }

  /** A certificate as it is issued now. */
  async certificate(kind: SpiffeKind, id: string, csrPem: string): Promise<string> {
    const { by = this, hours = 24, usages = ['server', 'client'], isUnchained = false, ...changes } = this.issue
    const { intermediate, cross } = by.#generations[by.active] as Generation
    const now = new Date(Math.min(Date.now(), this.clock.now()))
    const issued = await issueFromCsr({
      issuer: intermediate,
      chainPem: intermediate.certificatePem + (cross ?? ''),
      csr: await readCsr(changes.csr ?? csrPem),
      commonName: id,
      dnsNames: ['localhost'],
      uris: changes.uris ?? [spiffeId(changes.trustDomain ?? TRUST_DOMAIN, changes.kind ?? kind, changes.id ?? id)],
      usages,
      now,
      notAfter: new Date(this.clock.now() + hours * HOUR_MS),
    })
    this.#issuedBy.set(issued.thumbprint, this.active)
    return isUnchained
      ? issued.certificatePem.slice(0, issued.certificatePem.indexOf('-----END') + 26)
      : issued.certificatePem
  }

  async #own(): Promise<{ cert: string; key: string }> {
    const { issue } = this
    this.issue = { hours: 24 * 10 }
    const { csrPem, keyPem } = await createCsr()
    const cert = await this.certificate('service', 'control-plane', csrPem)
    this.issue = issue
    return { cert, key: keyPem }
  }
}

function refusal(code: string): ProblemError {
  return new ProblemError({ code, status: code === 'ERR_NOT_FOUND' ? 404 : 403, title: 'refused' })
}

export interface Opened {
  readonly identity: PlatformIdentity
  readonly dir: string
  readonly log: CapturedLog
  readonly metrics: Metrics
}

export interface OpenOptions {
  readonly dir?: string
  readonly id?: string | undefined
  readonly kind?: SpiffeKind
  readonly token?: string | undefined
  readonly times?: IdentityTimes
  readonly env?: Readonly<Record<string, string | number>>
}

/** Where a service finds its identity. */
export function place(t: Test): string {
  const made = tempDir('rap-identity-')
  t.teardown(() => made.remove())
  return made.path
}

export const tokenFile = (dir: string): string => `${dir}.join-token`

/** Opens the identity of a service against this control plane; polls are made by the test. */
export async function open(t: Test, controlPlane: TestControlPlane, options: OpenOptions = {}): Promise<Opened> {
  const dir = options.dir ?? join(place(t), 'identity')
  if (options.token !== undefined) writeFileSync(tokenFile(dir), `${options.token}\n`, { mode: 0o600 })
  const log = capturedLog()
  const metrics = createMetrics({ service: 'test' })
  const identity = await openPlatformIdentity({
    config: {
      RAP_TRUST_DOMAIN: TRUST_DOMAIN,
      RAP_IDENTITY_DIR: dir,
      RAP_JOIN_TOKEN_FILE: tokenFile(dir),
      CONTROL_PLANE_URL: controlPlane.url,
      CONTROL_PLANE_INTERNAL_URL: controlPlane.internalUrl,
      RAP_IDENTITY_POLL_SECONDS: 3600,
      ...options.env,
    },
    kind: options.kind ?? 'worker',
    id: options.id,
    logger: log.logger,
    metrics,
    times: {
      now: controlPlane.clock.now,
      random: () => 0.5,
      retryMs: 10,
      maxRetryMs: 50,
      renewNowSpreadMs: 0,
      ...options.times,
    },
  })
  t.teardown(() => identity.close())
  // The look that each start begins with is over.
  await identity.check()
  return { identity, dir, log, metrics }
}

/** The IdentityError that opening ends with. */
export async function refusedOpen(
  t: Test,
  controlPlane: TestControlPlane,
  options: OpenOptions,
): Promise<IdentityError> {
  const outcome = await open(t, controlPlane, options).catch((error: unknown) => error)
  if (outcome instanceof IdentityError) return outcome
  throw new Error(`no refusal: ${outcome instanceof Error ? outcome.stack : 'opened'}`)
}

export const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')
