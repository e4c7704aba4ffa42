import { Type } from '@sinclair/typebox'
import t from 'tap'
import { ConfigError, describeConfig, Env, isProduction, loadConfig, Secret, secretVariables } from '../src/index.ts'

const schema = Type.Object({
  APP_ENV: Env.appEnv(),
  LOG_LEVEL: Env.logLevel(),
  PORT: Env.port({ description: 'Port', default: 8443 }),
  BASE_URL: Env.url({ description: 'Base' }),
  DATABASE_URL: Env.url({ description: 'Database', protocols: ['postgres:', 'postgresql:'], secret: true }),
  KEY_FILE: Env.path({ description: 'Key' }),
  VERBOSE: Env.boolean({ description: 'Verbose', default: false }),
  POOL_SIZE: Env.integer({ description: 'Pool', min: 1, max: 200, default: 10, unit: 'connections' }),
  MASTER_KEY: Type.Optional(Env.secret({ description: 'Key', maxLength: 64 })),
  ORIGINS: Env.list({ description: 'Origins', itemPattern: '^https://', default: [], maxItems: 3 }),
  MODE: Env.oneOf(['fast', 'safe'], { description: 'Mode', default: 'safe' }),
  PIN: Type.Optional(Type.String({ pattern: '^[0-9]{4}$', description: 'Pin' })),
})

const minimal = {
  BASE_URL: 'https://rap.example',
  DATABASE_URL: 'postgres://rap:hunter2@db/rap',
  KEY_FILE: '/etc/rap/key',
}

function issuesOf(env: Record<string, string | undefined>): Record<string, string> {
  try {
    loadConfig(schema, env)
  } catch (error) {
    if (error instanceof ConfigError) return Object.fromEntries(error.issues.map(i => [i.variable, i.message]))
    throw error
  }
  return {}
}

t.test('a right environment becomes typed values, with safe defaults for what is absent or empty', async t => {
  const config = loadConfig(schema, { ...minimal, PORT: '', ORIGINS: 'https://a, https://b ,', VERBOSE: '1' })
  t.match(config, {
    APP_ENV: 'production',
    LOG_LEVEL: 'info',
    PORT: 8443,
    BASE_URL: 'https://rap.example',
    VERBOSE: true,
    POOL_SIZE: 10,
    ORIGINS: ['https://a', 'https://b'],
    MODE: 'safe',
  })
  t.notOk('MASTER_KEY' in config)
})

t.test('a secret variable becomes a Secret that does not print', async t => {
  const config = loadConfig(schema, { ...minimal, MASTER_KEY: 'c2VjcmV0' })
  t.ok(config.MASTER_KEY instanceof Secret)
  t.equal(config.MASTER_KEY?.expose().toString(), 'c2VjcmV0')
  t.notMatch(JSON.stringify(config), /c2VjcmV0/)
  t.same(secretVariables(schema), ['DATABASE_URL', 'MASTER_KEY'])
})

t.test('a config is frozen through and through, and defaults are not shared', async t => {
  const config = loadConfig(schema, minimal)
  t.throws(() => Object.assign(config, { PORT: 1 }), TypeError)
  t.throws(() => config.ORIGINS.push('https://evil'), TypeError)
  t.not(loadConfig(schema, minimal).ORIGINS, config.ORIGINS)
})

t.test('every wrong variable gets its own line, and all of them are reported at once', async t => {
  const issues = issuesOf({
    APP_ENV: 'staging',
    PORT: '65536',
    BASE_URL: 'http://rap.example',
    POOL_SIZE: '0',
    VERBOSE: 'maybe',
    ORIGINS: 'https://a,http://b',
    MODE: 'FAST',
    PIN: '12345',
  })
  t.match(issues, {
    APP_ENV: /one of development, smoke, test, production, prod, got "staging"/,
    PORT: /whole number from 0 to 65535, got "65536"/,
    BASE_URL: /starts with https:\/\/, got/,
    DATABASE_URL: /^is required: Database$/,
    KEY_FILE: /^is required/,
    POOL_SIZE: /from 1 to 200/,
    VERBOSE: /true or false/,
    ORIGINS: /each matching \^https/,
    MODE: /one of fast, safe/,
    PIN: /must match/,
  })
})

t.test('numbers in other spellings are refused', async t => {
  for (const text of ['1e3', '0x10', ' 80', '80 ', '8.0', '+80', 'NaN', '99999999999999999999', '-0x1']) {
    t.ok(issuesOf({ ...minimal, PORT: text }).PORT, JSON.stringify(text))
  }
  t.same(issuesOf({ ...minimal, PORT: '0' }), {})
})

t.test('no error repeats the value of a secret variable, and no error repeats a long value whole', async t => {
  const issues = issuesOf({
    ...minimal,
    DATABASE_URL: 'mysql://rap:hunter2@db/rap',
    MASTER_KEY: 'hunter2'.repeat(20),
    MODE: 'x'.repeat(500),
  })
  t.same(Object.keys(issues).sort(), ['DATABASE_URL', 'MASTER_KEY', 'MODE'])
  t.notMatch(JSON.stringify(issues), /hunter2/)
  t.ok((issues.MODE?.length ?? 0) < 120)
})

t.test('rules between variables are asked once every variable is right by itself', async t => {
  let calls = 0
  const check = (config: { PORT: number }, problem: (variable: string, message: string) => void) => {
    calls += 1
    if (config.PORT === 1) problem('PORT', 'is taken')
  }
  t.throws(() => loadConfig(schema, { ...minimal, PORT: 'x' }, { check }), ConfigError)
  t.equal(calls, 0)
  t.throws(() => loadConfig(schema, { ...minimal, PORT: '1' }, { check }), {
    code: 'ERR_CONFIG_INVALID',
    issues: [{ variable: 'PORT', message: 'is taken' }],
  })
})

t.test('an unknown variable of ours is a warning without its value, and foreign ones are not our business', async t => {
  const warnings: string[] = []
  const env = { ...minimal, RAP_TYPO: 'hunter2', PATH: '/bin' }
  loadConfig(schema, env, { onWarning: warning => warnings.push(warning) })
  t.equal(warnings.length, 1)
  t.match(warnings[0], /^RAP_TYPO: /)
  t.notMatch(warnings[0], /hunter2/)
})

t.test('production has two spellings', async t => {
  t.ok(isProduction('production'))
  t.ok(isProduction('prod'))
  t.notOk(isProduction('smoke'))
})

t.test('a description has one row for each variable', async t => {
  const rows = describeConfig(schema)
  t.same(
    rows.map(row => row.variable),
    Object.keys(schema.properties),
  )
  t.match(
    rows.find(row => row.variable === 'POOL_SIZE'),
    {
      required: false,
      default: '10',
      rule: 'a whole number from 1 to 200 (connections)',
    },
  )
  t.match(
    rows.find(row => row.variable === 'DATABASE_URL'),
    { required: true, default: undefined, secret: true },
  )
  t.match(
    rows.find(row => row.variable === 'MASTER_KEY'),
    { required: false, secret: true },
  )
})
