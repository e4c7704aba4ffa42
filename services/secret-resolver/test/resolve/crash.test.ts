import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { call } from '../support/https.ts'
import type { Place } from '../support/seed.ts'
import { readyFields, serviceEnv, startService } from '../support/service.ts'
import { leaseToken, putSecret, type Resolver, resolve, seedPlace, startWorld, writeLease } from '../support/world.ts'

const world = await startWorld(t)
const env = await serviceEnv(t, world)

/** Requests that are under way when the process is killed. */
const IN_FLIGHT = 16

async function start(): Promise<{ resolver: Resolver; kill: () => Promise<unknown> }> {
  const service = await startService(t, env)
  const { internal_url: origin } = await readyFields(service)
  const kill = async () => {
    service.kill('SIGKILL')
    return await service.exited
  }
  return { resolver: { origin, call: (tls, what) => call(origin, tls, what), close: async () => {} }, kill }
}

interface Case {
  readonly place: Place
  readonly token: string
  /** Answers with a secret, over all processes. */
  secrets: number
}

async function ask(resolver: Resolver, one: Case): Promise<number | undefined> {
  try {
    const { status, open } = await resolve(resolver, world.worker, one.token)
    if (status !== 200) return status
    await open()
    one.secrets += 1
    return status
  } catch {
    // The process ended before its answer was whole.
    return undefined
  }
}

/** How often each session's secret was given, by the audit. */
async function accesses(): Promise<Map<string, number>> {
  const rows = await world.database.superuser<{ session_id: string; count: number }[]>`
    select session_id, count(*)::int from rap.audit_events where event = 'resource_secret_accessed' group by session_id`
  return new Map(rows.map(row => [row.session_id, row.count]))
}

t.test('a resolver that is killed at any moment gives no secret twice, and none that is not in the audit', async t => {
  let running = await start()
  const secretOwner = await seedPlace(world)
  t.equal((await putSecret(world, running.resolver, secretOwner)).status, 200)
  const seen = { answered: 0, lost: 0, untouched: 0 }

  // Killed while nothing, some and nearly all of the answers were out; a random share of a millisecond on top.
  for (const answersBeforeKill of [0, 4, IN_FLIGHT - 2]) {
    const cases: Case[] = []
    for (let n = 0; n < IN_FLIGHT; n++) {
      const place = await seedPlace(world)
      t.equal((await putSecret(world, running.resolver, place)).status, 200)
      await writeLease(world, place)
      cases.push({ place, token: await leaseToken(world, place), secrets: 0 })
    }
    let answers = 0
    let killed: Promise<unknown> | undefined
    const kill = async () => {
      await delay(Math.random() * 3)
      await running.kill()
    }
    const first = await Promise.all(
      cases.map(async one => {
        const asked = ask(running.resolver, one)
        if (answersBeforeKill === 0) killed ??= kill()
        const status = await asked
        if (status !== undefined && ++answers === answersBeforeKill) killed ??= kill()
        return status
      }),
    )
    await killed
    const spentBefore = await accesses()

    running = await start()
    for (const [index, one] of cases.entries()) {
      await writeLease(world, one.place)
      const wasSpent = spentBefore.has(one.place.session_id)
      t.equal(await ask(running.resolver, one), wasSpent ? 403 : 200, 'spent before: refused; not spent: good')
      t.equal(await ask(running.resolver, one), 403, 'and spent from now on')
      if (first[index] === 200) {
        seen.answered += 1
        t.ok(wasSpent, 'no secret without its audit event')
      } else if (wasSpent) seen.lost += 1
      else seen.untouched += 1
      t.equal(one.secrets, first[index] === 200 || !wasSpent ? 1 : 0)
    }
    const after = await accesses()
    for (const { place } of cases) t.equal(after.get(place.session_id), 1, 'one access in the audit')
  }
  t.comment(`answered ${seen.answered}, answer lost ${seen.lost}, not spent ${seen.untouched}`)
  t.ok(seen.answered > 0, 'some answers came before a kill')
  t.ok(seen.lost + seen.untouched > 0, 'and some did not')
})
