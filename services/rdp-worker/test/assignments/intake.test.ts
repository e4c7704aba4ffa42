import { randomUUID } from 'node:crypto'
import { connectRedis, createLogger } from '@rap/service-kit'
import { startRedis, waitFor } from '@rap/testkit'
import { type AssignmentClaims, keyLookupOfPem } from '@rap/token-claims'
import { SignJWT } from 'jose'
import t from 'tap'
import { isBefore, newestAssignment, SeenIds, takeAssignments } from '../../src/assignments/intake.ts'
import type { Teardown } from '../peer.ts'
import { assignmentFor, ClientKey, ISSUER, leaseTokenFor, newPlace, signingSet } from '../signing.ts'

const server = await startRedis()
t.teardown(() => server.stop())
const logger = createLogger({ service: 'rdp-worker', level: 'silent' })
const signing = await signingSet()
const keys = await keyLookupOfPem(signing.publicPem)
const target = {
  protocol: 'rdp',
  address: 'desk.corp.example:3389',
  certificate_verification_mode: 'strict',
  security: 'auto',
  render_quality_profile: 'balanced',
} as const satisfies AssignmentClaims['target']

/** A worker's intake on a Redis connection of its own, and a second connection that writes what it reads. */
async function startIntake(t: Teardown, workerId: string = randomUUID()) {
  const lines: string[] = []
  const log = createLogger({ service: 'rdp-worker', level: 'warn', destination: { write: line => lines.push(line) } })
  const redis = connectRedis(server.url, { name: 'test-intake', logger })
  const writer = connectRedis(server.url, { name: 'test-writer', logger })
  const stopped = new AbortController()
  const taken: AssignmentClaims[] = []
  const audited: (string | undefined)[] = []
  const running = takeAssignments({
    redis,
    after: await newestAssignment(redis, workerId),
    workerId,
    keys,
    issuer: ISSUER,
    logger: log,
    onAssignment: assignment => taken.push(assignment),
    audit: { report: async ({ event, code }) => void audited.push(event === 'assignment_refused' ? code : undefined) },
    signal: stopped.signal,
  })
  t.teardown(async () => {
    stopped.abort()
    redis.disconnect()
    await running
    writer.disconnect()
  })
  const stream = `rap:worker:${workerId}:assignments`
  const add = (value: string | Buffer, field = 'assignment') => writer.xadd(stream, '*', field, value)
  /** An order in good form; once it is taken, everything before it has been looked at. */
  const addGood = async (): Promise<string> => {
    const place = newPlace(workerId)
    await add((await assignmentFor(signing, place, target)).jws)
    await waitFor(() => taken.some(({ attachment_id }) => attachment_id === place.attachment_id), { what: 'the order' })
    return place.attachment_id
  }
  const refused = (): string[] => lines.flatMap(line => JSON.parse(line).code ?? [])
  return { workerId, taken, audited, add, addGood, refused, writer, stream, redis, stopped, running }
}

t.test('an order with the control plane signature, for this worker, is taken with all it says', async t => {
  const intake = await startIntake(t)
  const place = newPlace(intake.workerId)
  const { jws, leaseId } = await assignmentFor(signing, place, target)
  await intake.add(jws)
  const [taken] = await waitFor(() => intake.taken.length > 0 && intake.taken, { what: 'the order' })
  t.match(taken, { ...place, lease_id: leaseId, target })
})

t.test('whoever writes to Redis without the key orders nothing', async t => {
  const intake = await startIntake(t)
  const place = newPlace(intake.workerId)
  const forger = await signingSet()
  const { jws } = await assignmentFor(signing, place, target)
  const [header = '', payload = '', signature = ''] = jws.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const bent = { ...claims, target: { ...target, address: 'evil.example:3389' } }
  const encoded = Buffer.from(JSON.stringify(bent)).toString('base64url')
  const attacks: readonly (readonly [string, string | Buffer, string])[] = [
    ['another key', (await assignmentFor(forger, place, target)).jws, 'ERR_TOKEN_UNKNOWN_KEY'],
    [
      'another key under our name',
      (await assignmentFor({ ...forger, key: { ...forger.key, kid: signing.key.kid } }, place, target)).jws,
      'ERR_TOKEN_SIGNATURE',
    ],
    ['another target under the old signature', `${header}.${encoded}.${signature}`, 'ERR_TOKEN_SIGNATURE'],
    [
      'no algorithm',
      `${Buffer.from(`{"alg":"none","typ":"rap-assignment+jwt","kid":"${signing.key.kid}"}`).toString('base64url')}.${encoded}.`,
      'ERR_TOKEN_HEADER',
    ],
    [
      'the public key as a shared secret',
      await new SignJWT(bent)
        .setProtectedHeader({ alg: 'HS256', typ: 'rap-assignment+jwt', kid: signing.key.kid })
        .sign(Buffer.from(signing.publicPem)),
      'ERR_TOKEN_HEADER',
    ],
    ['a lease token', await leaseTokenFor(signing, place, randomUUID()), 'ERR_TOKEN_HEADER'],
    ['a data-plane token', await (await ClientKey.make()).token(signing, place), 'ERR_TOKEN_HEADER'],
    [
      'another issuer',
      (await assignmentFor(signing, place, target, { sign: { issuer: 'https://evil.example' } })).jws,
      'ERR_TOKEN_ISSUER',
    ],
    [
      'an order that is out of date',
      (await assignmentFor(signing, place, target, { sign: { ageSeconds: 70 } })).jws,
      'ERR_TOKEN_EXPIRED',
    ],
    [
      'an order of tomorrow',
      (await assignmentFor(signing, place, target, { sign: { ageSeconds: -3600 } })).jws,
      'ERR_TOKEN_NOT_YET_VALID',
    ],
    [
      'an order for another worker',
      (await assignmentFor(signing, newPlace(randomUUID()), target)).jws,
      'ERR_ASSIGNMENT_WRONG_WORKER',
    ],
    ['nothing', '', 'ERR_TOKEN_MALFORMED'],
    ['text', 'assignment', 'ERR_TOKEN_MALFORMED'],
    ['JSON', JSON.stringify(claims), 'ERR_TOKEN_MALFORMED'],
    ['bytes', Buffer.from('00ff80', 'hex'), 'ERR_TOKEN_MALFORMED'],
    ['an order cut short', jws.slice(0, -20), 'ERR_TOKEN_SIGNATURE'],
    ['an order that is too long', 'A'.repeat(32_769), 'ERR_TOKEN_TOO_LARGE'],
    ['a megabyte', Buffer.alloc(1024 * 1024, 'A.'), 'ERR_TOKEN_TOO_LARGE'],
  ]
  for (const [name, entry, code] of attacks) {
    const before = intake.refused().length
    await intake.add(entry)
    await waitFor(() => intake.refused().length > before, { what: `the refusal of ${name}` })
    t.equal(intake.refused().at(-1), code, name)
  }
  t.equal(intake.taken.length, 0)
  t.ok(await intake.addGood(), 'and it still takes what is right')
})

