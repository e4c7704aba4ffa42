import { setDefaultCACertificates } from 'node:tls'
import {
  type Authority,
  type CertificateOptions,
  createAuthority,
  type IssuedCertificate,
  issueCertificate,
} from '@rap/pki'
import t from 'tap'
import type { WebSocket } from 'ws'
import {
  allow_insecure_direct_data_plane_tls_for_smoke,
  createRapClient,
  fileTrustStore,
  openTrustBundles,
  type RapClientOptions,
} from '../src/index.ts'
import { type Published, publish, rotation, serving } from './bundles.ts'
import {
  authority,
  binds,
  type ControlPlaneScript,
  dataPlane,
  direct,
  gateway,
  problem,
  RESOURCE_ID,
  scriptedControlPlane,
  serverCertificate,
  type Teardown,
} from './helper.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const a = await createAuthority({ name: 'platform CA 1', days: 30, now: new Date(Date.now() - 3 * DAY_MS) })
const [b, publicCa, stranger] = [await authority(), await authority(), await authority()]
// As an operating system's store would have it: the gateway and `public_ca` workers are of it.
setDefaultCACertificates([publicCa.certificatePem])
const publicTls = await serverCertificate(publicCa)
const [v1, v2, v3] = await rotation(a, b)
const FIRST = { ref: 'rap-platform-ca:v1', pem: a.certificatePem }
const BYPASS = { [allow_insecure_direct_data_plane_tls_for_smoke]: true }

async function leaf(ca: Authority, more: Partial<CertificateOptions> = {}): Promise<IssuedCertificate> {
  return await issueCertificate({
    authority: ca,
    commonName: '127.0.0.1',
    usages: ['server'],
    ipAddresses: ['127.0.0.1'],
    now: new Date(),
    ...more,
  })
}

const endedTls = await leaf(a, { now: new Date(Date.now() - 2 * DAY_MS), notAfter: new Date(Date.now() - DAY_MS) })

