import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startRedis, waitFor } from '@rap/testkit'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { DISPLAY_CONTROL, openDynamic } from './denial/attempts.ts'
import { type Cell, newWord } from './denial/cell.ts'
import type { Path, Transport } from './denial/links.ts'
import { CHANNELS, type Channel, type PolicyAnswer, type PolicyRow } from './denial/policies.ts'
import { beginUses, USES } from './denial/uses.ts'
import { World } from './denial/world.ts'

/** From the administrator's answer on, in milliseconds: what is begun later has no effect. */
const LIMIT_MS = 2000

const redis = await startRedis()
t.teardown(() => redis.stop())
const world = await World.start({ redisUrl: redis.url })
t.teardown(() => world.stop())
const sql = postgres(world.platform.databaseUrls.superuser, { max: 1 })
t.teardown(() => sql.end())
await world.policies.organization(CHANNELS)

const everything: PolicyRow = { name: 'everything', scope: 'organization', channels: CHANNELS }
const without = (channel: Channel): readonly Channel[] => CHANNELS.filter(each => each !== channel)

interface Live {
  readonly cell: Cell
  readonly resourceId: string
}

/** A session under a policy of its own in which every channel has been used. */
async function openUsed(t: Test, transport: Transport, path: Path): Promise<Live> {
  const resourceId = await world.newResource(everything)
  const cell = await world.openCell({ policy: everything, transport, path, resourceId })
  t.teardown(() => cell.link.close())
  await beginUses(cell)
  for (const channel of CHANNELS) t.ok(await USES[channel](cell), `${channel} has its effect`)
  return { cell, resourceId }
}

/** Takes a channel away while it is in use, and looks at what is left. */
async function takeAway(t: Test, { cell }: Live, channel: Channel, change: () => Promise<PolicyAnswer>): Promise<void> {
  const answered = change().then(answer => ({ ...answer, at: performance.now() }))
  // A use takes its own time on a busy machine; what counts is when the last one began that still came through.
  let lastAt = performance.now()
  const isOff = async () => {
    const beganAt = performance.now()
    if (!(await USES[channel](cell))) return true
    lastAt = beganAt
    return false
  }
  await waitFor(isOff, { what: `the end of ${channel}`, intervalMs: 20 })
  const { sessions_changed: changed, at } = await answered
  const ms = Math.round(lastAt - at)
  t.ok(ms <= LIMIT_MS, `${channel} came through ${ms} ms after the answer for the last time`)
  t.equal(changed, 1)
  t.notOk(await USES[channel](cell), 'and stays off')
  for (const other of without(channel)) t.ok(await USES[other](cell), `${other} goes on`)
  t.notOk(cell.target.isClosed, 'the desktop is the same')
  const [told] = await world.eventsOf(cell.link.sessionId, 'session_policy_changed')
  t.equal(told?.details.channels_removed, channel, 'the audit says what was taken away')
}

/** Nothing is done in this session until its idle limit ends it, which takes a minute. */
const idleSeconds = 60
const idleSince = performance.now()
const idle = await openLimited({ idle_seconds: idleSeconds })

async function openLimited(limits: unknown): Promise<Cell> {
  const resourceId = await world.newResource(everything)
  await world.policies.resource(resourceId, { limits })
  return await world.openCell({ policy: everything, transport: 'json_v1', path: 'direct', resourceId })
}

async function stateOf({ link }: Cell): Promise<string> {
  return (await world.platform.api.call<{ state: string }>('GET', `/v1/sessions/${link.sessionId}`)).state
}

/** What is told comes on another connection than the end. */
async function wasWarned({ link }: Cell): Promise<void> {
  await waitFor(() => link.told('limit_near'), { what: 'the warning of the person' })
}

/** A session past its time reads as ended at once; its event comes when it is ended. */
async function limitReached({ link }: Cell) {
  return await waitFor(async () => (await world.eventsOf(link.sessionId, 'session_limit_reached'))[0], {
    what: 'the limit in the audit',
  })
}

t.jobs = 3
for (const [index, channel] of CHANNELS.entries()) {
  const transport = (['json_v1', 'rdcleanpath_v1', 'sdk binary_v1'] as const)[index % 3] ?? 'json_v1'
  const path = index % 2 === 0 ? 'direct' : 'gateway'
  t.test(`${channel} is taken away from a session that uses it, ${transport}, ${path}`, { buffered: true }, async t => {
    const live = await openUsed(t, transport, path)
    const document = { channels: without(channel) }
    const { resource, grant } = { resource: live.resourceId, grant: index % 2 === 0 }
    await takeAway(t, live, channel, () =>
      grant ? world.policies.grant(resource, document) : world.policies.resource(resource, document),
    )
  })
}

/** Names of the refused channels in docs/protocols/channels.md, of one kind. */
function refusedNames(kind: 'static' | 'dynamic'): string[] {
  const page = readFileSync(join(import.meta.dirname, '../docs/protocols/channels.md'), 'utf8')
  const rows = [...page.matchAll(new RegExp(`^\\| ${kind} \\| (.*?) \\| refused`, 'gm'))]
  const names = rows.flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
  return names.map(name => name.replace(/^…/, 'Microsoft::Windows::RDS::Video'))
}

