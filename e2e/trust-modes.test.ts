import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuthority } from '@rap/pki'
import { createLogger, InternalClient, internalAgent } from '@rap/service-kit'
import {
  freePort,
  PlatformApi,
  prepareDatabase,
  type RunningProcess,
  startPostgres,
  startProcess,
  startRedis,
  TRUST_DOMAIN,
  tempDir,
  writePlatformCertificate,
} from '@rap/testkit'
import { Redis } from 'ioredis'
import { decodeJwt } from 'jose'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { newClientKey } from './wire-client.ts'

// The control plane as processes of their own on one database: what POST /v1/sessions answers is looked at from outside, to
// the letter. The rows of the whole matrix are in services/control-plane/test/trust/modes.test.ts.

const MAIN = join(import.meta.dirname, '../services/control-plane/src/main.ts')
type Env = Readonly<Record<string, string | undefined>>

/** Processes that start at the same time. */
const AT_ONCE = 3
const WORKER_URL = 'wss://worker-1.example:8443/data-plane/v1'
const GATEWAY_URL = 'wss://rap.example/data-plane/v1'
const ADMIN = { email: 'admin@rap.example', password: randomBytes(15).toString('base64url') }

const TRANSPORTS = ['rdcleanpath_v1', 'binary_v1', 'json_v1']
const direct = (trust: Record<string, unknown>) => ({
  type: 'direct_worker_wss',
  url: WORKER_URL,
  priority: 10,
  metadata: { runtime_transport: 'json_v1', runtime_transports: TRANSPORTS, traffic_ready: true, ...trust },
})

