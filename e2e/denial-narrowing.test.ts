import { startRedis, waitFor } from '@rap/testkit'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import type { Cell } from './denial/cell.ts'
import type { Path, Transport } from './denial/links.ts'
import { CHANNELS, type Channel, type PolicyAnswer, type PolicyRow } from './denial/policies.ts'
import { beginUses, USES } from './denial/uses.ts'
import { World } from './denial/world.ts'

/** From the answer to the administrator until nothing comes through any more, in milliseconds. */
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
  const { sessions_changed } = await change()
  const changedAt = performance.now()
  t.equal(sessions_changed, 1)
  await waitFor(async () => !(await USES[channel](cell)), { what: `the end of ${channel}`, intervalMs: 20 })
  const ms = Math.round(performance.now() - changedAt)
  t.ok(ms <= LIMIT_MS, `${channel} is off after ${ms} ms`)
  t.notOk(await USES[channel](cell), 'and stays off')
  for (const other of without(channel)) t.ok(await USES[other](cell), `${other} goes on`)
  t.notOk(cell.target.isClosed, 'the desktop is the same')
  const [told] = await world.eventsOf(cell.link.sessionId, 'session_policy_changed')
  t.equal(told?.details.channels_removed, channel, 'the audit says what was taken away')
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