/** A server that has the root in its own store sends it along, and is then told so. */
const UNKNOWN_ISSUER = /^(UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/

interface Way {
  readonly worker: IssuedCertificate
  readonly metadata?: Parameters<typeof direct>[1]
  readonly options?: Partial<RapClientOptions>
  readonly intercept?: ControlPlaneScript['intercept']
}

/** A connect of a client to a worker with this certificate, beside a gateway that everybody trusts. */
async function connect(t: Teardown, { worker: tls, metadata, options, intercept }: Way) {
  const worker = await dataPlane(t, tls, binds())
  const fallback = await dataPlane(t, publicTls, binds())
  const candidates = [direct(worker.url, { tls_ca_ref: 'rap-platform-ca:v1', ...metadata }), gateway(fallback.url)]
  const script: ControlPlaneScript = intercept === undefined ? { candidates } : { candidates, intercept }
  const { origin, requests } = await scriptedControlPlane(t, script)
  const rap = createRapClient({ baseUrl: origin, timeouts: { openMs: 2000, bindMs: 2000 }, ...options })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const connection = await (await rap.sessions.start({ resourceId: RESOURCE_ID })).connect()
  await connection.close()
  return { connection, worker, fallback, rap, requests }
}

const bundles = () => openTrustBundles({ first: FIRST })

t.test('a worker of the bundle that its candidate names is used directly', async t => {
  const { connection } = await connect(t, { worker: await leaf(a), options: { trust: { bundles: await bundles() } } })
  t.equal(connection.path, 'direct')
  t.match(connection.trace.steps, [
    { event: 'trust_bundle', reason: 'held', bundle: 'rap-platform-ca:v1' },
    { event: 'opened', reason: 'ok', bundle: 'rap-platform-ca:v1' },
    { event: 'bound' },
  ])
  t.equal(
    connection.trace.explain(),
    'The direct way to the worker was taken: its certificate is of rap-platform-ca:v1.',
  )
})

t.test('where the TLS of a worker does not hold, the gateway is taken, and nothing is sent to the worker', async t => {
  const own = { trust: { bundles: await bundles() } }
  const system = { tls_trust_mode: 'public_ca' } as const
  const smoke = { tls_trust_mode: 'smoke_insecure', smoke_only: true, production_trusted: false } as const
  const cases: [string, IssuedCertificate, Way['metadata'], Partial<RapClientOptions>, string | RegExp][] = [
    ['another authority', await leaf(stranger), {}, own, UNKNOWN_ISSUER],
    ['a public authority for a worker of the platform', publicTls, {}, own, UNKNOWN_ISSUER],
    [
      'a public authority for a worker of the platform, with a PEM',
      publicTls,
      {},
      { trust: { caPem: a.certificatePem } },
      UNKNOWN_ISSUER,
    ],
    ['the platform for a worker of a public authority', await leaf(a), system, own, UNKNOWN_ISSUER],
    [
      'the platform, by PEM, for a worker of a public authority',
      await leaf(a),
      system,
      { trust: { caPem: a.certificatePem } },
      UNKNOWN_ISSUER,
    ],
    ['a certificate that has ended', endedTls, {}, own, 'CERT_HAS_EXPIRED'],
    ['a certificate of tomorrow', await leaf(a, { now: new Date(Date.now() + DAY_MS) }), {}, own, 'CERT_NOT_YET_VALID'],
    ['another name', await leaf(a, { ipAddresses: ['127.0.0.2'] }), {}, own, 'ERR_TLS_CERT_ALTNAME_INVALID'],
    [
      'its name as CN alone',
      await leaf(a, { ipAddresses: [], dnsNames: ['worker.example'] }),
      {},
      own,
      'ERR_TLS_CERT_ALTNAME_INVALID',
    ],
    ['no certificate of a server', await leaf(a, { usages: ['client'] }), {}, own, 'INVALID_PURPOSE'],
    ['the bypass in production', await leaf(stranger), {}, { ...own, ...BYPASS }, UNKNOWN_ISSUER],
    ['the bypass in prod', await leaf(stranger), {}, { ...own, ...BYPASS, environment: 'prod' }, UNKNOWN_ISSUER],
    [
      'the bypass for a worker of the platform',
      await leaf(stranger),
      {},
      { ...own, ...BYPASS, environment: 'smoke' },
      UNKNOWN_ISSUER,
    ],
    [
      'the bypass for a worker of a public authority',
      await leaf(stranger),
      system,
      { ...own, ...BYPASS, environment: 'development' },
      UNKNOWN_ISSUER,
    ],
    [
      'the bypass for one that claims both',
      await leaf(stranger),
      { ...smoke, production_trusted: true },
      { ...own, ...BYPASS, environment: 'test' },
      UNKNOWN_ISSUER,
    ],
    [
      'a smoke-only worker without the bypass',
      await leaf(stranger),
      smoke,
      { ...own, environment: 'smoke' },
      UNKNOWN_ISSUER,
    ],
  ]
  for (const [name, certificate, metadata, options, code] of cases) {
    const { connection, worker } = await connect(t, { worker: certificate, metadata, options })
    t.equal(connection.path, 'gateway', name)
    const failed = connection.trace.steps.find(({ event }) => event === 'failed')
    t.match(failed, { candidate: 'direct_worker_wss', reason: 'tls', system_code: code }, name)
    t.match(
      connection.trace.explain(),
      /^The gateway was taken because the worker was reached, but its certificate /,
      name,
    )
    t.equal(worker.upgrades.length, 0, `${name}: not even a request`)
  }
})

t.test('the control: the bypass opens a smoke-only worker outside production, and says so', async t => {
  const metadata = { tls_trust_mode: 'smoke_insecure', smoke_only: true, production_trusted: false } as const
  for (const environment of ['development', 'smoke', 'test'] as const) {
    const way = { worker: await leaf(stranger), metadata, options: { ...BYPASS, environment } }
    const { connection } = await connect(t, way)
    t.equal(connection.path, 'direct')
    t.match(connection.trace.steps, [{ event: 'opened', reason: 'certificate_not_checked' }, { event: 'bound' }])
  }
})

t.test('the control: a worker of a public authority is used directly, whatever bundles are held', async t => {
  const way = { worker: publicTls, metadata: { tls_trust_mode: 'public_ca' } as const }
  t.equal((await connect(t, way)).connection.path, 'direct')
  t.equal((await connect(t, { ...way, options: { trust: { bundles: await bundles() } } })).connection.path, 'direct')
})

t.test('no key of a configuration reaches an unsafe option', async t => {
  const config = JSON.parse(`{
    "environment": "smoke",
    "allow_insecure_direct_data_plane_tls_for_smoke": true,
    "allowInsecureDirectDataPlaneTlsForSmoke": true,
    "Symbol(allow_insecure_direct_data_plane_tls_for_smoke)": true,
    "@@allow_insecure_direct_data_plane_tls_for_smoke": true,
    "rejectUnauthorized": false,
    "trust": { "insecure": true, "rejectUnauthorized": false, "trustScope": "insecure_smoke" },
    "__proto__": { "allow_insecure_direct_data_plane_tls_for_smoke": true }
  }`) as Partial<RapClientOptions>
  const metadata = { tls_trust_mode: 'smoke_insecure', smoke_only: true, production_trusted: false } as const
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
  t.teardown(() => delete process.env.NODE_TLS_REJECT_UNAUTHORIZED)
  const { connection } = await connect(t, { worker: await leaf(stranger), metadata, options: config })
  t.equal(connection.path, 'gateway')
  t.notOk(Symbol.keyFor(allow_insecure_direct_data_plane_tls_for_smoke), 'it is not in the global registry')
  for (const environment of ['Smoke', 'SMOKE', 'staging', 'constructor', ['smoke'], null, 1]) {
    t.throws(
      () => createRapClient({ baseUrl: 'https://rap.example', environment: environment as never }),
      { code: 'ERR_OPTION_INVALID' },
      JSON.stringify(environment),
    )
  }
})

t.test('a bundle that is not held is fetched, followed and kept, and the worker behind it is used', async t => {
  const store = fileTrustStore(t.testdir())
  const asked: string[] = []
  const way = {
    worker: await leaf(b),
    metadata: { tls_ca_ref: 'rap-platform-ca:v3' },
    intercept: serving([v1, v2, v3], asked),
  }
  const own = await openTrustBundles({ first: FIRST, store })
  const { connection } = await connect(t, { ...way, options: { trust: { bundles: own } } })
  t.equal(connection.path, 'direct')
  t.same(asked, ['/v1/trust-bundles/1', '/v1/trust-bundles/2', '/v1/trust-bundles/3'])
  t.same(
    connection.trace.steps
      .filter(({ event }) => event === 'trust_bundle')
      .map(({ reason, bundle }) => [reason, bundle]),
    [
      ['fetched', 'rap-platform-ca:v1'],
      ['verified', 'rap-platform-ca:v1'],
      ['fetched', 'rap-platform-ca:v2'],
      ['stepped', 'rap-platform-ca:v2'],
      ['fetched', 'rap-platform-ca:v3'],
      ['stepped', 'rap-platform-ca:v3'],
    ],
  )
  const again = await connect(t, {
    ...way,
    options: { trust: { bundles: await openTrustBundles({ first: FIRST, store }) } },
  })
  t.equal(again.connection.path, 'direct')
  t.equal(asked.length, 3, 'the next run asks nobody')
})

t.test('an old and a new client reach old and new workers all through a rotation', async t => {
  const published: Published[] = [v1]
  const intercept = serving(published)
  const options = async () => ({ trust: { bundles: await bundles() } })
  const old = await options()
  const path = async (worker: Authority, ref: string, who: Partial<RapClientOptions>) =>
    (await connect(t, { worker: await leaf(worker), metadata: { tls_ca_ref: ref }, options: who, intercept }))
      .connection.path
  t.equal(await path(a, v1.ref, old), 'direct')
  published.push(v2)
  t.equal(await path(a, v2.ref, old), 'direct', 'staged')
  t.equal(await path(b, v2.ref, old), 'direct', 'activated')
  t.equal(await path(a, v2.ref, await options()), 'direct', 'a worker that has not renewed yet')
  published.push(v3)
  t.equal(await path(b, v3.ref, old), 'direct', 'retired')
  t.equal(await path(b, v3.ref, await options()), 'direct', 'a client that slept through it all')
  t.equal(await path(a, v3.ref, old), 'gateway', 'the older authority vouches for nobody any more')
  t.equal(await path(a, v1.ref, old), 'gateway', 'nor does naming the older bundle bring it back')
})

t.test('where the bundle cannot be had or does not follow, the gateway is taken, and the trace says why', async t => {
  const forged = await publish({ version: 2, roots: [stranger], signers: [stranger], previous: v1 })
  const trusted = { trust: { bundles: await bundles() } }
  const wanted = { tls_ca_ref: 'rap-platform-ca:v2' }
  const cases: [string, Omit<Way, 'worker'>, object][] = [
    ['no bundles at all', { metadata: {} }, { reason: 'trust_bundle_unavailable', bundle: 'rap-platform-ca:v1' }],
    [
      'no ref',
      { metadata: { tls_ca_ref: undefined as never }, options: trusted },
      { reason: 'trust_bundle_unavailable', bundle: undefined },
    ],
    [
      'another name',
      { metadata: { tls_ca_ref: 'corp:v1' }, options: trusted, intercept: serving([v1, v2]) },
      { reason: 'trust_bundle_unavailable', bundle: 'corp:v1' },
    ],
    [
      'a forged successor',
      { metadata: wanted, options: trusted, intercept: serving([v1, forged]) },
      { reason: 'trust_bundle_unverified', bundle: 'rap-platform-ca:v2', system_code: 'ERR_TRUST_BUNDLE_SIGNATURE' },
    ],
    [
      'a platform whose CA is not managed',
      { metadata: wanted, options: trusted, intercept: serving([v1, { ...v2, version: 2, signed: null as never }]) },
      { reason: 'trust_bundle_unavailable', bundle: 'rap-platform-ca:v2', system_code: 'ERR_RESPONSE_INVALID' },
    ],
    [
      'nothing there',
      { metadata: wanted, options: trusted, intercept: serving([]) },
      { reason: 'trust_bundle_unavailable', system_code: 'ERR_NOT_FOUND' },
    ],
    [
      'an answer that is no bundle',
      {
        metadata: wanted,
        options: trusted,
        intercept: ({ path }, response) => {
          if (!path.startsWith('/v1/trust')) return false
          response.writeHead(200, { 'content-type': 'text/html' }).end('<html>')
          return true
        },
      },
      { reason: 'trust_bundle_unavailable', system_code: 'ERR_RESPONSE_INVALID' },
    ],
    [
      'an answer that never comes',
      {
        metadata: wanted,
        options: { ...trusted, timeouts: { requestMs: 300 } },
        intercept: ({ path }) => path.startsWith('/v1/trust'),
      },
      { reason: 'trust_bundle_unavailable', system_code: 'ERR_TIMEOUT' },
    ],
    [
      'an overload',
      {
        metadata: wanted,
        options: trusted,
        intercept: ({ path }, response) => {
          if (!path.startsWith('/v1/trust')) return false
          problem(response, 503, 'ERR_OVERLOADED')
          return true
        },
      },
      { reason: 'trust_bundle_unavailable', system_code: 'ERR_OVERLOADED' },
    ],
  ]
  for (const [name, way, step] of cases) {
    // A certificate that every bundle here would vouch for, or the system: it is never even asked for.
    const { connection, worker } = await connect(t, { ...way, worker: await leaf(a) })
    t.equal(connection.path, 'gateway', name)
    t.match(
      connection.trace.steps.findLast(({ event }) => event === 'skipped'),
      step,
      name,
    )
    t.equal(worker.connections.length, 0, name)
  }
})

t.test('a store that is broken is told in the trace and believed in nothing', async t => {
  const directory = t.testdir({ 'bundle-rap-platform-ca.json': '{"documents":{"1":{"payload":"x"' })
  const own = await openTrustBundles({ first: FIRST, store: fileTrustStore(directory) })
  const { connection } = await connect(t, { worker: await leaf(a), options: { trust: { bundles: own } } })
  t.match(connection.trace.steps, [
    { event: 'trust_bundle', reason: 'store_ignored', bundle: 'rap-platform-ca:v1', detail: 'SyntaxError' },
    { event: 'trust_bundle', reason: 'held' },
    { event: 'opened' },
    { event: 'bound' },
  ])
})

t.test('a connection to a worker resumes no earlier TLS session: each certificate is looked at', async t => {
  const resumed: boolean[] = []
  const script = binds()
  const worker = await dataPlane(t, await leaf(a), (socket: WebSocket) => {
    const { _socket: tls } = socket as unknown as { _socket: { isSessionReused(): boolean } }
    resumed.push(tls.isSessionReused())
    script(socket)
  })
  const { origin } = await scriptedControlPlane(t, {
    candidates: [direct(worker.url, { tls_ca_ref: 'rap-platform-ca:v1' })],
  })
  const rap = createRapClient({ baseUrl: origin, trust: { bundles: await bundles() } })
  await rap.login({ email: 'a@example.com', password: 'correct horse' })
  const session = await rap.sessions.start({ resourceId: RESOURCE_ID })
  for (let round = 0; round < 4; round++) await (await session.connect()).close()
  t.same(resumed, [false, false, false, false])
})

t.test(
  'the API itself is reached by the certificates of the newest bundle, and by no resumed session of an older one',
  async t => {
    const published = [v1, v2]
    const intercept = serving(published)
    const tls = await serverCertificate(a)
    const { origin } = await scriptedControlPlane(t, { candidates: [], intercept }, tls)
    const own = await bundles()
    const rap = createRapClient({ baseUrl: origin, trust: { bundles: own } })
    t.same(await rap.refreshTrust(), ['rap-platform-ca:v2'])
    published.push(v3)
    t.same(await rap.refreshTrust(), ['rap-platform-ca:v3'])
    await t.rejects(rap.refreshTrust(), { code: 'ERR_TLS_UNTRUSTED' }, 'its certificate is of the retired authority')
  },
)

t.test('a newest bundle that does not follow is refused with its reason, and another name changes nothing', async t => {
  const forged = await publish({ version: 2, roots: [stranger], signers: [stranger], previous: v1 })
  const corp = await publish({ version: 1, roots: [stranger], name: 'corp' })
  const refresh = async (published: Published[]) => {
    const { origin } = await scriptedControlPlane(t, { candidates: [], intercept: serving(published) })
    return await createRapClient({ baseUrl: origin, trust: { bundles: await bundles() } }).refreshTrust()
  }
  await t.rejects(refresh([v1, forged]), { code: 'ERR_TRUST_BUNDLE', reason: 'trust_bundle_unverified' })
  t.same(await refresh([corp]), ['rap-platform-ca:v1'])
  const { origin } = await scriptedControlPlane(t, { candidates: [] })
  t.same(await createRapClient({ baseUrl: origin }).refreshTrust(), [])
})
