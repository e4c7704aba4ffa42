import t from 'tap'
import { type AcceptOptions, acceptCandidates, type Candidate, type CandidateMetadata } from '../src/index.ts'

type Trust = Partial<Pick<CandidateMetadata, 'tls_trust_mode' | 'production_trusted' | 'smoke_only' | 'tls_ca_ref'>>

const WORKER_URL = 'wss://worker-1.example:8443/data-plane/v1'
const GATEWAY_URL = 'wss://rap.example/data-plane/v1'

function direct(metadata: Partial<CandidateMetadata> = {}): Candidate {
  return {
    type: 'direct_worker_wss',
    url: WORKER_URL,
    priority: 10,
    metadata: { runtime_transport: 'json_v1', runtime_transports: ['binary_v1'], traffic_ready: true, ...metadata },
  }
}

function gateway(metadata: Partial<CandidateMetadata> = {}): Candidate {
  return { ...direct(metadata), type: 'backend_gateway', url: GATEWAY_URL, priority: 50 }
}

function decisionOn(candidate: Candidate, options: Partial<AcceptOptions>) {
  const [decision] = acceptCandidates([candidate], {
    environment: 'production',
    runtimeTransport: 'binary_v1',
    allowInsecureDirectDataPlaneTlsForSmoke: false,
    ...options,
  })
  return { reason: decision?.reason, accepted: decision?.accepted, insecure: decision?.allowInsecureTls }
}

/** `environment` of a client: true where it is production. */
const ENVIRONMENTS: readonly [string, boolean][] = [
  ['production', true],
  ['prod', true],
  ['development', false],
  ['smoke', false],
  ['test', false],
  ['Production', true],
  ['PROD', true],
  ['Smoke', true],
  ['smoke ', true],
  ['staging', true],
  ['constructor', true],
  ['', true],
]

const TRUE = true
const FALSE = false
const ABSENT = undefined
const SMOKE = 'smoke_only_in_production'
const NONE = 'no_trust_metadata'
const UNTRUSTED = 'not_production_trusted'
const OK = 'accepted'

/**
 * Every trust metadata that a direct candidate can show: tls_trust_mode, production_trusted, smoke_only; what production makes
 * of it; and whether the smoke bypass reaches it outside production, where each of them is used with its certificate checked.
 */
const TRUST: readonly [
  CandidateMetadata['tls_trust_mode'],
  boolean | undefined,
  boolean | undefined,
  string,
  boolean,
][] = [
  [ABSENT, ABSENT, ABSENT, NONE, false],
  [ABSENT, ABSENT, FALSE, NONE, false],
  [ABSENT, ABSENT, TRUE, SMOKE, true],
  [ABSENT, FALSE, ABSENT, NONE, false],
  [ABSENT, FALSE, FALSE, NONE, false],
  [ABSENT, FALSE, TRUE, SMOKE, true],
  [ABSENT, TRUE, ABSENT, NONE, false],
  [ABSENT, TRUE, FALSE, NONE, false],
  [ABSENT, TRUE, TRUE, SMOKE, false],
  ['smoke_insecure', ABSENT, ABSENT, SMOKE, false],
  ['smoke_insecure', ABSENT, FALSE, SMOKE, false],
  ['smoke_insecure', ABSENT, TRUE, SMOKE, true],
  ['smoke_insecure', FALSE, ABSENT, SMOKE, false],
  ['smoke_insecure', FALSE, FALSE, SMOKE, false],
  ['smoke_insecure', FALSE, TRUE, SMOKE, true],
  ['smoke_insecure', TRUE, ABSENT, SMOKE, false],
  ['smoke_insecure', TRUE, FALSE, SMOKE, false],
  ['smoke_insecure', TRUE, TRUE, SMOKE, false],
  ['public_ca', ABSENT, ABSENT, NONE, false],
  ['public_ca', ABSENT, FALSE, NONE, false],
  ['public_ca', ABSENT, TRUE, SMOKE, false],
  ['public_ca', FALSE, ABSENT, NONE, false],
  ['public_ca', FALSE, FALSE, UNTRUSTED, false],
  ['public_ca', FALSE, TRUE, SMOKE, false],
  ['public_ca', TRUE, ABSENT, NONE, false],
  ['public_ca', TRUE, FALSE, OK, false],
  ['public_ca', TRUE, TRUE, SMOKE, false],
  ['platform_ca', ABSENT, ABSENT, NONE, false],
  ['platform_ca', ABSENT, FALSE, NONE, false],
  ['platform_ca', ABSENT, TRUE, SMOKE, false],
  ['platform_ca', FALSE, ABSENT, NONE, false],
  ['platform_ca', FALSE, FALSE, UNTRUSTED, false],
  ['platform_ca', FALSE, TRUE, SMOKE, false],
  ['platform_ca', TRUE, ABSENT, NONE, false],
  ['platform_ca', TRUE, FALSE, OK, false],
  ['platform_ca', TRUE, TRUE, SMOKE, false],
]

