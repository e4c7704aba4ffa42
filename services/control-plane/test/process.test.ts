import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { createLogger, InternalClient, internalAgent } from '@rap/service-kit'
import { findSecret, newCanary, startPlatform, startProcess, TRUST_DOMAIN, waitFor } from '@rap/testkit'
import t from 'tap'
import { newJkt } from './helper.ts'

/** The control plane and the secret-resolver as real processes, with real certificates, Postgres and Redis. */
const platform = await startPlatform({ workers: 0, gateway: 'none' })
t.teardown(() => platform.stop())
const { api } = platform
const MAIN = join(import.meta.dirname, '../src/main.ts')
const logger = createLogger({ service: 'test', level: 'silent' })

interface PeerOptions {
  readonly kind: 'service' | 'worker'
  readonly id: string
  readonly trustDomain?: string
  readonly foreign?: boolean
}

/** A client of the internal API with a certificate for this peer. */
async function peer({ kind, id, trustDomain = TRUST_DOMAIN, foreign = false }: PeerOptions) {
  const authority = foreign
    ? await createAuthority({ name: 'another CA', days: 1, now: new Date() })
    : platform.authority
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: id,
    uris: [spiffeId(trustDomain, kind, id)],
    usages: ['client'],
    now: new Date(),
  })
  const agent = internalAgent({
    cert: certificatePem,
    key: keyPem,
    ca: platform.authority.certificatePem,
    trustDomain: TRUST_DOMAIN,
    expectedIdentity: 'service/control-plane',
  })
  t.teardown(() => agent.close())
  const client = new InternalClient({ baseUrl: platform.internalUrl, agent, logger })
  const announce = () =>
    client.request({
      method: 'POST',
      path: '/internal/v1/workers/self',
      body: { labels: {}, public_url: 'wss://worker.example:8443/data-plane/v1' },
    })
  return { client, announce, certificatePem }
}

t.test('a secret goes sealed through the control plane into the resolver, and is found nowhere', async t => {
  const canary = newCanary()
  const resource = await platform.addTarget({
    name: 'Canary',
    host: 'desktop.example',
    port: 3389,
    credential: { username: `user-${canary}`, password: canary },
  })
  const metadata = await api.call<Record<string, unknown>>('GET', `/v1/resources/${resource.id}/secret`)
  t.match(metadata, {
    version: 1,
    secret_ref: `rap-secret://org/${platform.organizationId}/resources/${resource.id}/rdp-primary`,
  })
  const read = await api.call<Record<string, unknown>>('GET', `/v1/resources/${resource.id}`)
  t.equal(read.secret_ref, metadata.secret_ref)

  const rotated = await api.writeSecret(resource, { username: 'u', password: newCanary() })
  t.match(rotated, { version: 2 })
  const conflict = await api.send('PUT', `/v1/resources/${resource.id}/secret`, {
    body: { sealed: 'a.b.c.d.e', expected_version: 1 },
  })
  t.equal(conflict.status, 422)

  const audit = await api.call<{ items: { event: string }[] }>('GET', `/v1/audit-events?resource_id=${resource.id}`)
  const events = audit.items.map(item => item.event)
  t.equal(events.filter(event => event === 'resource_secret_rotated').length, 2)

  t.equal((await api.send('DELETE', `/v1/resources/${resource.id}`)).status, 204)
  t.equal((await api.send('GET', `/v1/resources/${resource.id}/secret`)).status, 404)
  for (const [place, text] of [
    ['database', await platform.dumpDatabase()],
    ['logs', platform.logs()],
    ['audit', JSON.stringify(audit)],
  ] as const) {
    t.same(findSecret(text, canary), [], place)
  }
})

t.test(
  'a platform certificate of a worker announces that worker, and its thumbprint is taken from the connection',
  async t => {
    const id = randomUUID()
    const worker = await peer({ kind: 'worker', id })
    const answer = (await worker.announce()) as Record<string, string>
    t.match(answer, { worker_id: id, state: 'active', gateway_url: null })
    const workers = await api.call<{ items: { id: string; alive: boolean }[] }>('GET', '/v1/workers')
    t.match(
      workers.items.find(item => item.id === id),
      { alive: false, state: 'active' },
    )
  },
)

