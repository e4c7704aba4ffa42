import { ConfigError } from '@rap/service-kit'
import t, { type Test } from 'tap'
import { configOf, GATEWAY_URL, newJkt, startStand } from '../helper.ts'

const stand = await startStand(t)
const home = await stand.build()
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const [capable, idle] = [{ pool: 'capable' }, { pool: 'idle' }]
const worker = (await home.worker({ labels: capable })).start()
const other = await home.worker({ labels: idle })
await other.heartbeat({ traffic_ready: false })
const resourceId = await stand.resource(organizationId, { labels: capable })
const idleResourceId = await stand.resource(organizationId, { labels: idle })
const jkt = await newJkt()

const TRANSPORTS = ['rdcleanpath_v1', 'binary_v1', 'json_v1']
const direct = (trust: Record<string, unknown>) => ({
  type: 'direct_worker_wss',
  url: worker.url,
  priority: 10,
  metadata: { runtime_transport: 'json_v1', runtime_transports: TRANSPORTS, traffic_ready: true, ...trust },
})
const platform = (ref: string) =>
  direct({ tls_trust_mode: 'platform_ca', production_trusted: true, smoke_only: false, tls_ca_ref: ref })

/** What a client can be told, whole: anything more or less is a difference. */
const CANDIDATES: Readonly<Record<string, unknown>> = {
  SMOKE: direct({ tls_trust_mode: 'smoke_insecure', production_trusted: false, smoke_only: true }),
  PUBLIC: direct({ tls_trust_mode: 'public_ca', production_trusted: true, smoke_only: false }),
  PLATFORM: platform('rap-platform-ca:v1'),
  NAMED: platform('corporate-ca:v7'),
  // What an operator names is told in every mode.
  SMOKE_NAMED: direct({
    tls_trust_mode: 'smoke_insecure',
    production_trusted: false,
    smoke_only: true,
    tls_ca_ref: 'corporate-ca:v7',
  }),
  PUBLIC_NAMED: direct({
    tls_trust_mode: 'public_ca',
    production_trusted: true,
    smoke_only: false,
    tls_ca_ref: 'corporate-ca:v7',
  }),
  GATEWAY: {
    type: 'backend_gateway',
    url: GATEWAY_URL,
    priority: 50,
    metadata: { runtime_transport: 'json_v1', runtime_transports: TRANSPORTS, traffic_ready: true },
  },
}

/**
 * APP_ENV, DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE (- where it is not given), gateway, DATA_PLANE_DIRECT_WORKER_TLS_CA_REF: what
 * `POST /v1/sessions` answers, or that no control plane starts.
 */
const MATRIX = `
development  smoke_insecure  gateway  -                : SMOKE GATEWAY
development  smoke_insecure  -        -                : SMOKE
development  public_ca       gateway  -                : PUBLIC GATEWAY
development  public_ca       -        -                : PUBLIC
development  platform_ca     gateway  -                : PLATFORM GATEWAY
development  platform_ca     -        -                : PLATFORM
smoke        smoke_insecure  gateway  -                : SMOKE GATEWAY
smoke        smoke_insecure  -        -                : SMOKE
smoke        public_ca       gateway  -                : PUBLIC GATEWAY
smoke        public_ca       -        -                : PUBLIC
smoke        platform_ca     gateway  -                : PLATFORM GATEWAY
smoke        platform_ca     -        -                : PLATFORM
test         smoke_insecure  gateway  -                : SMOKE GATEWAY
test         smoke_insecure  -        -                : SMOKE
test         public_ca       gateway  -                : PUBLIC GATEWAY
test         public_ca       -        -                : PUBLIC
test         platform_ca     gateway  -                : PLATFORM GATEWAY
test         platform_ca     -        -                : PLATFORM
production   smoke_insecure  gateway  -                : GATEWAY
production   smoke_insecure  -        -                : no start
production   public_ca       gateway  -                : PUBLIC GATEWAY
production   public_ca       -        -                : PUBLIC
production   platform_ca     gateway  -                : PLATFORM GATEWAY
production   platform_ca     -        -                : PLATFORM
prod         smoke_insecure  gateway  -                : GATEWAY
prod         smoke_insecure  -        -                : no start
prod         public_ca       gateway  -                : PUBLIC GATEWAY
prod         public_ca       -        -                : PUBLIC
prod         platform_ca     gateway  -                : PLATFORM GATEWAY
prod         platform_ca     -        -                : PLATFORM
production   -               gateway  -                : PLATFORM GATEWAY
development  -               -        -                : PLATFORM
production   smoke_insecure  gateway  corporate-ca:v7  : GATEWAY
production   smoke_insecure  -        corporate-ca:v7  : no start
development  smoke_insecure  -        corporate-ca:v7  : SMOKE_NAMED
production   public_ca       gateway  corporate-ca:v7  : PUBLIC_NAMED GATEWAY
production   platform_ca     gateway  corporate-ca:v7  : NAMED GATEWAY
`

interface Row {
  readonly name: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly expected: string
}

const ROWS: readonly Row[] = MATRIX.trim()
  .split('\n')
  .map(line => {
    const [given = '', expected = ''] = line.split(' : ')
    const [appEnv, mode, gateway, caRef] = given.trim().split(/\s+/)
    const unless = (text: string | undefined) => (text === '-' ? undefined : text)
    return {
      name: line.replaceAll(/\s+/g, ' '),
      expected,
      env: {
        APP_ENV: appEnv,
        DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: unless(mode),
        DATA_PLANE_GATEWAY_URL: gateway === 'gateway' ? GATEWAY_URL : undefined,
        DATA_PLANE_DIRECT_WORKER_TLS_CA_REF: unless(caRef),
      },
    }
  })

async function answers(t: Test, { name, env, expected }: Row): Promise<void> {
  const caRef = env.DATA_PLANE_DIRECT_WORKER_TLS_CA_REF
  const instance = await stand.build(env, { platformCa: stand.platformCa(stand.sql, { caRef }) })
  try {
    const candidates = expected.split(' ').map(candidate => CANDIDATES[candidate])
    const start = (resource: string) =>
      instance.call(operator, 'POST', '/v1/sessions', { body: { resource_id: resource, dpop_jkt: jkt } })
    const { status, body } = await start(resourceId)
    t.equal(status, 201, name)
    t.strictSame(body.data_plane?.candidates, candidates, name)
    const path = `/v1/sessions/${body.session?.id}`
    const again = await instance.call(operator, 'POST', `${path}/data-plane-token`)
    t.strictSame(again.body.data_plane?.candidates, candidates, `${name}, with each new token`)
    t.match(await start(idleResourceId), { status: 503, body: { code: 'ERR_SESSION_NO_WORKER' } }, `${name}, no data`)
    await instance.call(operator, 'POST', `${path}/terminate`)
  } finally {
    await instance.stop()
  }
}

t.test('every environment, mode, gateway and bundle is advertised as the matrix says, to the letter', async t => {
  for (const row of ROWS) {
    if (row.expected === 'no start') t.throws(() => configOf(row.env), ConfigError, row.name)
    else await answers(t, row)
  }
})