t.test('an order counts once, however often and under whatever field it is there', async t => {
  const intake = await startIntake(t)
  const { jws } = await assignmentFor(signing, newPlace(intake.workerId), target)
  for (let time = 0; time < 5; time++) await intake.add(jws)
  await intake.add(jws, 'other')
  await intake.addGood()
  t.equal(intake.taken.length, 2)
  t.same(intake.refused(), Array(5).fill('ERR_ASSIGNMENT_REPEATED'))
  t.same(intake.audited, intake.refused(), 'the audit is told of each')
})

t.test('orders from before the start are left alone, and none after it is lost', async t => {
  const workerId = randomUUID()
  const writer = connectRedis(server.url, { name: 'test-writer', logger })
  t.teardown(() => writer.disconnect())
  const stream = `rap:worker:${workerId}:assignments`
  const old = newPlace(workerId)
  await writer.xadd(stream, '*', 'assignment', (await assignmentFor(signing, old, target)).jws)
  const intake = await startIntake(t, workerId)
  const places = Array.from({ length: 40 }, () => newPlace(workerId))
  for (const place of places) await intake.add((await assignmentFor(signing, place, target)).jws)
  await waitFor(() => intake.taken.length === places.length, { what: 'all orders' })
  t.same(
    intake.taken.map(({ attachment_id }) => attachment_id),
    places.map(({ attachment_id }) => attachment_id),
    'in their order',
  )
})

t.test('a stream that was emptied and begun anew with smaller numbers is read', async t => {
  const intake = await startIntake(t)
  await intake.addGood()
  await intake.writer.flushall()
  const place = newPlace(intake.workerId)
  await intake.writer.xadd(intake.stream, '5-1', 'assignment', (await assignmentFor(signing, place, target)).jws)
  await waitFor(() => intake.taken.some(({ attachment_id }) => attachment_id === place.attachment_id), {
    what: 'the order of the new stream',
  })
  t.pass()
})

t.test('a key of another type does not keep a worker deaf', async t => {
  const intake = await startIntake(t)
  await intake.writer.set(intake.stream, 'no stream')
  await waitFor(async () => (await intake.writer.exists(intake.stream)) === 0, { what: 'the end of the key' })
  t.ok(await intake.addGood())
})

t.test('the intake outlives a restart of Redis, and ends when it is told to', async t => {
  const intake = await startIntake(t)
  await intake.addGood()
  await server.restart()
  t.ok(await intake.addGood())
  intake.stopped.abort()
  await intake.running
  t.pass('it has ended')
})

t.test('ids are remembered for a while, and never without bound', async t => {
  const seen = new SeenIds()
  t.equal(seen.isFirst('a', 0), true)
  t.equal(seen.isFirst('a', 119_999), false)
  t.equal(seen.isFirst('b', 119_999), true)
  t.equal(seen.isFirst('a', 120_000), true, 'two minutes later it cannot be valid any more')
  t.equal(seen.size, 2)
  const full = new SeenIds()
  for (let id = 0; id < 20_000; id++) full.isFirst(String(id), 0)
  t.equal(full.isFirst('one more', 0), false, 'closed where it is full')
  t.equal(full.size, 20_000)
  t.equal(full.isFirst('one more', 120_000), true)
  t.equal(full.size, 1)
})

t.test('ids of a stream are compared as numbers', async t => {
  t.equal(isBefore('9-0', '10-0'), true)
  t.equal(isBefore('10-2', '10-10'), true)
  t.equal(isBefore('10-1', '10-1'), false)
  t.equal(isBefore('0-0', '18446744073709551615-18446744073709551615'), true)
  t.equal(isBefore('18446744073709551615-1', '18446744073709551614-2'), false)
})