t.test('no channel of the table of refusals opens, and each is in the audit once a session', async t => {
  const staticNames = [...refusedNames('static'), 'CLIPRDR', 'drdynv', 'rdpdr', 'rdpsnd', 'evil']
  const dynamicNames = [
    ...refusedNames('dynamic'),
    DISPLAY_CONTROL.toLowerCase(),
    `${DISPLAY_CONTROL} `,
    `${DISPLAY_CONTROL}2`,
    'ECHO',
  ]
  t.ok(staticNames.length > 10 && dynamicNames.length > 20, 'there are names to try')
  const channels = [...staticNames, 'drdynvc']
  let link = await world.links.open({
    resourceId: await world.newResource(everything),
    transport: 'json_v1',
    path: 'direct',
    channels,
    dynamicChannels: dynamicNames,
  })
  for (const attachment of ['first', 'second']) {
    const cell = await world.cellOf(link, everything)
    const words: string[] = []
    const word = () => words[words.push(newWord()) - 1] ?? ''
    for (const name of staticNames) link.client.rdp.sendChannel(name, Buffer.from(word()))
    const statuses: number[] = []
    for (const [index, name] of dynamicNames.entries()) {
      statuses.push(await openDynamic(cell.target, name, 20 + index, word()))
    }
    await cell.settle()
    t.ok(
      statuses.every(status => status < 0),
      `every dynamic channel is refused, ${attachment} attachment`,
    )
    t.same(link.client.rdp.dynamicRequests, [], 'the client hears of none')
    t.same([...cell.target.channels.keys()].sort(), ['drdynvc', 'rdpdr', 'rdpsnd'], 'the target hears of none')
    t.same(
      words.filter(each => cell.target.saw(each) || link.client.saw(each)),
      [],
      'nothing came through',
    )
    link.close()
    await link.closed
    if (attachment === 'first') link = await link.attachAgain()
  }
  const due = [...staticNames, ...dynamicNames.map(name => name.slice(0, 255))].sort()
  const audit = await world.auditOf(link.sessionId, due.length)
  t.same(
    audit.map(words => words.replace(/^channel_refused ERR_CHANNEL_REFUSED (.*) \S+$/, '$1')),
    due,
  )
})

t.test('a token from before a narrowing binds nothing, not even what is left', async t => {
  const { cell, resourceId } = await openUsed(t, 'json_v1', 'direct')
  const bindWithOldToken = await cell.link.holdToken(['events'])
  await world.policies.resource(resourceId, { channels: without('file_upload') })
  t.equal(await bindWithOldToken(), 'ERR_BIND_CHANNELS_NOT_ALLOWED')
  t.equal(await (await cell.link.holdToken(['events']))(), 'bound', 'a fresh one does')
  t.equal(await (await cell.link.holdToken(['file_upload']))(), 'ERR_BIND_CHANNELS_NOT_ALLOWED')
})

t.test('a session ends at the time limit, is warned before, and cannot be taken up again', async t => {
  const cell = await openLimited({ session_seconds: 60 })
  await sql`update rap.remote_sessions set ends_at = now() + interval '4 seconds' where id = ${cell.link.sessionId}`
  t.equal(await cell.link.closed, 'ERR_SESSION_TIME_LIMIT')
  await wasWarned(cell)
  await waitFor(async () => (await stateOf(cell)) === 'terminated', { what: 'the end of the session' })
  t.match(await limitReached(cell), { code: 'ERR_SESSION_TIME_LIMIT', details: { limit: 'session_seconds' } })
  const { status } = await world.platform.api.send('POST', `/v1/sessions/${cell.link.sessionId}/data-plane-token`, {
    body: {},
  })
  t.equal(status, 409)
})

t.test('channels are taken away within the time also while Redis is down', async t => {
  const lives: (readonly [Channel, Live])[] = []
  for (const channel of ['input', 'clipboard_server_to_client', 'file_upload'] as const)
    lives.push([channel, await openUsed(t, 'json_v1', 'gateway')])
  await redis.stop()
  t.teardown(() => redis.restart())
  for (const [channel, live] of lives) {
    const document = { channels: without(channel) }
    await takeAway(t, live, channel, () => world.policies.resource(live.resourceId, document))
  }
})

t.test('a session in which nothing is done is detached at its idle limit, not before', async t => {
  t.equal(await idle.link.closed, 'ERR_SESSION_IDLE_LIMIT')
  const seconds = (performance.now() - idleSince) / 1000
  t.ok(seconds >= idleSeconds, `after ${seconds.toFixed(1)} s`)
  await wasWarned(idle)
  await waitFor(async () => (await stateOf(idle)) === 'detached', { what: 'the detached session' })
  t.match(await limitReached(idle), { code: 'ERR_SESSION_IDLE_LIMIT', details: { limit: 'idle_seconds' } })
})
