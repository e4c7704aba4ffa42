import { createCsr, createRoot, identityOfCertificate } from '@rap/pki'
import { type Platform, type PlatformWorker, startPlatform, startShadow, targetOf, waitFor } from '@rap/testkit'
import { shownBy } from './certificates.ts'
import { type Client, type LiveDesktop, newClient, openDesktop } from './client.ts'
import { expect, Report, type Row } from './report.ts'

const PASSWORD = 'smoke-Pa55phrase'
/** How long a step may take to be seen everywhere, in milliseconds. */
const SETTLE_MS = 30_000
/** What the design promises for a revocation, in milliseconds. */
const REVOKED_WITHIN_MS = 5000
/** Binds beside which the signing keys rotate. */
const BINDS_A_ROTATION = 3

export interface SmokeOptions {
  readonly onProgress?: (step: string) => void
  readonly onRow?: (row: Row) => void
}

interface Bundle {
  readonly ref: string
  readonly version: number
  readonly certificates: string
  readonly signed: unknown
}

/**
 * Runs a whole platform in production mode with nothing but `rap-pki init` and join tokens, and proves what the trust of
 * direct worker WSS promises. Answers what held.
 */
export async function smoke({ onProgress = () => {}, onRow }: SmokeOptions = {}): Promise<Report> {
  const desktop = await startShadow({ username: 'smoke', password: PASSWORD, security: 'nla' })
  let platform: Platform | undefined
  try {
    platform = await startPlatform({
      appEnv: 'production',
      identities: 'enrolled',
      workers: 2,
      onProgress,
      env: {
        'control-plane': {
          DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: 'platform_ca',
          CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES: '0',
        },
        'secret-resolver': { RAP_IDENTITY_POLL_SECONDS: '1' },
        gateway: { RAP_IDENTITY_POLL_SECONDS: '1' },
        'rdp-worker': { RAP_IDENTITY_POLL_SECONDS: '1' },
      },
      targets: [
        targetOf(desktop, { name: 'Desktop', credential: { username: 'smoke', password: PASSWORD }, security: 'nla' }),
      ],
    })
    const report = new Report(onRow)
    await new Smoke(platform, report).run()
    return report
  } finally {
    await platform?.stop()
    await desktop.stop()
  }
}

class Smoke {
  readonly #platform: Platform
  readonly #report: Report
  readonly #resourceId: string
  readonly #open: LiveDesktop[] = []

  constructor(platform: Platform, report: Report) {
    this.#platform = platform
    this.#report = report
    this.#resourceId = platform.resources[0]?.id ?? ''
  }

