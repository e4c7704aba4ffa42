import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spiffeId } from '@rap/pki'
import { type RunningProcess, startProcess, tempDir, waitFor } from '@rap/testkit'
import t from 'tap'
import { ControlPlaneStandIn } from './control-plane.ts'
import {
  authority,
  bindWith,
  certificate,
  connect,
  keySetServer,
  signingSet,
  TRUST_DOMAIN,
  tokenFor,
} from './helper.ts'

const MAIN = join(import.meta.dirname, '../src/main.ts')

t.test('the process starts from its environment, tells its addresses, becomes ready and ends in order', async t => {
  const dir = tempDir('rap-gateway-main-')
  t.teardown(() => dir.remove())
  const ca = await authority()
  const tls = await certificate(ca, { uris: [spiffeId(TRUST_DOMAIN, 'service', 'gateway')] })
  const file = (name: string, content: string) => {
    const path = join(dir.path, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }
  const keySet = await keySetServer(t, tls, await signingSet())
  const controlPlane = await ControlPlaneStandIn.start(t, ca)
  const gateway: RunningProcess = await startProcess({
    name: 'gateway',
    command: process.execPath,
    args: [MAIN],
    env: {
      APP_ENV: 'production',
      GATEWAY_HOST: '127.0.0.1',
      GATEWAY_PORT: '0',
      HEALTH_PORT: '0',
      GATEWAY_DRAIN_SECONDS: '0',
      RAP_TLS_CERT_FILE: file('cert.pem', tls.certificatePem),
      RAP_TLS_KEY_FILE: file('key.pem', tls.keyPem),
      RAP_PLATFORM_CA_FILE: file('ca.pem', ca.certificatePem),
      CONTROL_PLANE_JWKS_URL: keySet.url,
      CONTROL_PLANE_INTERNAL_URL: controlPlane.url,
    },
    readyWhen: /"service_ready"/,
    readyTimeoutMs: 60_000,
  })
  t.teardown(() => gateway.stop())
  const line =
    gateway
      .log()
      .split('\n')
      .find(text => text.includes('service_ready')) ?? '{}'
  const { public_url: publicUrl, health_url: healthUrl } = JSON.parse(line)
  t.match(publicUrl, /^wss:\/\/127\.0\.0\.1:\d+\/data-plane\/v1$/)
  await waitFor(async () => (await fetch(`${healthUrl}/readyz`)).ok, { what: 'readiness' })
  t.match(await (await fetch(`${healthUrl}/metrics`)).text(), /rap_gateway_connections/)

  const forger = await connect(t, publicUrl, { ca: ca.certificatePem })
  forger.socket.send(bindWith(await tokenFor(await signingSet(), randomUUID())))
  t.same(await forger.closed, { code: 4401, reason: 'ERR_BIND_REFUSED' })
  await waitFor(() => controlPlane.reports.length === 1, { what: 'report to the control plane' })
  t.match(controlPlane.reports[0], {
    peer: spiffeId(TRUST_DOMAIN, 'service', 'gateway'),
    path: '/internal/v1/audit-events',
    body: { event: 'data_plane_bind_refused', code: 'ERR_BIND_TOKEN_INVALID' },
  })

  for (let number = 0; number < 19; number++) {
    const next = await connect(t, publicUrl, { ca: ca.certificatePem })
    next.socket.send(bindWith('a.b.c'))
    await next.closed
  }
  const client = await connect(t, publicUrl, { ca: ca.certificatePem })
  gateway.kill('SIGTERM')
  t.same(await client.closed, { code: 4004, reason: 'ERR_GATEWAY_DRAINING' })
  t.same(await gateway.exited, { code: 0, signal: null })
  const counts = controlPlane.reports.map(
    ({ body }) => (body.details as { suppressed_count?: number }).suppressed_count,
  )
  t.equal(
    counts.reduce<number>((sum, count = 0) => sum + 1 + count, 0),
    20,
    'what was counted is reported at the end',
  )
  t.ok(counts.length < 20)
})

t.test('a wrong environment is told in one line for each variable, with exit code 78', async t => {
  const gateway = await startProcess({
    name: 'gateway',
    command: process.execPath,
    args: [MAIN],
    env: { GATEWAY_PORT: 'x' },
  })
  t.teardown(() => gateway.stop())
  t.same(await gateway.exited, { code: 78, signal: null })
  for (const variable of ['GATEWAY_PORT', 'CONTROL_PLANE_INTERNAL_URL', 'CONTROL_PLANE_JWKS_URL']) {
    t.match(gateway.log(), new RegExp(`^gateway: ${variable}: `, 'm'), variable)
  }
})
