import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ATTEMPTS, type Attempt, DISPLAY_CONTROL, openDynamic } from './denial/attempts.ts'
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

/** Names of the refused channels in docs/protocols/channels.md, of one kind. */
function refusedNames(kind: 'static' | 'dynamic'): string[] {
  const page = readFileSync(join(import.meta.dirname, '../docs/protocols/channels.md'), 'utf8')
  const rows = [...page.matchAll(new RegExp(`^\\| ${kind} \\| (.*?) \\| refused`, 'gm'))]
  const names = rows.flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name))
  return names.map(name => name.replace(/^…/, 'Microsoft::Windows::RDS::Video'))
}

t.test('no channel of the table of refusals opens, and each is in the audit once a session', async t => {
  const policy = POLICIES[0] as PolicyRow
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
    resourceId: await world.newResource(policy),
    transport: 'json_v1',
    path: 'direct',
    channels,
    dynamicChannels: dynamicNames,
  })
  for (const attachment of ['first', 'second']) {
    const cell = await world.cellOf(link, policy)
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
