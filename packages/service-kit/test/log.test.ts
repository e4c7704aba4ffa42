import t from 'tap'
import { ProblemError, Secret } from '../src/index.ts'
import { capturedLog } from './helper.ts'

const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl'

t.test('a field that nobody classified is redacted, at any depth and in arrays', async t => {
  const { logger, lines } = capturedLog()
  logger.info(
    {
      event: 'session_started',
      favourite_colour: 'green',
      reason: { code: 'ERR_X', inner_thing: 'green', errors: [{ rule: 'type', value: 'green' }] },
      session_id: 's-1',
      duration_ms: 12,
    },
    'started',
  )
  t.match(lines()[0], {
    event: 'session_started',
    favourite_colour: '[redacted]',
    reason: { code: 'ERR_X', inner_thing: '[redacted]', errors: [{ rule: 'type', value: '[redacted]' }] },
    session_id: 's-1',
    duration_ms: 12,
    level: 'info',
    service: 'test',
    msg: 'started',
  })
})

t.test('a service classifies its own fields', async t => {
  const { logger, lines } = capturedLog(['favourite_colour'])
  logger.info({ favourite_colour: 'green' })
  t.match(lines()[0], { favourite_colour: 'green' })
})

t.test('names of credentials are redacted, whatever ending they have', async t => {
  const { logger, text } = capturedLog()
  const names = [
    'password',
    'token',
    'refresh_token_id',
    'private_key_id',
    'secret_bytes',
    'cookie',
    'username',
    'proof',
  ]
  for (const name of names) logger.info({ [name]: 'hunter2', reason: { [name]: 'hunter2' } })
  t.notMatch(text(), /hunter2/)
  logger.info({ secret_ref: 'rap-secret://org/1/resources/2/rdp-primary' })
  t.match(text(), /rap-secret:/, 'a reference is not a secret')
})

t.test('the same rules hold for the bindings of children and grandchildren', async t => {
  const { logger, text, lines } = capturedLog()
  const child = logger.child({ request_id: 'r-1', password: 'hunter2' })
  const grandchild = child.child({ session_id: 's-1', colour: 'hunter2' }, {})
  grandchild.setBindings({ attachment_id: 'a-1', pass: 'hunter2' })
  child.info({ event: 'x' })
  grandchild.info({ event: 'y', password: 'hunter2' })
  t.notMatch(text(), /hunter2/)
  t.match(lines(), [
    { request_id: 'r-1', event: 'x' },
    { request_id: 'r-1', session_id: 's-1', attachment_id: 'a-1', event: 'y' },
  ])
})

t.test('buffers, secrets, class instances and functions are never printed', async t => {
  class Holder {
    code = 'hunter2'
  }
  const { logger, text } = capturedLog()
  logger.info({
    code: Secret.from('hunter2'),
    reason: Buffer.from('hunter2'),
    state: new Holder(),
    kind: () => 'hunter2',
    detail: new Map([['code', 'hunter2']]),
  })
  t.notMatch(text(), /hunter2/)
  t.notMatch(text(), /104,117/)
})

t.test('deep, wide and cyclic objects end', async t => {
  const { logger, lines, text } = capturedLog()
  const cyclic: Record<string, unknown> = { code: 'ERR_X' }
  cyclic.reason = cyclic
  const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`n${index}_id`, index]))
  logger.info({ reason: cyclic })
  logger.info({ reason: wide })
  logger.info({ detail: 'x'.repeat(1_000_000) })
  t.equal(lines().length, 3)
  t.ok(text().length < 10_000)
})

t.test('a key called __proto__ from outside stays a name', async t => {
  const { logger, lines } = capturedLog()
  logger.info({ reason: JSON.parse('{"__proto__":{"polluted":true},"code":"ERR_X"}') })
  t.equal(({} as { polluted?: boolean }).polluted, undefined)
  t.match(lines()[0], { reason: { code: 'ERR_X' } })
})

t.test('an error is printed with name, code, facts and causes, and with no other field of it', async t => {
  const { logger, lines, text } = capturedLog()
  const inner = Object.assign(new Error('query failed'), {
    code: '23505',
    constraint_name: 'resources_name_key',
    detail: 'Key (name)=(hunter2) already exists.',
    parameters: ['hunter2'],
    query: 'select hunter2',
  })
  const error = new ProblemError({
    code: 'ERR_CONFLICT',
    status: 409,
    title: 'Conflict',
    facts: { size_bytes: 4, table: 'resources', password: 'hunter2', nested: {} as never },
    cause: inner,
  })
  logger.error({ err: error }, 'failed')
  t.match(lines()[0]?.err, {
    name: 'ProblemError',
    code: 'ERR_CONFLICT',
    status: 409,
    message: 'Conflict',
    facts: { size_bytes: 4, table: 'resources', password: '[redacted]' },
    cause: { name: 'Error', code: '23505', constraint_name: 'resources_name_key', message: 'query failed' },
  })
  t.notMatch(text(), /hunter2/)
})

t.test('a long chain of causes and something thrown that is no error end well', async t => {
  const { logger, lines } = capturedLog()
  let error = new Error('root')
  for (let depth = 0; depth < 50; depth++) error = new Error('wrapper', { cause: error })
  const cyclic = new Error('cyclic')
  cyclic.cause = cyclic
  logger.error({ err: error })
  logger.error({ err: cyclic })
  logger.error({ err: 'hunter2' })
  logger.error(new AggregateError([new Error('one'), new Error('two')], 'both'))
  t.equal(lines().length, 4)
  t.match(lines()[2]?.err, { name: 'NonError' })
  t.notMatch(JSON.stringify(lines()[2]), /hunter2/)
  t.match(lines()[3]?.err, { errors: [{ message: 'one' }, { message: 'two' }] })
})

t.test('tokens, private keys and URL passwords are scrubbed wherever they hide', async t => {
  const { logger, text } = capturedLog()
  const pem = '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n'
  logger.info(`token ${JWT} in a message`)
  logger.info({ detail: `Authorization: Bearer abcdefghijklmnop`, reason: pem })
  logger.info({ err: new Error(`connect postgres://rap:hunter2@db:5432/rap failed with ${JWT}`) })
  logger.info('rap_at_abcdefghijklmnopqrstuvwxyz %s', 'rap_rt_abcdefghijklmnopqrstuvwxyz')
  logger.info({ detail: `${JWT.slice(0, -1)}~${JWT}` })
  t.notMatch(text(), /eyJ|abcdefgh|MIGHAgEA|hunter2/)
  t.match(text(), /postgres:\/\/\[redacted\]@db:5432/)
})

t.test('scrubbing takes linear time on hostile lines', async t => {
  const { logger } = capturedLog()
  const hostile = ['eyJaaaaaaaa.', 'a://a:', '-----BEGIN PRIVATE KEY-----', 'Bearer ', 'eyJ', 'a:/'].map(part =>
    part.repeat(20_000),
  )
  const started = process.cpuUsage()
  for (const text of hostile) logger.info(text)
  t.ok(process.cpuUsage(started).user < 3_000_000)
})