/** What a client can be told, whole: anything more or less is a difference. */
const CANDIDATES: Readonly<Record<string, unknown>> = {
  SMOKE: direct({ tls_trust_mode: 'smoke_insecure', production_trusted: false, smoke_only: true }),
  PUBLIC: direct({ tls_trust_mode: 'public_ca', production_trusted: true, smoke_only: false }),
  PLATFORM: direct({
    tls_trust_mode: 'platform_ca',
    production_trusted: true,
    smoke_only: false,
    tls_ca_ref: 'rap-platform-ca:v1',
  }),
  NAMED: direct({
    tls_trust_mode: 'platform_ca',
    production_trusted: true,
    smoke_only: false,
    tls_ca_ref: 'corporate-ca:v7',
  }),
  // What an operator names is told in every mode.
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

/** APP_ENV and trust mode (- for none given), gateway, DATA_PLANE_DIRECT_WORKER_TLS_CA_REF: what is advertised, or EXIT_78. */
const MATRIX = `
development  smoke_insecure  gateway  -                : SMOKE GATEWAY
production   smoke_insecure  gateway  corporate-ca:v7  : GATEWAY
production   smoke_insecure  -        -                : EXIT_78
production   public_ca       gateway  corporate-ca:v7  : PUBLIC_NAMED GATEWAY
production   -               -        corporate-ca:v7  : NAMED
prod         smoke_insecure  gateway  -                : GATEWAY
prod         smoke_insecure  -        -                : EXIT_78
prod         platform_ca     -        -                : PLATFORM
-            smoke_insecure  -        -                : EXIT_78
`
const ROWS = MATRIX.trim().split('\n')

/** Environments that no control plane starts in, and the variables that its words are about. */
const REFUSED: readonly (readonly [string, readonly string[], Env])[] = [
  [
    'another spelling',
    ['APP_ENV', 'DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE'],
    { APP_ENV: 'Production', DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: 'PLATFORM_CA' },
  ],
  [
    'another name',
    ['APP_ENV', 'DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE'],
    { APP_ENV: 'staging', DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: 'insecure' },
  ],
  ['a gateway without TLS', ['DATA_PLANE_GATEWAY_URL'], { DATA_PLANE_GATEWAY_URL: 'ws://rap.example/data-plane/v1' }],
]

const dir = tempDir('rap-trust-modes-')
t.teardown(() => dir.remove())
const [postgresServer, redisServer] = await Promise.all([startPostgres(), startRedis()])
t.teardown(() => Promise.all([postgresServer.stop(), redisServer.stop()]))
const urls = await prepareDatabase(await postgresServer.createDatabase('rap'))
const authority = await createAuthority({ name: 'platform CA', days: 1, now: new Date() })
const caFile = join(dir.path, 'ca.pem')
writeFileSync(caFile, authority.certificatePem)
const own = await writePlatformCertificate(dir.path, authority, { kind: 'service', id: 'control-plane' })
const inDir = (name: string, content: string) => {
  const file = join(dir.path, name)
  writeFileSync(file, content, { mode: 0o600 })
  return file
}
const compileCache = join(dir.path, 'compiled')
mkdirSync(compileCache)
const common = {
  APP_ENV: 'test',
  RAP_TRUST_DOMAIN: TRUST_DOMAIN,
  RAP_PLATFORM_CA_FILE: caFile,
  RAP_TLS_CERT_FILE: own.certFile,
  RAP_TLS_KEY_FILE: own.keyFile,
  CONTROL_PLANE_HOST: '127.0.0.1',
  CONTROL_PLANE_PORT: '0',
  CONTROL_PLANE_INTERNAL_HOST: '127.0.0.1',
  CONTROL_PLANE_INTERNAL_PORT: '0',
  HEALTH_PORT: '0',
  CONTROL_PLANE_PUBLIC_ORIGINS: 'https://portal.example',
  DATABASE_URL: urls.controlPlane,
  DATABASE_POOL_SIZE: '4',
  REDIS_URL: redisServer.url,
  SECRET_RESOLVER_URL: `https://localhost:${await freePort()}`,
  CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: inDir('signing.key', `${randomBytes(32).toString('base64')}\n`),
  BOOTSTRAP_ADMIN_EMAIL: ADMIN.email,
  BOOTSTRAP_ADMIN_PASSWORD_FILE: inDir('admin-password', ADMIN.password),
  // The same program starts again and again.
  NODE_COMPILE_CACHE: compileCache,
}

interface Instance {
  readonly api: PlatformApi
  readonly internalUrl: string
  readonly process: RunningProcess
}

async function startInstance(env: Env): Promise<Instance> {
  const process_ = await startProcess({
    name: 'control-plane',
    command: process.execPath,
    args: [MAIN],
    env: { ...common, ...env },
    readyWhen: /service_ready/,
    readyTimeoutMs: 60_000,
  })
  const line =
    process_
      .log()
      .split('\n')
      .find(text => text.includes('service_ready')) ?? '{}'
  const { public_url: publicUrl, internal_url: internalUrl } = JSON.parse(line)
  return { api: new PlatformApi(publicUrl, authority.certificatePem), internalUrl, process: process_ }
}

async function stop({ api, process: running }: Instance): Promise<void> {
  api.close()
  await running.stop()
}

/** The control plane that the workers talk to; it lives as long as the test. */
const home = await startInstance({})
t.teardown(() => stop(home))
const token = await home.api.login(ADMIN.email, ADMIN.password)
const sql = postgres(urls.superuser, { max: 2, onnotice: () => {} })
t.teardown(() => sql.end())
const redis = new Redis(redisServer.url)
t.teardown(() => redis.disconnect())

/** A worker as far as a control plane can see it: a certificate, a heartbeat, and `ready` for every order. */
async function startWorker(pool: string, trafficReady: boolean): Promise<void> {
  const id = randomUUID()
  const { certFile, keyFile } = await writePlatformCertificate(dir.path, authority, { kind: 'worker', id })
  const agent = internalAgent({
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
    ca: authority.certificatePem,
    trustDomain: TRUST_DOMAIN,
    expectedIdentity: 'service/control-plane',
  })
  t.teardown(() => agent.destroy())
  const logger = createLogger({ service: 'test', level: 'silent' })
  const client = new InternalClient({ baseUrl: home.internalUrl, agent, logger })
  const call = (path: string, body: unknown) => client.request({ method: 'POST', path, body })
  await call('/internal/v1/workers/self', { name: pool, labels: { pool }, public_url: WORKER_URL, version: '1' })
  const heartbeat = {
    worker_id: id,
    // Whoever writes to Redis leads nobody anywhere.
    public_url: 'wss://attacker.example/data-plane/v1',
    load: { sessions: 0, max_sessions: 1000 },
    traffic_ready: trafficReady,
  }
  await redis.set(`rap:worker:${id}`, JSON.stringify(heartbeat))
  const stream = redis.duplicate()
  stream.on('error', () => {})
  let last = '0-0'
  let isOver = false
  const read = async () => {
    while (!isOver) {
      const answer = await stream.xread('BLOCK', 500, 'STREAMS', `rap:worker:${id}:assignments`, last).catch(() => null)
      for (const [entryId, fields] of answer?.[0]?.[1] ?? []) {
        last = entryId
        const { attachment_id: attachmentId } = decodeJwt<{ attachment_id: string }>(fields[1] ?? '')
        await call(`/internal/v1/attachments/${attachmentId}/state`, { state: 'ready' })
      }
    }
  }
  const reading = read()
  t.teardown(async () => {
    isOver = true
    stream.disconnect()
    await reading
  })
}

/** A desktop for workers of one pool, with a secret: production starts no session without. */
async function addDesktop(pool: string): Promise<string> {
  const id = randomUUID()
  const [organization] = await sql`select id from rap.organizations`
  const secretRef = `rap-secret://org/${organization?.id}/resources/${id}/rdp-primary`
  await sql`
    insert into rap.resources (id, organization_id, name, protocol, address, metadata, labels, secret_ref)
    values (${id}, ${organization?.id}, 'Desktop', 'rdp', 'desktop.example:3389', '{}', ${sql.json({ pool })}, ${secretRef})`
  return id
}

await startWorker('capable', true)
await startWorker('not-capable', false)
const [capable, notCapable] = [await addDesktop('capable'), await addDesktop('not-capable')]
const { jkt } = await newClientKey()

interface Started {
  readonly code?: string
  readonly session: { readonly id: string }
  readonly data_plane: { readonly candidates: unknown }
}

async function isAdvertised(t: Test, row: string, instance: Instance): Promise<void> {
  const expected = row.split(':')[1] === undefined ? [] : row.slice(row.lastIndexOf(' : ') + 3).split(' ')
  const candidates = expected.map(name => CANDIDATES[name])
  const { api } = instance
  const start = (resourceId: string) =>
    api.send<Started>('POST', '/v1/sessions', { body: { resource_id: resourceId, dpop_jkt: jkt }, token })
  const { status, body } = await start(capable)
  t.equal(status, 201, row)
  t.strictSame(body.data_plane?.candidates, candidates, row)
  const again = await api.send<Started>('POST', `/v1/sessions/${body.session?.id}/data-plane-token`, { token })
  t.strictSame(again.body.data_plane?.candidates, candidates, `${row}: with each new token`)
  const none = await start(notCapable)
  t.match(none, { status: 503, body: { code: 'ERR_SESSION_NO_WORKER' } }, `${row}: a worker that carries no data`)
  t.notOk(JSON.stringify([body, none.body]).includes('attacker.example'))
  await api.send('POST', `/v1/sessions/${body.session?.id}/terminate`, { token })
}

async function endsWith78(t: Test, name: string, env: Env, variables: readonly string[]): Promise<void> {
  const refused = await startProcess({
    name: 'control-plane',
    command: process.execPath,
    args: [MAIN],
    env: { ...common, ...env },
  })
  t.same(await refused.exited, { code: 78, signal: null }, name)
  for (const variable of variables) t.match(refused.log(), new RegExp(`^control-plane: ${variable}: `, 'm'), name)
  t.notMatch(refused.log(), /service_ready/, name)
}

function envOf(row: string): Env {
  const [appEnv, trustMode, gateway, caRef] = row.trim().split(/\s+/)
  return {
    APP_ENV: appEnv === '-' ? undefined : appEnv,
    DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: trustMode === '-' ? undefined : trustMode,
    DATA_PLANE_GATEWAY_URL: gateway === 'gateway' ? GATEWAY_URL : undefined,
    DATA_PLANE_DIRECT_WORKER_TLS_CA_REF: caRef === '-' ? undefined : caRef,
  }
}

/** Runs all of them, a few at once. */
async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items]
  const next = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next))
}

t.test('POST /v1/sessions of a process advertises what its environment says, to the letter', async t => {
  await inTurns(ROWS, async row => {
    const name = row.replaceAll(/\s+/g, ' ')
    if (row.endsWith('EXIT_78')) return await endsWith78(t, name, envOf(row), ['DATA_PLANE_GATEWAY_URL'])
    const instance = await startInstance(envOf(row))
    try {
      await isAdvertised(t, name, instance)
    } finally {
      await stop(instance)
    }
  })
})

t.test('an environment that leaves in doubt what is trusted starts nothing', async t => {
  await inTurns(REFUSED, async ([name, variables, env]) => {
    await endsWith78(t, name, env, variables)
  })
})
