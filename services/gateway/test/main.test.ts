import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunningProcess, startProcess, startRedis, tempDir } from '@rap/testkit'
import t from 'tap'
import { authority, certificate, connect, keySetServer, signingSet } from './helper.ts'

const MAIN = join(import.meta.dirname, '../src/main.ts')

t.test('the process starts from its environment, tells its addresses, becomes ready and ends in order', async t => {
  const dir = tempDir('rap-gateway-main-')
  t.teardown(() => dir.remove())
  const ca = await authority()
  const tls = await certificate(ca)
  const file = (name: string, content: string) => {
    const path = join(dir.path, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }
  const keySet = await keySetServer(t, tls, await signingSet())
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
      GATEWAY_TLS_CERT_FILE: file('cert.pem', tls.certificatePem),
      GATEWAY_TLS_KEY_FILE: file('key.pem', tls.keyPem),
      RAP_PLATFORM_CA_FILE: file('ca.pem', ca.certificatePem),
      REDIS_URL: redis.url,
      CONTROL_PLANE_JWKS_URL: keySet.url,
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
  for (const variable of ['GATEWAY_PORT', 'REDIS_URL', 'CONTROL_PLANE_JWKS_URL', 'RAP_PLATFORM_CA_FILE']) {
    t.match(gateway.log(), new RegExp(`^gateway: ${variable}: `, 'm'), variable)
  }
})
