import t from 'tap'
import { buildCandidates, type Candidate, type TlsTrustMode } from '../src/index.ts'

const WORKER_URL = 'wss://worker-1.example:8443/data-plane/v1'
const GATEWAY_URL = 'wss://rap.example/data-plane/v1'
const CA_REF = 'rap-platform-ca:v1'

const BARE: Candidate = {
  type: 'direct_worker_wss',
  url: WORKER_URL,
  priority: 10,
  metadata: {
    runtime_transport: 'json_v1',
    runtime_transports: ['rdcleanpath_v1', 'binary_v1', 'json_v1'],
    traffic_ready: false,
  },
}
const direct = (trust: Partial<Candidate['metadata']>): Candidate => ({
  ...BARE,
  metadata: { ...BARE.metadata, traffic_ready: true, ...trust },
})

/** Every candidate that a backend can name, to the letter. */
const CANDIDATES: Readonly<Record<string, Candidate>> = {
  BARE,
  SMOKE: direct({
    tls_trust_mode: 'smoke_insecure',
    production_trusted: false,
    smoke_only: true,
    tls_ca_ref: 'rap-platform-ca:v1',
  }),
  PUBLIC: direct({
    tls_trust_mode: 'public_ca',
    production_trusted: true,
    smoke_only: false,
    tls_ca_ref: 'rap-platform-ca:v1',
  }),
  PLATFORM: direct({
    tls_trust_mode: 'platform_ca',
    production_trusted: true,
    smoke_only: false,
    tls_ca_ref: 'rap-platform-ca:v1',
  }),
  GATEWAY: {
    type: 'backend_gateway',
    url: GATEWAY_URL,
    priority: 50,
    metadata: {
      runtime_transport: 'json_v1',
      runtime_transports: ['rdcleanpath_v1', 'binary_v1', 'json_v1'],
      traffic_ready: true,
    },
  },
}

/** APP_ENV, trust mode, whether the worker can carry data, whether a gateway is configured: what is advertised. */
const MATRIX = `
development  unset           data     gateway  : GATEWAY
development  unset           data     -        :
development  unset           no_data  gateway  : GATEWAY
development  unset           no_data  -        :
development  smoke_insecure  data     gateway  : SMOKE GATEWAY
development  smoke_insecure  data     -        : SMOKE
development  smoke_insecure  no_data  gateway  : BARE GATEWAY
development  smoke_insecure  no_data  -        : BARE
development  public_ca       data     gateway  : PUBLIC GATEWAY
development  public_ca       data     -        : PUBLIC
development  public_ca       no_data  gateway  : BARE GATEWAY
development  public_ca       no_data  -        : BARE
development  platform_ca     data     gateway  : PLATFORM GATEWAY
development  platform_ca     data     -        : PLATFORM
development  platform_ca     no_data  gateway  : BARE GATEWAY
development  platform_ca     no_data  -        : BARE
smoke        unset           data     gateway  : GATEWAY
smoke        unset           data     -        :
smoke        unset           no_data  gateway  : GATEWAY
smoke        unset           no_data  -        :
smoke        smoke_insecure  data     gateway  : SMOKE GATEWAY
smoke        smoke_insecure  data     -        : SMOKE
smoke        smoke_insecure  no_data  gateway  : BARE GATEWAY
smoke        smoke_insecure  no_data  -        : BARE
smoke        public_ca       data     gateway  : PUBLIC GATEWAY
smoke        public_ca       data     -        : PUBLIC
smoke        public_ca       no_data  gateway  : BARE GATEWAY
smoke        public_ca       no_data  -        : BARE
smoke        platform_ca     data     gateway  : PLATFORM GATEWAY
smoke        platform_ca     data     -        : PLATFORM
smoke        platform_ca     no_data  gateway  : BARE GATEWAY
smoke        platform_ca     no_data  -        : BARE
test         unset           data     gateway  : GATEWAY
test         unset           data     -        :
test         unset           no_data  gateway  : GATEWAY
test         unset           no_data  -        :
test         smoke_insecure  data     gateway  : SMOKE GATEWAY
test         smoke_insecure  data     -        : SMOKE
test         smoke_insecure  no_data  gateway  : BARE GATEWAY
test         smoke_insecure  no_data  -        : BARE
test         public_ca       data     gateway  : PUBLIC GATEWAY
test         public_ca       data     -        : PUBLIC
test         public_ca       no_data  gateway  : BARE GATEWAY
test         public_ca       no_data  -        : BARE
test         platform_ca     data     gateway  : PLATFORM GATEWAY
test         platform_ca     data     -        : PLATFORM
test         platform_ca     no_data  gateway  : BARE GATEWAY
test         platform_ca     no_data  -        : BARE
production   unset           data     gateway  : GATEWAY
production   unset           data     -        :
production   unset           no_data  gateway  : GATEWAY
production   unset           no_data  -        :
production   smoke_insecure  data     gateway  : GATEWAY
production   smoke_insecure  data     -        :
production   smoke_insecure  no_data  gateway  : GATEWAY
production   smoke_insecure  no_data  -        :
production   public_ca       data     gateway  : PUBLIC GATEWAY
production   public_ca       data     -        : PUBLIC
production   public_ca       no_data  gateway  : BARE GATEWAY
production   public_ca       no_data  -        : BARE
production   platform_ca     data     gateway  : PLATFORM GATEWAY
production   platform_ca     data     -        : PLATFORM
production   platform_ca     no_data  gateway  : BARE GATEWAY
production   platform_ca     no_data  -        : BARE
prod         unset           data     gateway  : GATEWAY
prod         unset           data     -        :
prod         unset           no_data  gateway  : GATEWAY
prod         unset           no_data  -        :
prod         smoke_insecure  data     gateway  : GATEWAY
prod         smoke_insecure  data     -        :
prod         smoke_insecure  no_data  gateway  : GATEWAY
prod         smoke_insecure  no_data  -        :
prod         public_ca       data     gateway  : PUBLIC GATEWAY
prod         public_ca       data     -        : PUBLIC
prod         public_ca       no_data  gateway  : BARE GATEWAY
prod         public_ca       no_data  -        : BARE
prod         platform_ca     data     gateway  : PLATFORM GATEWAY
prod         platform_ca     data     -        : PLATFORM
prod         platform_ca     no_data  gateway  : BARE GATEWAY
prod         platform_ca     no_data  -        : BARE
`
const ROWS = MATRIX.trim().split('\n')