  async run(): Promise<void> {
    const first = await this.#bundle()
    const client = await newClient(this.#platform, { first: { document: first.signed } })
    try {
      await this.#enrolment(first)
      await this.#production(client, first)
      await this.#rotation(client, first)
      await this.#signingKeys(client)
      await this.#revocation(client)
      await this.#smokeMode(client)
    } finally {
      for (const { session } of this.#open) await session.terminate().catch(() => undefined)
    }
  }

  async #bundle(): Promise<Bundle> {
    return await this.#platform.api.call<Bundle>('GET', '/v1/trust-bundle')
  }

  async #desktop(client: Client): Promise<LiveDesktop> {
    const live = await openDesktop(client, this.#resourceId)
    this.#open.push(live)
    return live
  }

  async #enrolment(first: Bundle): Promise<void> {
    const [platform, report] = [this.#platform, this.#report]
    await report.claim('rap-pki init published a signed bundle', async () => {
      expect(first.version === 1 && first.signed !== null, `bundle ${first.ref} is not a signed v1`)
      return `${first.ref}, ETag and 304`
    })
    await report.claim('every process enrolled with its own key, for its registered names', async () => {
      for (const worker of platform.workers) {
        const { leaf, authorized } = await shownBy(worker.url, first.certificates)
        expect(authorized, 'the worker does not verify')
        const identity = identityOfCertificate(leaf)
        expect(identity === `spiffe://rap.internal/worker/${worker.id}`, `it carries ${identity}`)
      }
      expect((await shownBy(platform.gatewayUrl ?? '', first.certificates)).authorized, 'the gateway does not verify')
      const { items } = await platform.api.call<{ items: { id: string; certificate: unknown }[] }>(
        'GET',
        '/v1/identities',
      )
      expect(
        items.every(({ certificate }) => certificate !== null),
        'somebody has no certificate',
      )
      return items.map(({ id }) => id.slice(0, 15)).join(', ')
    })
    await report.claim('a join token is good for one key', async () => {
      const token = await platform.api.call<{ join_token: string; identity_id: string }>(
        'POST',
        '/v1/workers/join-tokens',
        {
          body: { name: 'One key', dns_names: ['one.example'] },
        },
      )
      const enrol = async () => {
        const { csrPem } = await createCsr({ commonName: token.identity_id })
        const body = { join_token: token.join_token, csr: csrPem }
        return await platform.api.send<{ code?: string }>('POST', '/v1/enroll', { body, token: null })
      }
      const [one, two] = [await enrol(), await enrol()]
      // Nobody holds this certificate: it would keep the old generation in use.
      await platform.api.call('POST', `/v1/workers/${token.identity_id}/revoke`, { body: {} })
      expect(one.status === 200 && two.status === 403, `${one.status}, ${two.status}`)
      return `200, then ${two.body.code}`
    })
  }

  async #production(client: Client, first: Bundle): Promise<void> {
    const [platform, report] = [this.#platform, this.#report]
    await report.claim('the direct candidate says what the seed says', async () => {
      const session = await client.rap.sessions.start({ resourceId: this.#resourceId })
      await session.terminate()
      const [direct] = session.candidates as { type: string; metadata: Record<string, unknown> }[]
      const { runtime_transports: _, ...metadata } = direct?.metadata ?? {}
      const wanted = {
        runtime_transport: 'json_v1',
        traffic_ready: true,
        tls_trust_mode: 'platform_ca',
        production_trusted: true,
        smoke_only: false,
        tls_ca_ref: first.ref,
      }
      expect(JSON.stringify(metadata) === JSON.stringify(wanted), JSON.stringify(metadata))
      return JSON.stringify(metadata)
    })
    await report.claim('a production client gets a desktop over direct WSS', async () => {
      const { connection } = await this.#desktop(client)
      expect(connection.path === 'direct', connection.trace.explain())
      return connection.trace.explain()
    })
    await report.claim('a client with another root gets the gateway, the smoke bypass notwithstanding', async () => {
      const foreign = await createRoot({ name: 'Foreign root', days: 1, now: new Date() })
      const stranger = await newClient(platform, {
        first: { ref: first.ref, pem: foreign.certificatePem },
        caPem: first.certificates,
        bypass: true,
      })
      const { connection } = await this.#desktop(stranger)
      expect(connection.path === 'gateway', connection.trace.explain())
      return connection.trace.explain()
    })
  }

  async #rotation(client: Client, first: Bundle): Promise<void> {
    const [platform, report] = [this.#platform, this.#report]
    const live = await this.#desktop(client)
    const urls = [...platform.workers.map(({ url }) => url), platform.gatewayUrl ?? '', platform.apiUrl]
    const leaves = async (ca: string) => await Promise.all(urls.map(url => shownBy(url, ca)))
    const step = (name: string) => platform.api.call('POST', `/v1/platform-ca/${name}`, { body: {} })
    const before = await leaves(first.certificates)
    await report.claim('v2 is published, and clients follow its signature', async () => {
      await step('stage')
      const newest = await this.#bundle()
      expect(newest.version === 2, newest.ref)
      const refs = await client.rap.refreshTrust()
      expect(refs.includes(newest.ref), `the client holds ${refs.join(', ')}`)
      return `${first.ref} → ${refs.join(', ')}`
    })
    await report.claim('certificates move to generation 2; who knows v1 alone still verifies them', async () => {
      await step('activate')
      await waitFor(
        async () =>
          (await leaves(first.certificates)).every(
            ({ leaf }, at) => leaf.fingerprint256 !== before[at]?.leaf.fingerprint256,
          ),
        { what: 'new certificates everywhere', timeoutMs: SETTLE_MS },
      )
      const now = await leaves(first.certificates)
      expect(
        now.every(({ authorized }) => authorized),
        'a client of v1 does not verify them',
      )
      const old = await newClient(platform, { first: { ref: first.ref, pem: first.certificates } })
      const [olds, news] = [await this.#desktop(old), await this.#desktop(client)]
      expect(olds.connection.path === 'direct', olds.connection.trace.explain())
      expect(news.connection.path === 'direct', news.connection.trace.explain())
      return `${urls.length} listeners, old and new client direct`
    })
    await report.claim('v3 leaves the old root out; the client follows and stays direct', async () => {
      await waitFor(
        async () => (await platform.api.send('POST', '/v1/platform-ca/retire', { body: {} })).status === 200,
        {
          what: 'nobody standing on generation 1',
          timeoutMs: SETTLE_MS,
        },
      )
      const newest = await this.#bundle()
      expect(newest.version === 3 && !newest.certificates.includes(first.certificates.trim()), newest.ref)
      const { connection } = await this.#desktop(client)
      expect(connection.path === 'direct', connection.trace.explain())
      return connection.trace.explain()
    })
    await report.claim('the desktop of before the rotation stayed up', async () => {
      expect(live.ended() === undefined, `it ended: ${live.ended()}`)
      const seen = live.client.updates.fastPath + live.client.updates.slowPath
      live.client.typeLine('true')
      await waitFor(() => live.client.updates.fastPath + live.client.updates.slowPath > seen, {
        what: 'updates of the desktop',
        timeoutMs: SETTLE_MS,
      })
      return `${before.length} listeners changed their certificate twice under it`
    })
  }

  async #signingKeys(client: Client): Promise<void> {
    const [platform, report] = [this.#platform, this.#report]
    await report.claim('signing keys rotate under binds, and no valid token is refused', async () => {
      let binds = 0
      const kids = new Set<string>()
      for (let turn = 0; turn < 2; turn++) {
        const [rotated] = await Promise.all([
          platform.api.call<{ active_kid: string }>('POST', '/v1/signing-keys/rotate', { body: { force: true } }),
          ...Array.from({ length: BINDS_A_ROTATION }, async () => {
            const { session } = await openDesktop(client, this.#resourceId)
            binds += 1
            await session.terminate()
          }),
        ])
        kids.add(rotated.active_kid)
      }
      expect(kids.size === 2, 'the key did not change')
      return `${binds} of ${2 * BINDS_A_ROTATION} binds, 2 rotations`
    })
  }

  async #revocation(client: Client): Promise<void> {
    const [platform, report] = [this.#platform, this.#report]
    let revoked: PlatformWorker | undefined
    await report.claim('a revoked worker is shut out within 5 s, and its desktops are closed', async () => {
      const live = await this.#desktop(client)
      revoked = platform.workers.find(({ url }) => live.connection.url.startsWith(url))
      expect(revoked !== undefined, `no worker at ${live.connection.url}`)
      const startedAt = performance.now()
      await platform.api.call('POST', `/v1/workers/${revoked.id}/revoke`, { body: {} })
      await waitFor(() => live.ended() !== undefined, { what: 'the end of the desktop', timeoutMs: SETTLE_MS })
      const took = Math.round(performance.now() - startedAt)
      expect(took <= REVOKED_WITHIN_MS, `it took ${took} ms`)
      return `${live.ended()} after ${took} ms`
    })
    await report.claim('sessions go on over the other worker, also after restarts', async () => {
      await platform.controlPlane.restart()
      await platform.gateway?.restart()
      const { connection } = await this.#desktop(client)
      const other = platform.workers.find(worker => worker !== revoked)
      expect(other !== undefined && connection.url.startsWith(other.url), connection.url)
      const { items } = await platform.api.call<{ items: { id: string; state: string }[] }>('GET', '/v1/workers')
      expect(items.find(({ id }) => id === revoked?.id)?.state === 'revoked', 'it is not revoked any more')
      return connection.url
    })
  }

  async #smokeMode(client: Client): Promise<void> {
    const [platform, report] = [this.#platform, this.#report]
    await report.claim('in production a smoke_insecure worker is not advertised; the gateway is', async () => {
      await platform.controlPlane.restart({ DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: 'smoke_insecure' })
      const { connection, session } = await this.#desktop(client)
      const types = (session.candidates as { type: string }[]).map(({ type }) => type)
      expect(types.join() === 'backend_gateway' && connection.path === 'gateway', types.join())
      return connection.trace.explain()
    })
    await report.claim('neither the password nor a private key is in a log', async () => {
      const logs = platform.logs()
      expect(!logs.includes(PASSWORD) && !/PRIVATE KEY|rapjoin\./.test(logs), 'a log holds one')
      return `${Math.round(logs.length / 1024)} KiB of logs`
    })
  }
}
