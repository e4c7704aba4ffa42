import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { type Authority, identityOfCertificate, spiffeId } from '@rap/pki'
import { type RunningProcess, startProcess, startRedis, tempDir, waitFor } from '@rap/testkit'
import t from 'tap'
import {
  authority,
  bindWith,
  certificate,
  closeServer,
  connect,
  keySetServer,
  listen,
  signingSet,
  type Teardown,
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
  const controlPlane = await internalListener(t, ca)
  const redis = await startRedis()
  t.teardown(() => redis.stop())
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
      REDIS_URL: redis.url,
      CONTROL_PLANE_JWKS_URL: keySet.url,
      CONTROL_PLANE_INTERNAL_URL: controlPlane.url,
    },
    readyWhen: /"service_ready"/,
  })
  t.teardown(() => gateway.stop())
  const line =
    gateway
      .log()
      .split('\n')
      .find(text => text.includes('service_ready')) ?? '{}'
  const { public_url: publicUrl, health_url: healthUrl } = JSON.parse(line)
  t.match(publicUrl, /^wss:\/\/127\.0\.0\.1:\d+\/data-plane\/v1$/)
  t.match(await (await fetch(`${healthUrl}/readyz`)).json(), { status: 'ok' })
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

  const client = await connect(t, publicUrl, { ca: ca.certificatePem })
  gateway.kill('SIGTERM')
  t.same(await client.closed, { code: 4004, reason: 'ERR_GATEWAY_DRAINING' })
  t.same(await gateway.exited, { code: 0, signal: null })
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
  for (const variable of ['GATEWAY_PORT', 'REDIS_URL', 'CONTROL_PLANE_JWKS_URL']) {
    t.match(gateway.log(), new RegExp(`^gateway: ${variable}: `, 'm'), variable)
  }
})

/** An internal listener with the control plane's identity, which takes platform certificates only. */
async function internalListener(t: Teardown, ca: Authority) {
  const tls = await certificate(ca, { uris: [spiffeId(TRUST_DOMAIN, 'service', 'control-plane')] })
  const reports: { peer: string | undefined; path: string | undefined; body: unknown }[] = []
  const options = { cert: tls.certificatePem, key: tls.keyPem, ca: ca.certificatePem, requestCert: true }
  const server = createServer({ ...options, rejectUnauthorized: true }, async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const peer = (request.socket as TLSSocket).getPeerX509Certificate()
    reports.push({
      peer: peer === undefined ? undefined : identityOfCertificate(peer),
      path: request.url,
      body: JSON.parse(text),
    })
    response.writeHead(204).end()
  })
  const port = await listen(server)
  t.teardown(() => closeServer(server))
  return { url: `https://127.0.0.1:${port}`, reports }
}