t.test('a certificate that is not one of a worker of this platform gets nothing', async t => {
  const id = randomUUID()
  const service = await peer({ kind: 'service', id: 'gateway' })
  await t.rejects(service.announce(), { code: 'ERR_MTLS_IDENTITY' }, 'a service')
  const stranger = await peer({ kind: 'worker', id, trustDomain: 'other.internal' })
  await t.rejects(stranger.announce(), { code: 'ERR_MTLS_IDENTITY' }, 'another trust domain')
  const foreign = await peer({ kind: 'worker', id, foreign: true })
  await t.rejects(
    foreign.announce(),
    { code: 'ERR_UPSTREAM_UNAVAILABLE' },
    'another CA does not get past the handshake',
  )
  const name = await peer({ kind: 'worker', id: 'not-a-uuid' })
  await t.rejects(name.announce(), { code: 'ERR_MTLS_IDENTITY' }, 'a worker without a UUID')
  const path = '/v1/audit-events?organization_id=platform&event=internal_access_refused&limit=50'
  const refused = await waitFor(
    async () => {
      const { items } = await api.call<{ items: { actor: { id: string }; details: { reason?: string } }[] }>(
        'GET',
        path,
      )
      return items.length === 4 ? items : undefined
    },
    { what: 'all four in the audit' },
  )
  t.same(refused.map(({ actor, details }) => details.reason ?? actor.id).sort(), [
    'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    'gateway',
    'not-a-uuid',
    'unidentified',
  ])
})

t.test('the internal API is not on the public listener, and the other way round', async t => {
  const answer = await api.send('POST', '/internal/v1/workers/self', { body: {} })
  t.equal(answer.status, 404)
  const worker = await peer({ kind: 'worker', id: randomUUID() })
  await t.rejects(worker.client.request({ method: 'GET', path: '/v1/me' }), { code: 'ERR_NOT_FOUND' })
})

t.test('a session without a worker is refused with a reason and a remedy', async t => {
  const resource = await platform.addTarget({
    name: 'Lonely',
    host: 'desktop.example',
    port: 3389,
    credential: { username: 'u', password: newCanary() },
  })
  const { status, body } = await api.send('POST', '/v1/sessions', {
    body: { resource_id: resource.id, dpop_jkt: await newJkt() },
  })
  t.equal(status, 503)
  t.match(body, { code: 'ERR_SESSION_NO_WORKER', reason: 'none_alive' })
})

t.test('the trust bundle is the CA of the platform and nothing else of its file', async t => {
  const bundle = await api.call<{ certificates: string }>('GET', '/v1/trust-bundle')
  t.equal(bundle.certificates.trim(), readFileSync(platform.caFile, 'utf8').trim())
  t.notMatch(bundle.certificates, 'PRIVATE KEY')
})

t.test('a resolver that is away is a typed 503, and nothing has changed', async t => {
  const resource = await platform.addTarget({
    name: 'Away',
    host: 'desktop.example',
    port: 3389,
    credential: { username: 'u', password: newCanary() },
  })
  await platform.secretResolver.crash()
  const { status, body } = await api.send<{ code: string }>('DELETE', `/v1/resources/${resource.id}`)
  t.equal(status, 503)
  t.equal(body.code, 'ERR_SECRET_RESOLVER_UNAVAILABLE')
  t.equal((await api.send('GET', `/v1/resources/${resource.id}`)).status, 200)
  await platform.secretResolver.restart()
  t.equal((await api.send('DELETE', `/v1/resources/${resource.id}`)).status, 204)
})

t.test('a restart keeps everything, and a signal ends the process cleanly', async t => {
  await platform.controlPlane.restart()
  t.equal((await api.send('GET', '/v1/me')).status, 200, 'tokens are good over a restart')
  const exit = await platform.controlPlane.stop()
  t.match(exit, { code: 0 })
  await platform.controlPlane.restart()
})

t.test('a wrong environment is told by variable, without its value, and the process ends with 78', async t => {
  const password = newCanary()
  const wrong = await startProcess({
    name: 'control-plane',
    command: process.execPath,
    args: [MAIN],
    env: {
      DATABASE_URL: `mysql://u:${password}@h/d`,
      CONTROL_PLANE_PORT: '99999',
      DATA_PLANE_GATEWAY_URL: 'wss://h/x',
    },
  })
  const { code } = await wrong.exited
  t.equal(code, 78)
  const log = wrong.log()
  for (const variable of ['DATABASE_URL', 'REDIS_URL', 'CONTROL_PLANE_PORT', 'SECRET_RESOLVER_URL']) {
    t.match(log, new RegExp(`control-plane: ${variable}: `))
  }
  t.notMatch(log, password)
})
