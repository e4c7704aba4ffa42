import { randomUUID } from 'node:crypto'
import { createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { connectRedis, createLogger, InternalClient, internalAgent } from '@rap/service-kit'
import { startRedis, TRUST_DOMAIN, waitFor } from '@rap/testkit'
import t from 'tap'
import { ControlPlane } from '../../src/control-plane/client.ts'
import { AttachmentWatch } from '../../src/control-plane/watch.ts'
import { ControlPlanePeer } from '../control-plane.ts'
import { problem, type Teardown } from '../peer.ts'

const server = await startRedis()
t.teardown(() => server.stop())
const logger = createLogger({ service: 'rdp-worker', level: 'silent' })
const redis = connectRedis(server.url, { name: 'test', logger })
t.teardown(() => redis.disconnect())
const authority = await createAuthority({ name: 'platform CA', days: 30, now: new Date() })
const peer = await ControlPlanePeer.start(t, authority)
const workerId = randomUUID()
const { certificatePem, keyPem } = await issueCertificate({
  authority,
  commonName: 'worker',
  uris: [spiffeId(TRUST_DOMAIN, 'worker', workerId)],
  usages: ['client'],
  now: new Date(),
})
const agent = internalAgent({
  cert: certificatePem,
  key: keyPem,
  ca: authority.certificatePem,
  trustDomain: TRUST_DOMAIN,
  expectedIdentity: 'service/control-plane',
})
t.teardown(() => agent.destroy())
const controlPlane = new ControlPlane(new InternalClient({ baseUrl: peer.peer.url, agent, logger }))
const NEVER_MS = 60_000

interface Seen {
  readonly ended: [string, string][]
  readonly active: string[]
  readonly policies: [string, readonly string[]][]
  readonly over: string[]
}

async function startWatch(
  t: Teardown,
  attachments: string[],
  pollMs = NEVER_MS,
  sessions: string[] = [],
): Promise<Seen> {
  const connection = connectRedis(server.url, { name: 'test-watch', logger })
  const seen: Seen = { ended: [], active: [], policies: [], over: [] }
  const watch = new AttachmentWatch({
    redis: connection,
    controlPlane,
    logger,
    workerId,
    attachments: () => attachments,
    onEnded: (id, reason) => seen.ended.push([id, reason]),
    onActive: id => seen.active.push(id),
    sessions: () => sessions,
    onPolicy: (id, policy) => seen.policies.push([id, policy.channels]),
    onSessionOver: id => seen.over.push(id),
    pollMs,
  })
  await watch.start()
  t.teardown(() => {
    watch.close()
    connection.disconnect()
  })
  peer.polled.length = 0
  peer.intercept = () => undefined
  return seen
}

async function hint(text: string | object): Promise<void> {
  await redis.publish(`rap:worker:${workerId}:control`, typeof text === 'string' ? text : JSON.stringify(text))
}

const closing = (attachment_id: string) => ({
  type: 'close_attachment',
  attachment_id,
  reason: 'ERR_SESSION_TERMINATED',
})

t.test('a hint is a reason to ask, and the answer decides', async t => {
  const [ended, live] = [randomUUID(), randomUUID()]
  const seen = await startWatch(t, [ended, live])
  peer.close(ended, 'superseded', null)
  peer.close(live, 'ready', null)
  // Whoever writes to Redis can say that it ended: it did not.
  await hint(closing(live))
  await hint(closing(ended))
  await waitFor(() => seen.ended.length === 1, { what: 'the end' })
  await waitFor(() => peer.polled.length === 2, { what: 'both questions' })
  t.same(seen.ended, [[ended, 'ERR_SESSION_TAKEN_OVER']])
  t.same(peer.polled, [[live], [ended]])
})

t.test('hints that are foreign, out of form or too long ask nothing', async t => {
  const own = randomUUID()
  const seen = await startWatch(t, [own])
  peer.close(own, 'closed', null)
  for (const text of [
    '',
    'null',
    '{',
    closing(randomUUID()),
    { type: 'close_attachment' },
    { attachment_id: `${own}x` },
    { attachment_id: own.toUpperCase() },
    { attachment_id: [own] },
    `${' '.repeat(1024)}${JSON.stringify(closing(own))}`,
    'x'.repeat(1_000_000),
  ]) {
    await hint(text)
  }
  await hint(closing(own))
  await waitFor(() => seen.ended.length === 1, { what: 'the one that counts' })
  t.same(peer.polled, [[own]])
})

t.test('a flood of hints costs one question at a time', async t => {
  const [own, last] = [randomUUID(), randomUUID()]
  const seen = await startWatch(t, [own, last])
  peer.close(own, 'ready', null)
  peer.close(last, 'closed', null)
  // The first question is answered when the whole flood is there.
  const answer = Promise.withResolvers<void>()
  peer.intercept = async () => {
    await answer.promise
    return undefined
  }
  await Promise.all(Array.from({ length: 200 }, () => hint(closing(own))))
  await hint(closing(last))
  answer.resolve()
  await waitFor(() => seen.ended.length === 1, { what: 'the end of the flood' })
  const questions = peer.polled.filter(([id]) => id === own).length
  t.ok(1 <= questions && questions < 20, `${questions} questions`)
})

t.test('what no hint tells is asked every few seconds, with the reason that a client gets', async t => {
  const states: readonly (readonly [string, string | null, string | undefined])[] = [
    ['assigning', null, undefined],
    ['ready', null, undefined],
    ['closed', 'ERR_SESSION_DETACHED', 'ERR_SESSION_DETACHED'],
    ['closed', 'something of later', 'ERR_SESSION_TERMINATED'],
    ['closed', 'toString', 'ERR_SESSION_TERMINATED'],
    ['superseded', null, 'ERR_SESSION_TAKEN_OVER'],
    ['failed', 'ERR_SESSION_LEASE_LOST', 'ERR_SESSION_LEASE_LOST'],
    ['unknown', null, 'ERR_SESSION_TERMINATED'],
    ['a state of later', null, 'ERR_SESSION_TERMINATED'],
  ]
  const ids = states.map(() => randomUUID())
  const active = randomUUID()
  for (const [index, [state, reason]] of states.entries()) peer.close(ids[index] as string, state, reason)
  peer.close(active, 'active', null)
  const seen = await startWatch(t, [...ids, active], 50)
  await waitFor(() => seen.active.length > 0, { what: 'a poll' })
  const expected = states.flatMap(([, , reason], index) => (reason === undefined ? [] : [[ids[index], reason]]))
  t.same(seen.ended.slice(0, expected.length), expected)
  t.equal(seen.active[0], active)
})

t.test('without an answer nothing ends, and polls do not pile up', async t => {
  const own = randomUUID()
  const seen = await startWatch(t, [own], 20)
  let asked = 0
  let release: () => void = () => {}
  peer.intercept = async ({ body }) => {
    // A last question of the test before may still be on its way.
    if (!body.attachment_ids.includes(own)) return undefined
    asked += 1
    await new Promise<void>(resolve => (release = resolve))
    return problem(503, 'ERR_UPSTREAM_UNAVAILABLE')
  }
  await waitFor(() => asked === 1, { what: 'the first poll' })
  const until = performance.now() + 200
  await waitFor(() => performance.now() > until, { what: 'the time of ten polls' })
  t.equal(asked, 1)
  release()
  await waitFor(() => asked === 2, { what: 'the next poll' })
  release()
  t.same(seen.ended, [])
})

t.test('a thousand attachments are one question, more are several', async t => {
  const ids = Array.from({ length: 1001 }, () => randomUUID())
  for (const id of ids) peer.close(id, 'ready', null)
  peer.polled.length = 0
  peer.intercept = () => undefined
  t.equal((await controlPlane.attachments(ids)).attachments.length, 1001)
  t.same(
    peer.polled.filter(([id]) => ids.some(own => own === id)).map(asked => asked.length),
    [1000, 1],
  )
})

t.test('a Redis that is away at the start costs the hints only, and only for a while', async t => {
  await server.stop()
  const own = randomUUID()
  peer.close(own, 'closed', 'ERR_SESSION_TERMINATED')
  const seen = await startWatch(t, [own])
  await server.restart()
  await waitFor(
    async () => {
      await hint(closing(own)).catch(() => undefined)
      return seen.ended.length > 0
    },
    { what: 'a hint', intervalMs: 200 },
  )
  t.same(seen.ended[0], [own, 'ERR_SESSION_TERMINATED'])
})

t.test('a change of policy and the end of a session are told with the next poll', async t => {
  const [own, over, goesOn] = [randomUUID(), randomUUID(), randomUUID()]
  peer.close(own, 'active', null)
  peer.policies.set(own, { allowed_channels: ['display'] })
  peer.overSessions.add(over)
  const seen = await startWatch(t, [own], 50, [over, goesOn])
  await waitFor(() => seen.policies.length > 0 && seen.over.length > 0, { what: 'a poll' })
  t.same(seen.policies[0], [own, ['display']])
  t.same([...new Set(seen.over)], [over])
})
