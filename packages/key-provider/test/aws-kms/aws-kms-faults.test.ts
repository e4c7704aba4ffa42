import { randomBytes } from 'node:crypto'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { inspect } from 'node:util'
import { findSecret, type KmsFault, type KmsKeyState, newCanary, startKms, waitFor } from '@rap/testkit'
import t from 'tap'
import { keyOf } from '../support/key-of.ts'
import { generate, kmsServer, openSource } from './kms.ts'

const CONTEXT = Buffer.from('context')
const kms = await kmsServer(t)
const refuse = (type: string): KmsFault => ({ kind: 'refuse', type })

t.test('each fault of the service has its code and its name', async t => {
  const table: [KmsFault, string, string | RegExp | undefined][] = [
    [refuse('ThrottlingException'), 'ERR_KEY_UNAVAILABLE', 'ThrottlingException'],
    [refuse('KMSInternalException'), 'ERR_KEY_UNAVAILABLE', 'KMSInternalException'],
    [refuse('DependencyTimeoutException'), 'ERR_KEY_UNAVAILABLE', 'DependencyTimeoutException'],
    [refuse('KeyUnavailableException'), 'ERR_KEY_UNAVAILABLE', 'KeyUnavailableException'],
    [refuse('ServiceUnavailable'), 'ERR_KEY_UNAVAILABLE', 'ServiceUnavailable'],
    [refuse('AccessDeniedException'), 'ERR_KEY_FORBIDDEN', 'AccessDeniedException'],
    [refuse('ExpiredTokenException'), 'ERR_KEY_FORBIDDEN', 'ExpiredTokenException'],
    [refuse('UnrecognizedClientException'), 'ERR_KEY_FORBIDDEN', 'UnrecognizedClientException'],
    [refuse('NotFoundException'), 'ERR_KEY_NOT_FOUND', 'NotFoundException'],
    [refuse('InvalidKeyUsageException'), 'ERR_KEY_NOT_FOUND', 'InvalidKeyUsageException'],
    [refuse('DisabledException'), 'ERR_KEY_FORBIDDEN', 'DisabledException'],
    [refuse('KMSInvalidStateException'), 'ERR_KEY_FORBIDDEN', 'KMSInvalidStateException'],
    [refuse('InvalidCiphertextException'), 'ERR_KEY_UNWRAP_FAILED', undefined],
    [refuse('IncorrectKeyException'), 'ERR_KEY_UNWRAP_FAILED', undefined],
    [refuse('NobodyKnowsThisException'), 'ERR_KEY_UNAVAILABLE', 'NobodyKnowsThisException'],
    [{ kind: 'cut' }, 'ERR_KEY_UNAVAILABLE', 'ECONNRESET'],
    [{ kind: 'cut-body' }, 'ERR_KEY_UNAVAILABLE', 'ECONNRESET'],
    [{ kind: 'endless' }, 'ERR_KEY_UNAVAILABLE', 'AnswerTooLong'],
    [{ kind: 'text', text: 'not JSON' }, 'ERR_KEY_UNAVAILABLE', 'SyntaxError'],
    [{ kind: 'text', text: '' }, 'ERR_KEY_UNAVAILABLE', /./],
    [{ kind: 'text', text: '{}' }, 'ERR_KEY_UNAVAILABLE', 'unexpected_answer'],
    [{ kind: 'redirect', location: 'http://127.0.0.1:1/' }, 'ERR_KEY_UNAVAILABLE', /./],
  ]
  const key = keyOf(await openSource(t, kms))
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  for (const [fault, code, reason] of table) {
    kms.fault(fault, { operations: ['Decrypt', 'Encrypt', 'GenerateDataKey'] })
    const error = await key.unwrap(wrapped, CONTEXT).catch(error => error)
    t.match(error, { name: 'KeyProviderError', code, cause: undefined }, JSON.stringify(fault))
    t.match(error.facts.reason, reason, `${reason}`)
    kms.clearFaults()
  }
  t.equal((await key.unwrap(wrapped, CONTEXT)).length, 32, 'and then it goes on')
})

t.test('a fault that passes is not seen by the caller', async t => {
  const key = keyOf(await openSource(t, kms))
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  for (const fault of [refuse('ThrottlingException'), refuse('KMSInternalException'), { kind: 'cut' }] as KmsFault[]) {
    kms.fault(fault, { times: 2 })
    t.equal((await key.unwrap(wrapped, CONTEXT)).length, 32, JSON.stringify(fault))
    kms.clearFaults()
  }
})