t.test('what a client decides in every environment, over all trust metadata, with and without the bypass', async t => {
  t.equal(new Set(TRUST.map(([mode, trusted, smoke]) => `${mode} ${trusted} ${smoke}`)).size, 4 * 3 * 3, 'whole')
  for (const [mode, trusted, smoke, inProduction, bypassable] of TRUST) {
    const trust: Trust = {
      ...(mode !== undefined && { tls_trust_mode: mode }),
      ...(trusted !== undefined && { production_trusted: trusted }),
      ...(smoke !== undefined && { smoke_only: smoke }),
    }
    for (const [environment, isProduction] of ENVIRONMENTS) {
      for (const bypass of [true, false]) {
        // A bundle's name, wherever it stands, makes nothing more trusted.
        for (const ref of [{}, { tls_ca_ref: 'rap-platform-ca:v1' }]) {
          const options = { environment, allowInsecureDirectDataPlaneTlsForSmoke: bypass }
          const reason = isProduction ? inProduction : 'accepted'
          const expected = { reason, accepted: reason === 'accepted', insecure: !isProduction && bypass && bypassable }
          const name = `${JSON.stringify({ ...trust, ...ref })} in "${environment}"${bypass ? ' with the bypass' : ''}`
          t.strictSame(decisionOn(direct({ ...trust, ...ref }), options), expected, name)
        }
      }
    }
  }
})

t.test('a gateway needs no trust metadata, and none that it shows brings it a bypass', async t => {
  for (const trust of [
    {},
    { smoke_only: true, production_trusted: false, tls_trust_mode: 'smoke_insecure' } as const,
  ]) {
    for (const [environment] of ENVIRONMENTS) {
      for (const allowInsecureDirectDataPlaneTlsForSmoke of [true, false]) {
        const decided = decisionOn(gateway(trust), { environment, allowInsecureDirectDataPlaneTlsForSmoke })
        t.strictSame(decided, { reason: 'accepted', accepted: true, insecure: false }, environment)
      }
    }
  }
})

t.test('a bypass that is anything but true is none', async t => {
  const smoke = direct({ smoke_only: true, production_trusted: false, tls_trust_mode: 'smoke_insecure' })
  for (const value of ['true', 1, {}, [true], null]) {
    const options = { environment: 'smoke', allowInsecureDirectDataPlaneTlsForSmoke: value as boolean }
    t.match(decisionOn(smoke, options), { accepted: true, insecure: false }, JSON.stringify(value))
  }
})

t.test('what cannot carry the transport, is not ready, or is not encrypted is passed over', async t => {
  const decide = (candidate: Candidate) => decisionOn(candidate, { environment: 'development' }).reason
  t.equal(decide(direct({ traffic_ready: false })), 'not_traffic_ready')
  t.equal(decide(direct({ runtime_transports: ['json_v1'] })), 'transport_not_offered')
  for (const url of [
    'ws://worker-1.example/data-plane/v1',
    'ws://localhost/data-plane/v1',
    'https://worker-1.example/data-plane/v1',
    'wss://user:word@worker-1.example/data-plane/v1',
    'wss://worker-1.example/data-plane/v1#part',
    'wss://',
  ]) {
    t.equal(decide({ ...direct(), url }), 'insecure_url', url)
  }
  t.equal(decide({ ...gateway(), url: 'ws://rap.example/data-plane/v1' }), 'insecure_url')
  t.equal(decide({ ...gateway(), url: 'ws://localhost.example/data-plane/v1' }), 'insecure_url')
  for (const host of ['localhost', '127.0.0.1', '[::1]']) {
    t.equal(decide({ ...gateway(), url: `ws://${host}:8080/data-plane/v1` }), 'accepted', host)
  }
})

t.test(
  'candidates are tried by priority, and those that are passed over stay in the list with their reason',
  async t => {
    const decisions = acceptCandidates([gateway(), direct()], {
      environment: 'production',
      runtimeTransport: 'binary_v1',
      allowInsecureDirectDataPlaneTlsForSmoke: false,
    })
    t.same(
      decisions.map(({ candidate, reason }) => [candidate.type, reason]),
      [
        ['direct_worker_wss', 'no_trust_metadata'],
        ['backend_gateway', 'accepted'],
      ],
    )
  },
)
