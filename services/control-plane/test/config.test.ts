import { type ConfigError, describeConfig, loadConfig } from '@rap/service-kit'
import t from 'tap'
import { checkConfig, configSchema } from '../src/config.ts'
import { configOf } from './helper.ts'

t.test('an environment that says nothing of its kind is production', async t => {
  t.equal(configOf({ APP_ENV: undefined }).APP_ENV, 'production')
})

t.test('every variable has a description, and those with credentials are marked', async t => {
  const rows = describeConfig(configSchema)
  t.ok(rows.every(row => row.description.length > 10))
  t.same(
    rows.filter(row => row.secret).map(row => row.variable),
    ['DATABASE_URL', 'REDIS_URL'],
  )
})

t.test('rules between variables are told by variable', async t => {
  const cases: [Record<string, string | undefined>, string][] = [
    [{ CONTROL_PLANE_TLS_CERT_FILE: '/x' }, 'CONTROL_PLANE_TLS_KEY_FILE'],
    [{ RAP_TLS_KEY_FILE: undefined }, 'RAP_TLS_CERT_FILE'],
    [{ CONTROL_PLANE_NAMES: 'rap.example' }, 'CONTROL_PLANE_NAMES'],
    [{ BOOTSTRAP_ADMIN_EMAIL: 'a@example.com' }, 'BOOTSTRAP_ADMIN_PASSWORD_FILE'],
    [{ CONTROL_PLANE_PUBLIC_ORIGINS: 'https://Portal.example' }, 'CONTROL_PLANE_PUBLIC_ORIGINS'],
    [{ CONTROL_PLANE_PUBLIC_ORIGINS: 'https://portal.example/path' }, 'CONTROL_PLANE_PUBLIC_ORIGINS'],
    [{ DATA_PLANE_GATEWAY_URL: 'wss://gateway.example/other' }, 'DATA_PLANE_GATEWAY_URL'],
    [{ DATA_PLANE_GATEWAY_URL: 'wss://gateway.example/data-plane/v1?x=1' }, 'DATA_PLANE_GATEWAY_URL'],
    [{ DATA_PLANE_GATEWAY_URL: 'ws://gateway.example/data-plane/v1' }, 'DATA_PLANE_GATEWAY_URL'],
    [
      {
        APP_ENV: 'prod',
        DATA_PLANE_GATEWAY_URL: undefined,
        DATA_PLANE_DIRECT_WORKER_TLS_TRUST_MODE: 'smoke_insecure',
      },
      'DATA_PLANE_GATEWAY_URL',
    ],
  ]
  for (const [env, variable] of cases) {
    t.throws(() => configOf(env), { code: 'ERR_CONFIG_INVALID', issues: [{ variable }] }, JSON.stringify(env))
  }
  t.doesNotThrow(() => configOf({ DATA_PLANE_GATEWAY_URL: 'ws://localhost:8080/data-plane/v1' }))
})

t.test('what is required is asked for', async t => {
  const required = {
    DATABASE_URL: 'postgres://localhost/rap',
    REDIS_URL: 'redis://localhost',
    SECRET_RESOLVER_URL: 'https://r',
  }
  const missing = (env: Record<string, string>) => {
    try {
      loadConfig(configSchema, env, { check: checkConfig })
    } catch (error) {
      return (error as ConfigError).issues.map(issue => issue.variable)
    }
    return []
  }
  t.same(missing({}), Object.keys(required))
  const more = ['CONTROL_PLANE_NAMES', 'CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE']
  t.same(missing(required), more, 'a certificate from somewhere, and a key that wraps others')
  t.same(missing({ ...required, [more[0] as string]: 'rap.example', [more[1] as string]: '/key' }), [])
})
