import { loadConfig } from '@rap/service-kit'
import t from 'tap'
import { checkConfig, configSchema, ownTlsFiles } from '../src/config.ts'

const BASE = {
  RAP_PLATFORM_CA_FILE: '/ca.pem',
  RAP_TLS_CERT_FILE: '/cert.pem',
  RAP_TLS_KEY_FILE: '/key.pem',
  CONTROL_PLANE_INTERNAL_URL: 'https://control-plane.rap.internal:8444',
  CONTROL_PLANE_JWKS_URL: 'https://rap.example/.well-known/jwks.json',
}
const load = (env: Record<string, string>) => loadConfig(configSchema, { ...BASE, ...env }, { check: checkConfig })

t.test('the platform certificate serves where there is no public one', async t => {
  t.equal(ownTlsFiles(load({})), undefined)
  const own = { GATEWAY_TLS_CERT_FILE: '/a.pem', GATEWAY_TLS_KEY_FILE: '/b.pem' }
  t.same(ownTlsFiles(load(own)), { certFile: '/a.pem', keyFile: '/b.pem' })
})

t.test('an environment that would weaken the gateway is refused', async t => {
  for (const [variable, env] of [
    ['GATEWAY_PLAINTEXT', { GATEWAY_PLAINTEXT: 'true', GATEWAY_HOST: '0.0.0.0' }],
    ['GATEWAY_PLAINTEXT', { GATEWAY_PLAINTEXT: 'true', GATEWAY_HOST: '127.0.0.1.evil.example' }],
    ['RAP_TLS_CERT_FILE', { RAP_TLS_CERT_FILE: '' }],
    ['RAP_PLATFORM_CA_FILE', { RAP_PLATFORM_CA_FILE: '' }],
    ['RAP_TLS_CERT_FILE', { RAP_IDENTITY_DIR: '/id', CONTROL_PLANE_INTERNAL_URL: 'https://cp.example' }],
    ['GATEWAY_TLS_KEY_FILE', { GATEWAY_TLS_CERT_FILE: '/a.pem' }],
    ['GATEWAY_PUBLIC_URL', { GATEWAY_PUBLIC_URL: 'ws://rap.example/data-plane/v1', APP_ENV: 'development' }],
    ['GATEWAY_PUBLIC_URL', { GATEWAY_PUBLIC_URL: 'ws://localhost/data-plane/v1' }],
    ['CONTROL_PLANE_JWKS_URL', { CONTROL_PLANE_JWKS_URL: 'http://rap.example/.well-known/jwks.json' }],
  ] as const) {
    t.throws(
      () => load(env as Record<string, string>),
      { code: 'ERR_CONFIG_INVALID', issues: [{ variable }] },
      variable,
    )
  }
  t.ok(load({ GATEWAY_PLAINTEXT: 'true', GATEWAY_HOST: '127.0.0.1' }))
})
