import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type PlatformWorker, type Service, startPlatform, startShadow, targetOf, waitFor } from '@rap/testkit'
import t from 'tap'
import { shownBy } from './smoke/certificates.ts'
import { type LiveDesktop, newClient, openDesktop } from './smoke/client.ts'

const PASSWORD = 'identities-Pa55phrase'
const SETTLE_MS = 30_000

const desktop = await startShadow({ username: 'person', password: PASSWORD, security: 'nla' })
t.teardown(() => desktop.stop())
const poll = { RAP_IDENTITY_POLL_SECONDS: '1' }
const platform = await startPlatform({
  identities: 'enrolled',
  env: {
    'control-plane': { CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES: '0' },
    'secret-resolver': poll,
    gateway: poll,
    'rdp-worker': poll,
  },
  targets: [
    targetOf(desktop, { name: 'Desktop', credential: { username: 'person', password: PASSWORD }, security: 'nla' }),
  ],
})
t.teardown(() => platform.stop())
const resourceId = platform.resources[0]?.id ?? ''
const worker = platform.workers[0] as PlatformWorker
const { signed } = await platform.api.call<{ signed: unknown }>('GET', '/v1/trust-bundle')
const client = await newClient(platform, { first: { document: signed } })

const identityFile = (id: string): string => join(dirname(dirname(platform.caFile)), id, 'identity.pem')
const certificateOf = async (url: string): Promise<string> =>
  (await shownBy(url, platform.authority.certificatePem)).leaf.fingerprint256

/** What a service says of itself. */
async function readiness(service: Service): Promise<Record<string, string>> {
  const line =
    service
      .log()
      .split('\n')
      .findLast(text => text.includes('service_ready')) ?? '{}'
  const answer = await fetch(`${JSON.parse(line).health_url}/readyz`)
  return ((await answer.json()) as { checks: Record<string, string> }).checks
}

/** Something is typed, and something comes back. */
async function isUp(live: LiveDesktop): Promise<boolean> {
  const { updates } = live.client
  const seen = updates.fastPath + updates.slowPath
  live.client.typeLine('true')
  await waitFor(() => updates.fastPath + updates.slowPath > seen, { what: 'updates', timeoutMs: SETTLE_MS })
  return live.ended() === undefined
}

t.test('a desktop outlives renewal after renewal, and new sessions start on every new certificate', async t => {
  const live = await openDesktop(client, resourceId)
  t.equal(live.connection.path, 'direct')
  const seen = [await certificateOf(worker.url)]
  await platform.api.call('POST', '/v1/platform-ca/stage', { body: {} })
  for (const step of ['activate', 'rollback', 'activate']) {
    await platform.api.call('POST', `/v1/platform-ca/${step}`, { body: {} })
    const next = await waitFor(
      async () => {
        const now = await certificateOf(worker.url)
        return seen.includes(now) ? undefined : now
      },
      { what: `the certificate after ${step}`, timeoutMs: SETTLE_MS },
    )
    seen.push(next)
    t.ok(await isUp(live), `the desktop after ${step}`)
    const { session, connection } = await openDesktop(client, resourceId)
    t.equal(connection.path, 'direct', `a new session after ${step}`)
    await session.terminate()
  }
  t.equal(new Set(seen).size, 4)
  for (const service of [worker, platform.secretResolver, platform.gateway as Service]) {
    t.equal((await readiness(service)).identity, 'ok', service.name)
  }
  const inFile = readFileSync(identityFile(worker.id), 'utf8')
  t.match(inFile, /^-----BEGIN PRIVATE KEY-----/, 'the newest is on the disk, as one file')
  await live.session.terminate()
})

t.test('a control plane that is away ends no desktop, and nobody asks for anything twice', async t => {
  const live = await openDesktop(client, resourceId)
  const before = await certificateOf(worker.url)
  await platform.controlPlane.crash()
  const polls = () => worker.log().split('identity_poll_failed').length
  const at = polls()
  await waitFor(() => polls() >= at + 2, { what: 'polls that find nobody', timeoutMs: SETTLE_MS })
  t.ok(await isUp(live))
  await platform.controlPlane.restart()
  await waitFor(async () => (await readiness(worker)).control_plane === 'ok', {
    what: 'the worker',
    timeoutMs: SETTLE_MS,
  })
  t.ok(await isUp(live))
  t.equal(await certificateOf(worker.url), before)
  await live.session.terminate()
})

t.test('a process that is killed comes back with the certificate that is on the disk', async t => {
  const before = await certificateOf(worker.url)
  await worker.crash()
  await worker.restart()
  t.equal(await certificateOf(worker.url), before)
  t.equal((await readiness(worker)).identity, 'ok')
})

t.test('a broken identity ends a start with 78, the name of the file and the remedy, and shows no key', async t => {
  const file = identityFile('gateway')
  const gateway = platform.gateway as Service
  const good = readFileSync(file, 'utf8')
  const foreign = readFileSync(identityFile('secret-resolver'), 'utf8')
  for (const [title, content] of [
    ['truncated', good.slice(0, 200)],
    ['of another service', foreign],
    [
      'a key of somebody else',
      good.slice(0, good.indexOf('-----BEGIN CERT')) + foreign.slice(foreign.indexOf('-----BEGIN CERT')),
    ],
  ] as const) {
    await gateway.stop()
    writeFileSync(file, content)
    const from = gateway.log().length
    await t.rejects(gateway.restart(), { name: 'TestkitError', facts: { exitCode: 78 } }, title)
    const said = gateway.log().slice(from)
    t.match(said, new RegExp(`^gateway: .*${file}.*RAP_JOIN_TOKEN_FILE`, 'm'), title)
    t.notMatch(said, /PRIVATE KEY/, title)
  }
  writeFileSync(file, good)
  await gateway.restart()
  t.equal((await readiness(gateway)).identity, 'ok')
})

t.test('no private key is in a log or in the database', async t => {
  const written = `${platform.logs()}${await platform.dumpDatabase()}`
  for (const id of ['gateway', 'secret-resolver', worker.id]) {
    const pem = readFileSync(identityFile(id), 'utf8')
    const key = pem.slice(pem.indexOf('\n') + 1, pem.indexOf('-----END')).replaceAll('\n', '')
    t.notOk(written.includes(key.slice(40, 120)), id)
  }
})
