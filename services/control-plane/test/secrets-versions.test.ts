import { findSecret, newCanary, startPlatform } from '@rap/testkit'
import t from 'tap'

/** The history of a secret with the real secret-resolver behind the control plane. */
const platform = await startPlatform({ workers: 0, gateway: 'none' })
t.teardown(() => platform.stop())
const { api } = platform

interface Version {
  readonly version: number
  readonly state: string
  readonly payload_sha256: string
  readonly superseded_at: string | null
  readonly destroyed_at: string | null
}
type Problem = { code: string; current_version?: number }

/** A resource with as many versions of its secret as there are passwords. */
async function written(name: string, passwords: readonly string[]) {
  const resource = await api.call<{ id: string; organization_id: string }>('POST', '/v1/resources', {
    body: { organization_id: platform.organizationId, name, protocol: 'rdp', address: 'desktop.example:3389' },
  })
  for (const password of passwords) await api.writeSecret(resource, { username: 'u', password })
  const url = `/v1/resources/${resource.id}/secret`
  const rollback = (toVersion: number, expectedVersion?: number) =>
    api.send<Problem & Version>('POST', `${url}/rollback`, {
      body: { to_version: toVersion, ...(expectedVersion !== undefined && { expected_version: expectedVersion }) },
    })
  const versions = async () => (await api.call<{ items: Version[] }>('GET', `${url}/versions`)).items
  const states = async () => (await versions()).map(({ version, state }) => `${version} ${state}`)
  return { ...resource, url, rollback, versions, states }
}

t.test('a rollback is a new version with the content of an older one, and the audit says which', async t => {
  const canary = newCanary()
  const resource = await written('Rolled back', [canary, newCanary()])
  t.same(await resource.states(), ['2 live', '1 superseded'])
  const { status, body } = await resource.rollback(1, 2)
  t.equal(status, 200)
  t.match(body, { version: 3, created_by: /^[0-9a-f-]{36}$/ })
  t.same(await resource.states(), ['3 live', '2 superseded', '1 superseded'])
  t.match(await api.call('GET', resource.url), { version: 3 })
  const audit = await api.call<{ items: { event: string; details: object }[] }>(
    'GET',
    `/v1/audit-events?resource_id=${resource.id}`,
  )
  t.match(
    audit.items.find(({ event }) => event === 'resource_secret_rotated'),
    { details: { version: 3, previous_version: 2, rolled_back_to: 1 } },
  )
  for (const [place, text] of [
    ['the history', JSON.stringify(await resource.versions())],
    ['the database', await platform.dumpDatabase()],
    ['a log', platform.logs()],
    ['the audit', JSON.stringify(audit)],
  ] as const) {
    t.same(findSecret(text, canary), [], place)
  }
})

t.test('who has not seen the version in force does not roll back', async t => {
  const resource = await written('Seen', [newCanary(), newCanary()])
  const stale = await resource.rollback(1, 1)
  t.equal(stale.status, 409)
  t.match(stale.body, { code: 'ERR_SECRET_VERSION_CONFLICT', current_version: 2 })
  const both = await Promise.all([resource.rollback(1, 2), resource.rollback(1, 2)])
  t.same(both.map(({ status }) => status).sort(), [200, 409], 'of two at once one is first')
  t.same(await resource.states(), ['3 live', '2 superseded', '1 superseded'])
})

t.test('only an older version that is still there can be rolled back to', async t => {
  const resource = await written('Older', [newCanary(), newCanary()])
  for (const version of [2, 3, 2_147_483_646]) {
    const { status, body } = await resource.rollback(version)
    t.equal(status, 404, `version ${version}`)
    t.equal(body.code, 'ERR_SECRET_VERSION_NOT_FOUND', `version ${version}`)
  }
  for (const version of [0, -1, 1.5, 2_147_483_647]) t.equal((await resource.rollback(version)).status, 400)
})

t.test('a deleted secret cannot be rolled back to, and its resource stays without one', async t => {
  const resource = await written('Deleted', [newCanary(), newCanary()])
  t.equal((await api.send('DELETE', resource.url)).status, 204)
  t.same(await resource.states(), ['2 destroyed', '1 destroyed'])
  for (const version of await resource.versions()) t.type(version.destroyed_at, 'string')
  t.equal((await resource.rollback(1)).body.code, 'ERR_SECRET_VERSION_NOT_FOUND')
  t.equal((await resource.rollback(2, 0)).body.code, 'ERR_SECRET_VERSION_NOT_FOUND')
  t.match(await api.call('GET', `/v1/resources/${resource.id}`), { secret_ref: null })
})

t.test('a resource without a secret has an empty history, and one that is gone has none', async t => {
  const resource = await written('Empty', [])
  t.same(await resource.versions(), [])
  t.equal((await resource.rollback(1)).body.code, 'ERR_SECRET_VERSION_NOT_FOUND')
  t.equal((await api.send('DELETE', `/v1/resources/${resource.id}`)).status, 204)
  t.equal((await api.send('GET', `${resource.url}/versions`)).status, 404)
  t.equal((await resource.rollback(1)).status, 404)
})

t.test('without a time for rollbacks the version before is destroyed by the write itself', async t => {
  await platform.secretResolver.restart({ SECRET_VERSION_RETENTION_HOURS: '0' })
  const resource = await written('Not kept', [newCanary(), newCanary()])
  t.same(await resource.states(), ['2 live', '1 destroyed'])
  t.equal((await resource.rollback(1)).body.code, 'ERR_SECRET_VERSION_NOT_FOUND')
})