t.test('a service that does not answer costs the configured time, and is tried again within it', async t => {
  const key = keyOf(await openSource(t, kms, { timeout_ms: 600 }))
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  kms.fault({ kind: 'hang' })
  const before = kms.requests.length
  const started = performance.now()
  const facts = { reason: 'timeout' }
  await t.rejects(key.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNAVAILABLE', facts })
  t.ok(performance.now() - started < 10_000)
  await waitFor(() => kms.requests.length - before >= 2, { what: 'the second try' })
  kms.clearFaults()
})

t.test('a key in another state than Enabled is refused by its state, at the first use and later', async t => {
  const date = new Date('2027-01-02T03:04:05Z')
  const table: [KmsKeyState, string, Record<string, string>][] = [
    ['Disabled', 'ERR_KEY_FORBIDDEN', { reason: 'Disabled' }],
    ['PendingDeletion', 'ERR_KEY_FORBIDDEN', { reason: 'PendingDeletion', deletion_date: date.toISOString() }],
    ['PendingImport', 'ERR_KEY_FORBIDDEN', { reason: 'PendingImport' }],
    ['Unavailable', 'ERR_KEY_UNAVAILABLE', { reason: 'Unavailable' }],
    ['Creating', 'ERR_KEY_UNAVAILABLE', { reason: 'Creating' }],
  ]
  for (const [state, code, facts] of table) {
    const arn = kms.createKey()
    const used = keyOf(await openSource(t, kms, { key_arn: arn }))
    const wrapped = await used.wrap(randomBytes(32), CONTEXT)
    kms.setState(arn, state, state === 'PendingDeletion' ? date : undefined)
    const fresh = keyOf(await openSource(t, kms, { key_arn: arn }))
    for (const key of [used, fresh]) {
      await t.rejects(key.unwrap(wrapped, CONTEXT), { code, facts }, state)
      t.match(await key.health(), new RegExp(state))
    }
    kms.setState(arn, 'Enabled')
    for (const key of [used, fresh]) t.equal((await key.unwrap(wrapped, CONTEXT)).length, 32, 'enabled again')
  }
})

t.test(
  'a key that is not a symmetric one for encryption is refused at its first use, and nothing is sent to it',
  async t => {
    for (const [spec, usage] of [
      ['RSA_4096', 'ENCRYPT_DECRYPT'],
      ['HMAC_256', 'GENERATE_VERIFY_MAC'],
      ['ECC_NIST_P256', 'SIGN_VERIFY'],
    ] as const) {
      const key = keyOf(await openSource(t, kms, { key_arn: kms.createKey({ spec, usage }) }))
      const before = kms.requests.length
      const facts = { key_spec: spec, key_usage: usage }
      await t.rejects(key.wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_NOT_FOUND', facts }, spec)
      t.same(
        kms.requests.slice(before).map(({ operation }) => operation),
        ['DescribeKey'],
      )
    }
  },
)

t.test('a key that is deleted or never was is not found', async t => {
  const arn = kms.createKey()
  const key = keyOf(await openSource(t, kms, { key_arn: arn }))
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  kms.deleteKey(arn)
  await t.rejects(key.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_NOT_FOUND' })
  t.match(await key.health(), /NotFoundException/)
})

t.test('an answer about another key, or of another length, is not taken', async t => {
  const key = keyOf(await openSource(t, kms))
  const wrapped = await key.wrap(randomBytes(32), CONTEXT)
  const other = kms.createKey()
  const long = Buffer.alloc(4097).toString('base64')
  const lies: Record<string, unknown>[] = [{ KeyId: other }, { KeyId: null }, { Plaintext: '' }, { Plaintext: long }]
  for (const members of lies) {
    kms.fault({ kind: 'members', members })
    await t.rejects(key.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNAVAILABLE' }, JSON.stringify(members).slice(0, 40))
    if (members.KeyId !== undefined)
      await t.rejects(key.wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_UNAVAILABLE' })
    kms.clearFaults()
  }
  for (const members of [
    { Plaintext: Buffer.alloc(16, 1).toString('base64') },
    { CiphertextBlob: '' },
    { CiphertextBlob: Buffer.alloc(6145).toString('base64') },
    { KeyId: other },
  ]) {
    kms.fault({ kind: 'members', members })
    await t.rejects(generate(key, CONTEXT), { code: 'ERR_KEY_UNAVAILABLE' })
    kms.clearFaults()
  }
})

t.test('credentials that are wrong, missing or of another session are refused by KMS or before', async t => {
  const arn = kms.createKey()
  const set = async (env: Record<string, string | undefined>) => {
    const before = { ...process.env }
    for (const [name, value] of Object.entries(env)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
    const key = keyOf(await openSource(t, kms, { key_arn: arn }))
    const error = await key.wrap(randomBytes(32), CONTEXT).catch(error => error)
    Object.assign(process.env, before)
    return error
  }
  const forbidden = (reason: string) => ({ code: 'ERR_KEY_FORBIDDEN', facts: { reason } })
  t.match(await set({ AWS_SECRET_ACCESS_KEY: 'wrong' }), forbidden('InvalidSignatureException'))
  t.match(await set({ AWS_ACCESS_KEY_ID: 'AKIAUNKNOWN' }), forbidden('UnrecognizedClientException'))
  t.match(
    await set({ AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined }),
    forbidden('CredentialsProviderError'),
  )
  t.match(await set({ AWS_SESSION_TOKEN: 'stale' }), forbidden('UnrecognizedClientException'))
  delete process.env.AWS_SESSION_TOKEN
})

t.test('plain HTTP is refused outside development, also where the environment of the SDK asks for it', async t => {
  const key_arn = kms.createKey()
  const refused = { code: 'ERR_KEY_CONFIGURATION', facts: { field: 'endpoint' } }
  await t.rejects(openSource(t, kms, { key_arn }, {}), refused)
  const before = kms.requests.length
  process.env.AWS_ENDPOINT_URL_KMS = kms.endpoint
  t.teardown(() => delete process.env.AWS_ENDPOINT_URL_KMS)
  const { openAwsKmsSource } = await import('../../src/aws-kms/index.ts')
  const source = await openAwsKmsSource({ name: 'kms-1', provider: 'aws-kms', key_arn })
  t.teardown(() => source.destroy())
  await t.rejects(keyOf(source).wrap(randomBytes(32), CONTEXT), refused)
  t.equal(kms.requests.length, before, 'nothing was sent')
  const other = { key_arn, region: 'us-east-1' }
  await t.rejects(openSource(t, kms, other), { code: 'ERR_KEY_CONFIGURATION', facts: { field: 'region' } })
})

t.test('over HTTPS a server without a trusted certificate is refused, and one with it is used', async t => {
  const secure = await startKms({ tls: true })
  t.teardown(() => secure.stop())
  const before = { ...process.env }
  Object.assign(process.env, secure.env)
  const source = await openSource(t, secure, {}, {})
  const untrusted = await keyOf(source)
    .wrap(randomBytes(32), CONTEXT)
    .catch(error => error)
  t.match(untrusted, { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: /UNABLE_TO_VERIFY|SELF_SIGNED/ } })
  t.equal(secure.requests.length, 0)
  const authorities = getCACertificates('default')
  setDefaultCACertificates([...authorities, secure.caPem])
  const trusting = await openSource(t, secure, {}, {})
  const wrapped = await keyOf(trusting).wrap(randomBytes(32), CONTEXT)
  t.equal((await keyOf(trusting).unwrap(wrapped, CONTEXT)).length, 32)
  setDefaultCACertificates(authorities)
  Object.assign(process.env, before)
})

t.test('a place where nobody listens is unavailable', async t => {
  const gone = await startKms()
  await gone.stop()
  const key = keyOf(await openSource(t, gone))
  const facts = { reason: 'ECONNREFUSED' }
  await t.rejects(key.wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_UNAVAILABLE', facts })
})

t.test('no error, log line or health holds a credential, a data key or what the server says', async t => {
  const temporary = await startKms({ temporaryCredentials: true })
  t.teardown(() => temporary.stop())
  const before = { ...process.env }
  Object.assign(process.env, temporary.env)
  const said: unknown[] = []
  const logger = { info: (...line: unknown[]) => said.push(line), warn: (...line: unknown[]) => said.push(line) }
  const source = await openSource(t, temporary, { timeout_ms: 500 }, { logger, allowPlainHttp: true })
  const key = keyOf(source)
  const dataKey = newCanary()
  const bytes = Buffer.from(dataKey)
  const wrapped = await key.wrap(bytes, CONTEXT)
  const echo = newCanary()
  const faults: KmsFault[] = [
    { kind: 'refuse', type: 'AccessDeniedException', message: echo },
    { kind: 'refuse', type: `Odd${'x'.repeat(100)} ${echo}`, message: echo },
    { kind: 'refuse', type: 'KMSInternalException', message: `${dataKey} ${echo}` },
    { kind: 'text', text: `{"Plaintext":"${bytes.toString('base64')}", broken` },
    { kind: 'text', text: `{"Plaintext":"${bytes.toString('base64')}"}` },
    { kind: 'hang' },
    { kind: 'cut-body' },
  ]
  for (const fault of faults) {
    temporary.fault(fault)
    for (const work of [
      () => key.wrap(bytes, CONTEXT),
      () => key.unwrap(wrapped, CONTEXT),
      () => generate(key, CONTEXT),
    ]) {
      const error = await Promise.resolve(work()).catch(error => error)
      t.equal(error.name, 'KeyProviderError')
      said.push(error, error.stack)
    }
    said.push(await key.health())
    temporary.clearFaults()
  }
  Object.assign(process.env, before)
  delete process.env.AWS_SESSION_TOKEN
  const text = said
    .map(entry => `${inspect(entry, { depth: 12, showHidden: true })}${JSON.stringify(entry)}`)
    .join('\n')
  t.match(text, /AccessDeniedException/)
  const { secretAccessKey, sessionToken = '' } = temporary.credentials
  for (const secret of [secretAccessKey, sessionToken, dataKey, echo]) t.same(findSecret(text, secret), [])
  const sent = temporary.requests.map(({ raw }) => raw).join('\n')
  t.same(findSecret(sent, secretAccessKey), [], 'and the secret key never travels')
})