function advertised(appEnv: string, mode: string, options: { data: boolean; gateway: boolean; caRef?: string }) {
  return buildCandidates({
    appEnv,
    trustMode: mode === 'unset' ? undefined : (mode as TlsTrustMode),
    caRef: options.caRef,
    worker: { url: WORKER_URL, trafficReady: options.data },
    gatewayUrl: options.gateway ? GATEWAY_URL : undefined,
  })
}

t.test('what is advertised in every environment, trust mode, readiness and with and without a gateway', async t => {
  t.equal(new Set(ROWS.map(row => row.split(':')[0])).size, 5 * 4 * 2 * 2, 'the matrix is whole')
  for (const row of ROWS) {
    const [place = '', names = ''] = row.split(':')
    const [appEnv = '', mode = '', data, gateway] = place.trim().split(/\s+/)
    const expected = names.split(' ').flatMap(name => (name === '' ? [] : [CANDIDATES[name]]))
    const made = advertised(appEnv, mode, { data: data === 'data', gateway: gateway === 'gateway', caRef: CA_REF })
    t.strictSame(made, expected, row)
  }
})

t.test('an environment that is not listed, or is spelled otherwise, is production', async t => {
  for (const appEnv of ['Production', 'PROD', 'staging', 'Smoke', 'development ', 'toString', '']) {
    t.strictSame(advertised(appEnv, 'smoke_insecure', { data: true, gateway: true }), [CANDIDATES.GATEWAY], appEnv)
  }
})

t.test('without a worker no direct candidate is named, whatever the mode', async t => {
  const options = {
    appEnv: 'production',
    trustMode: 'platform_ca',
    worker: undefined,
    gatewayUrl: GATEWAY_URL,
  } as const
  t.strictSame(buildCandidates(options), [CANDIDATES.GATEWAY])
})

t.test('a trust bundle is named where one is configured, and otherwise left out', async t => {
  for (const [name, mode] of [
    ['SMOKE', 'smoke_insecure'],
    ['PUBLIC', 'public_ca'],
    ['PLATFORM', 'platform_ca'],
  ] as const) {
    const { tls_ca_ref, ...without } = CANDIDATES[name]?.metadata ?? {}
    t.equal(tls_ca_ref, CA_REF)
    const [made] = advertised('development', mode, { data: true, gateway: false })
    t.strictSame(made?.metadata, without, mode)
  }
})

t.test('the metadata of a platform_ca worker is the example of the requirements, byte for byte', async t => {
  const [made] = advertised('production', 'platform_ca', { data: true, gateway: true, caRef: CA_REF })
  const { runtime_transports, ...rest } = made?.metadata ?? {}
  t.same(runtime_transports, ['rdcleanpath_v1', 'binary_v1', 'json_v1'])
  t.equal(
    JSON.stringify(rest, null, 2),
    `{
  "runtime_transport": "json_v1",
  "traffic_ready": true,
  "tls_trust_mode": "platform_ca",
  "production_trusted": true,
  "smoke_only": false,
  "tls_ca_ref": "rap-platform-ca:v1"
}`,
  )
})
