import t, { type Test } from 'tap'
import { ATTEMPTS, type Attempt, DISPLAY_CONTROL } from './denial/attempts.ts'
import { type Cell, newWord } from './denial/cell.ts'
import { PATHS, type Path, TRANSPORTS, type Transport } from './denial/links.ts'
import { CHANNELS, DEFAULT_POLICY, POLICIES, type PolicyRow } from './denial/policies.ts'
import { World } from './denial/world.ts'

/** A worker reports so many refusals a minute and no more; the table causes hundreds. */
const world = await World.start({ workers: 4 })
t.teardown(() => world.stop())

const PARALLEL = 4

function wayFor(attempt: Attempt, cell: Cell): boolean {
  return attempt.needs === 'always' || (attempt.needs !== 'never' && cell.has(attempt.needs))
}

/** Tries everything in one session and compares what came of it. */
async function tryEverything(t: Test, policy: PolicyRow, transport: Transport, path: Path): Promise<void> {
  const cell = await world.openCell({ policy, transport, path, dynamicChannels: [DISPLAY_CONTROL] })
  try {
    t.same(new Set(cell.link.allowedChannels), cell.allowed, 'what the attachment may do')
    const words = new Map<Attempt, string>()
    const told: Record<string, string> = {}
    const wanted: Record<string, string> = {}
    for (const attempt of ATTEMPTS) {
      const word = newWord()
      words.set(attempt, word)
      told[attempt.name] = await attempt.act(cell, word)
      wanted[attempt.name] = attempt.told?.(cell) ?? ''
    }
    await cell.settle()
    t.same(told, wanted, 'what whoever tried was told')
    const arrived = (side: { saw(word: string): boolean }, direction: Attempt['direction']) =>
      ATTEMPTS.filter(attempt => attempt.direction === direction && side.saw(words.get(attempt) ?? '')).map(
        ({ name }) => name,
      )
    const due = (direction: Attempt['direction']) =>
      ATTEMPTS.filter(attempt => attempt.direction === direction && wayFor(attempt, cell)).map(({ name }) => name)
    t.same(arrived(cell.target, 'client_to_server'), due('client_to_server'), 'what reached the target')
    t.same(arrived(cell.link.client, 'server_to_client'), due('server_to_client'), 'what reached the client')
    t.same(cell.link.client.failure, undefined)
    t.notOk(cell.target.isClosed, 'the session goes on')
    const audit = [
      ...new Set(ATTEMPTS.map(attempt => attempt.audit?.(cell)).filter(words => words !== undefined)),
    ].sort()
    t.same(await world.auditOf(cell.link.sessionId, audit.length), audit, 'what the audit says, once each')
  } finally {
    cell.link.close()
  }
}

t.test('without a policy there is a picture and input and nothing else', async t => {
  await tryEverything(t, DEFAULT_POLICY, 'json_v1', 'direct')
})

t.test('every policy over every transport and path', async t => {
  await world.policies.organization(CHANNELS)
  t.jobs = PARALLEL
  const cells = POLICIES.flatMap(policy =>
    TRANSPORTS.flatMap(transport => PATHS.map(path => ({ policy, transport, path }))),
  ).filter(({ policy, transport }) => transport !== 'sdk json_v1' || policy.scope === 'organization')
  await Promise.all(
    cells.map(({ policy, transport, path }) =>
      t.test(`${policy.name}, ${transport}, ${path}`, { buffered: true }, async t => {
        await tryEverything(t, policy, transport, path)
      }),
    ),
  )
})
