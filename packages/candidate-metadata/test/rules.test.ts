import t from 'tap'
import { acceptCandidates, buildCandidates, type Candidate, TRUST_MODES } from '../src/index.ts'

const worker = { url: 'wss://worker-1.example:8443/data-plane/v1', trafficReady: true }
const gatewayUrl = 'wss://rap.example/data-plane/v1'
const ENVIRONMENTS = ['production', 'prod', 'development', 'smoke'] as const

t.test('the advertised candidates hold for every environment, trust mode, readiness and gateway', async t => {
  for (const appEnv of ENVIRONMENTS) {
    for (const trustMode of [...TRUST_MODES, undefined]) {
      for (const trafficReady of [true, false]) {
        for (const gateway of [gatewayUrl, undefined]) {
          const name = `${appEnv} ${trustMode} ready=${trafficReady} gateway=${gateway !== undefined}`
          const made = buildCandidates({
            appEnv,
            trustMode,
            caRef: 'rap-platform-ca:v1',
            worker: { ...worker, trafficReady },
            gatewayUrl: gateway,
          })
          const production = appEnv === 'production' || appEnv === 'prod'
          const direct = made.find(candidate => candidate.type === 'direct_worker_wss')
          const expected = trustMode !== undefined && !(production && trustMode === 'smoke_insecure')
          t.equal(direct !== undefined, expected, `${name}: direct`)
          t.equal(
            made.some(candidate => candidate.type === 'backend_gateway'),
            gateway !== undefined,
            `${name}: gateway`,
          )
          if (direct === undefined) continue
          t.equal('tls_trust_mode' in direct.metadata, trafficReady, `${name}: trust metadata only with data`)
          if (trafficReady) {
            t.equal(direct.metadata.smoke_only, trustMode === 'smoke_insecure', `${name}: smoke_only`)
            t.equal(direct.metadata.production_trusted, trustMode !== 'smoke_insecure', `${name}: production_trusted`)
          }
        }
      }
    }
  }
})

t.test('a platform_ca candidate looks as the contract says, to the letter', async t => {
  const [direct] = buildCandidates({
    appEnv: 'production',
    trustMode: 'platform_ca',
    caRef: 'rap-platform-ca:v1',
    worker,
    gatewayUrl: undefined,
  })
  t.same(direct, {
    type: 'direct_worker_wss',
    url: worker.url,
    priority: 10,
    metadata: {
      runtime_transport: 'json_v1',
      runtime_transports: ['rdcleanpath_v1', 'binary_v1', 'json_v1'],
      traffic_ready: true,
      tls_trust_mode: 'platform_ca',
      production_trusted: true,
      smoke_only: false,
      tls_ca_ref: 'rap-platform-ca:v1',
    },
  })
})

const direct = (metadata: Partial<Candidate['metadata']>): Candidate => ({
  type: 'direct_worker_wss',
  url: worker.url,
  priority: 10,
  metadata: { runtime_transport: 'json_v1', runtime_transports: ['binary_v1'], traffic_ready: true, ...metadata },
})
const gateway: Candidate = { ...direct({}), type: 'backend_gateway', url: gatewayUrl, priority: 50 }
const accept = (candidate: Candidate, environment: string, bypass = false) =>
  acceptCandidates([candidate], {
    environment,
    runtimeTransport: 'binary_v1',
    allowInsecureDirectDataPlaneTlsForSmoke: bypass,
  })[0]

t.test('a production client takes only production-trusted direct candidates and grants no bypass', async t => {
  const smoke = direct({ tls_trust_mode: 'smoke_insecure', smoke_only: true, production_trusted: false })
  for (const environment of ['production', 'prod']) {
    for (const bypass of [true, false]) {
      t.match(accept(smoke, environment, bypass), {
        accepted: false,
        reason: 'smoke_only_in_production',
        allowInsecureTls: false,
      })
      t.match(
        accept(direct({}), environment, bypass),
        { accepted: false, allowInsecureTls: false },
        'no trust metadata',
      )
      t.match(accept(direct({ smoke_only: false }), environment, bypass), {
        accepted: false,
        reason: 'not_production_trusted',
      })
      t.match(accept(direct({ smoke_only: false, production_trusted: true }), environment, bypass), {
        accepted: true,
        allowInsecureTls: false,
      })
      t.match(accept(gateway, environment, bypass), { accepted: true, allowInsecureTls: false })
    }
  }
})

t.test('the smoke bypass is for smoke-only direct candidates outside production', async t => {
  const smoke = direct({ smoke_only: true, production_trusted: false })
  t.equal(accept(smoke, 'smoke', true)?.allowInsecureTls, true)
  t.equal(accept(smoke, 'smoke', false)?.allowInsecureTls, false)
  t.equal(accept(direct({ smoke_only: false, production_trusted: true }), 'smoke', true)?.allowInsecureTls, false)
  t.equal(accept(gateway, 'development', true)?.allowInsecureTls, false)
})

t.test('what cannot carry the transport, is not ready, or is not encrypted is passed over', async t => {
  t.equal(accept(direct({ traffic_ready: false }), 'development')?.reason, 'not_traffic_ready')
  t.equal(accept(direct({ runtime_transports: ['json_v1'] }), 'development')?.reason, 'transport_not_offered')
  t.equal(accept({ ...direct({}), url: 'ws://worker-1.example/data-plane/v1' }, 'development')?.reason, 'insecure_url')
  t.equal(accept({ ...gateway, url: 'ws://rap.example/data-plane/v1' }, 'development')?.reason, 'insecure_url')
  t.equal(accept({ ...gateway, url: 'ws://localhost:8080/data-plane/v1' }, 'development')?.accepted, true)
})

t.test('candidates are tried by priority', async t => {
  const decisions = acceptCandidates([gateway, direct({})], {
    environment: 'development',
    runtimeTransport: 'binary_v1',
    allowInsecureDirectDataPlaneTlsForSmoke: false,
  })
  t.same(
    decisions.map(decision => decision.candidate.type),
    ['direct_worker_wss', 'backend_gateway'],
  )
})
