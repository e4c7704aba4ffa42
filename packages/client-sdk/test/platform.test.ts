import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { findSecret, newCanary, type Platform, startPlatform, startShadow, waitFor } from '@rap/testkit'
import t from 'tap'
import { createRapClient, type RapClient, RapError, type Resource, type SessionEvent } from '../src/index.ts'

/** A client's first RDP bytes (MS-RDPBCGR §4.1.3), from the vectors of the wire package. */
const CONNECT_INITIAL = Buffer.from(
  readFileSync(join(import.meta.dirname, '../../rdp/vectors/mcs-connect-initial.hex'), 'utf8').replace(/#.*$|\s/gm, ''),
  'hex',
)

const password = newCanary()
const shadow = await startShadow({ username: 'operator', password, security: 'nla' })
t.teardown(() => shadow.stop())
const platform: Platform = await startPlatform()
t.teardown(() => platform.stop())

async function client(): Promise<RapClient> {
  const rap = createRapClient({ baseUrl: platform.apiUrl, trust: { caPem: platform.authority.certificatePem } })
  await rap.login(platform.admin)
  return rap
}

async function desktop(rap: RapClient, name: string, word = password): Promise<Resource> {
  const resource = await rap.resources.create({
    organizationId: platform.organizationId,
    name,
    address: `${shadow.host}:${shadow.port}`,
    metadata: {
      certificate_verification_mode: 'pinned',
      certificate_pins: [shadow.certificateFingerprint.replaceAll(':', '').toLowerCase()],
    },
  })
  await rap.resources.setSecret(resource.id, { username: 'operator', password: word }, { expectedVersion: 0 })
  return resource
}

t.test('a person, organizations, desktops and their secrets are what the API says', async t => {
  const rap = await client()
  t.match(await rap.me(), {
    email: platform.admin.email,
    memberships: [{ organization_id: platform.organizationId, role: 'owner' }],
  })
  t.match((await rap.organizations.list()).items, [{ id: platform.organizationId }])
  const resource = await desktop(rap, 'Listed')
  t.match(
    (await rap.resources.list({ organizationId: platform.organizationId })).items.map(({ name }) => name),
    ['Listed'],
  )
  t.match(await rap.resources.getSecretMetadata(resource.id), { version: 1, secret_ref: /^rap-secret:/ })
  await t.rejects(rap.resources.setSecret(resource.id, { username: 'a', password: 'b' }, { expectedVersion: 0 }), {
    code: 'ERR_SECRET_VERSION_CONFLICT',
  })
  t.match(await rap.resources.update(resource.id, { name: 'Renamed', labels: { site: 'a' } }), { name: 'Renamed' })
  await rap.resources.deleteSecret(resource.id, { expectedVersion: 1 })
  await rap.resources.delete(resource.id)
  await t.rejects(rap.resources.get(resource.id), { code: 'ERR_NOT_FOUND', status: 404 })
})

t.test('a desktop answers over the direct path and over the gateway, in both transports', async t => {
  const rap = await client()
  const { id: resourceId } = await desktop(rap, 'Paths')
  for (const path of ['auto', 'gateway'] as const) {
    for (const transport of ['binary_v1', 'json_v1'] as const) {
      const session = await rap.sessions.start({ resourceId, display: { width: 1024, height: 768 } })
      t.equal(session.record.state, 'ready')
      const connection = await session.connect({ path, transport })
      t.equal(connection.path, path === 'auto' ? 'direct' : 'gateway')
      t.match(connection.bound, { session_id: session.id, attachment_id: session.attachment.id })
      const writer = connection.stream.writable.getWriter()
      await writer.write(CONNECT_INITIAL)
      const reader = connection.stream.readable.getReader()
      const { value } = await reader.read()
      t.same([...(value ?? Buffer.alloc(0)).subarray(0, 2)], [3, 0], `${path} ${transport}: an MCS Connect Response`)
      t.match(await connection.close(), { orderly: true })
      await session.terminate()
      t.equal(session.record.state, 'terminated')
    }
  }
})

t.test('a wrong password is told with a code and a remedy', async t => {
  const rap = await client()
  const { id: resourceId } = await desktop(rap, 'Wrong', 'not the password')
  const error = await rap.sessions.start({ resourceId }).catch((caught: unknown) => caught)
  t.ok(error instanceof RapError)
  const { code, detail, remedy, sessionId } = error as RapError
  t.match(
    { code, detail, remedy, sessionId },
    { code: /^ERR_/, detail: /./, remedy: /./, sessionId: /^[0-9a-f-]{36}$/ },
  )
  t.match(await rap.sessions.get(sessionId ?? ''), { state: 'failed', failure: { code } })
})

t.test('a takeover by another client ends the first connection with its reason, and events tell of it', async t => {
  const rap = await client()
  const { id: resourceId } = await desktop(rap, 'Shared')
  const first = await rap.sessions.start({ resourceId })
  const states: string[] = []
  const following = (async () => {
    for await (const event of first.events() as AsyncIterable<SessionEvent>) states.push(event.session.state)
  })()
  const connection = await first.connect()
  await waitFor(() => states.includes('active'), { what: 'an event of the bind' })

  const other = await client()
  await t.rejects(other.sessions.attach(first.id), { code: 'ERR_SESSION_ATTACHED', status: 409 })
  const second = await other.sessions.attach(first.id, { takeover: true })
  t.match(await connection.closed, { reason: 'ERR_SESSION_TAKEN_OVER' })
  await t.rejects(connection.stream.readable.getReader().read(), { code: 'ERR_SESSION_TAKEN_OVER' })
  const again = await second.connect()
  t.equal(again.bound.session_id, first.id)
  await second.terminate()
  t.match(await again.closed, { reason: 'ERR_SESSION_TERMINATED' })
  await following
  t.equal(states.at(-1), 'terminated')
})

t.test('what the web component gets binds once, and only with its own proof', async t => {
  const rap = await client()
  const { id: resourceId } = await desktop(rap, 'Component')
  const session = await rap.sessions.start({ resourceId })
  const target = await session.rdCleanPath()
  t.match(target, { path: 'direct', proxyAddress: platform.workers[0]?.url })
  const gateway = await session.rdCleanPath({ path: 'gateway' })
  t.match(gateway, { path: 'gateway', proxyAddress: platform.gatewayUrl })
  t.not(gateway.authToken.split('~')[0], target.authToken.split('~')[0])
  await session.terminate()
})

t.test('the password is in no log', async t => {
  t.same(findSecret(platform.logs(), password), [])
})
