import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ConfiguredSources, KeyRing } from '@rap/key-provider'
import { tempDir } from '@rap/testkit'
import t, { type Test } from 'tap'
import type { KeyActor } from '../../src/master-keys/audit.ts'
import { InstanceRecord } from '../../src/master-keys/instances.ts'
import { activateConfigured, registerSources } from '../../src/master-keys/register.ts'
import { retireKey } from '../../src/master-keys/retire.ts'
import { rewrap } from '../../src/master-keys/rewrap.ts'
import { createKey, rotateKey } from '../../src/master-keys/rotate.ts'
import { activeKeyId, selectMasterKeys } from '../../src/master-keys/store.ts'
import { sealEnvelope } from '../../src/secrets/envelope.ts'
import { secretRefOf } from '../../src/secrets/secret-ref.ts'
import { insertVersion } from '../../src/secrets/store.ts'
import { silent, startDatabase } from '../support/database.ts'
import { keepSecrets, lostOf } from '../support/keep.ts'
import { testKeys, useKeys } from '../support/keys.ts'

const { resolver: sql, superuser } = await startDatabase(t)
const ACTOR: KeyActor = { actor: { kind: 'user', id: randomUUID() }, requestId: 'request-1' }

/** An empty registry with these keys known and the first one active. */
async function fresh(...names: string[]): Promise<KeyRing> {
  await superuser`truncate secrets.rewrap_jobs, secrets.resource_secrets, secrets.sealing_keys, secrets.master_keys,
    secrets.resolver_instances`
  const keys = testKeys(names)
  await useKeys(sql, keys, names[0])
  return keys
}

const stateOf = async (keyId: string) => (await selectMasterKeys(sql)).find(key => key.key_id === keyId)?.state
const events = async () =>
  await superuser`
    select event, outcome, code, actor_kind, actor_id, organization_id, request_id, details
    from rap.audit_events where event like 'secret_key_%' order by id`
const lastEvent = async () => ({ ...(await events()).at(-1) })

async function running(t: Test, ...sources: string[]): Promise<void> {
  const instance = new InstanceRecord(sql)
  await instance.beat(sources)
  t.teardown(() => instance.remove())
}

t.test('a rotation makes another key active, and is audited with the ids of both', async t => {
  const keys = await fresh('key-1', 'key-2')
  await running(t, 'key-1', 'key-2')
  t.strictSame(await rotateKey('key-2', { sql, keys }, ACTOR), { previous_key_id: 'key-1', active_key_id: 'key-2' })
  t.equal(await activeKeyId(sql), 'key-2')
  t.equal(await stateOf('key-1'), 'available')
  t.match(await lastEvent(), {
    event: 'secret_key_activated',
    outcome: 'ok',
    actor_kind: 'user',
    actor_id: ACTOR.actor.id,
    organization_id: null,
    request_id: 'request-1',
    details: { key_id: 'key-2', previous_key_id: 'key-1' },
  })
  t.strictSame(await rotateKey('key-1', { sql, keys }, ACTOR), { previous_key_id: 'key-2', active_key_id: 'key-1' })
})

t.test('a rotation waits for no one: a resolver without the key is named, and nothing changes', async t => {
  const keys = await fresh('key-1', 'key-2')
  await running(t, 'key-1')
  const refused = rotateKey('key-2', { sql, keys }, ACTOR)
  await t.rejects(refused, { code: 'ERR_MASTER_KEY_NOT_EVERYWHERE', extras: { missing_on: [/:\d+$/] } })
  t.equal(await activeKeyId(sql), 'key-1')
  await superuser`update secrets.resolver_instances set seen_at = now() - interval '46 seconds'`
  await t.resolves(rotateKey('key-2', { sql, keys }, ACTOR), 'one that was not heard of for long is gone')
})

t.test('a source that is not there, an active key and a retired one are refused by code', async t => {
  const keys = await fresh('key-1', 'key-2')
  await t.rejects(rotateKey('key-9', { sql, keys }, ACTOR), { code: 'ERR_MASTER_KEY_SOURCE_UNKNOWN' })
  await t.rejects(rotateKey('key-1', { sql, keys }, ACTOR), { code: 'ERR_MASTER_KEY_ALREADY_ACTIVE' })
  await retireKey('key-2', { sql }, ACTOR)
  await t.rejects(rotateKey('key-2', { sql, keys }, ACTOR), { code: 'ERR_MASTER_KEY_RETIRED' })
})

t.test('a key whose bytes are not those that were made known does not become active', async t => {
  await fresh('key-1', 'key-2')
  const others = testKeys(['key-1', 'key-2'])
  await t.rejects(rotateKey('key-2', { sql, keys: others }, ACTOR), { code: 'ERR_KEY_UNWRAP_FAILED' })
  t.equal(await activeKeyId(sql), 'key-1')
})

t.test('a key that is active or in use is not retired, and each try is audited', async t => {
  const keys = await fresh('key-1', 'key-2')
  const kept = await keepSecrets(sql, keys, { count: 3, keyId: 'key-1' })
  await t.rejects(retireKey('key-1', { sql }, ACTOR), { code: 'ERR_MASTER_KEY_ACTIVE' })
  t.match(await lastEvent(), { event: 'secret_key_retire_refused', outcome: 'refused', code: 'ERR_MASTER_KEY_ACTIVE' })
  await rotateKey('key-2', { sql, keys }, ACTOR)
  await t.rejects(retireKey('key-1', { sql }, ACTOR), {
    code: 'ERR_MASTER_KEY_IN_USE',
    extras: { key_id: 'key-1', secrets: 3, sealing_keys: 0 },
  })
  await t.rejects(retireKey('key-9', { sql }, ACTOR), { code: 'ERR_MASTER_KEY_UNKNOWN' })
  await superuser`update secrets.resource_secrets set superseded_at = now()`
  await t.rejects(retireKey('key-1', { sql }, ACTOR), { code: 'ERR_MASTER_KEY_IN_USE' }, 'older versions count')
  await superuser`update secrets.resource_secrets set superseded_at = null`
  await rewrap({ sql, keys })
  t.strictSame(await retireKey('key-1', { sql }, ACTOR), { key_id: 'key-1' })
  t.match(await lastEvent(), { event: 'secret_key_retired', outcome: 'ok', details: { key_id: 'key-1' } })
  t.equal(await stateOf('key-1'), 'retired')
  const count = (await events()).length
  t.strictSame(await retireKey('key-1', { sql }, ACTOR), { key_id: 'key-1' }, 'again is the same')
  t.equal((await events()).length, count)
  t.strictSame(await lostOf(sql, keys, kept), [])
})

t.test('nobody wraps with a key between the count and its retirement', async t => {
  const keys = await fresh('key-1', 'key-2')
  await rotateKey('key-2', { sql, keys }, ACTOR)
  const [organizationId, resourceId] = [randomUUID(), randomUUID()]
  const place = { organizationId, resourceId, secretRef: secretRefOf(organizationId, resourceId), version: 1 }
  const envelope = await sealEnvelope(Buffer.from('x'), place, { keys, keyId: 'key-1' })
  // A writer that is late has its row in an open transaction.
  let retiring: Promise<unknown> | undefined
  await sql.begin(async tx => {
    await insertVersion(tx, { ...place, envelope, createdBy: organizationId })
    retiring = retireKey('key-1', { sql }, ACTOR)
    retiring.catch(() => {})
    const blocked = async () => {
      const [row] = await superuser`
        select count(*)::int as count from pg_stat_activity where wait_event_type = 'Lock' and query like '%master_keys%'`
      return row?.count > 0
    }
    while (!(await blocked())) await new Promise(done => setImmediate(done))
  })
  await t.rejects(retiring as Promise<unknown>, { code: 'ERR_MASTER_KEY_IN_USE' })
})

t.test("the environment's key becomes active once, as soon as every resolver has it", async t => {
  const keys = await fresh('key-1', 'key-2')
  await running(t, 'key-1')
  t.equal(await activateConfigured('key-1', { sql, keys }), 'active_already')
  t.equal(await activateConfigured('key-2', { sql, keys }), 'waits_for_instances')
  t.equal(await activeKeyId(sql), 'key-1')
  await superuser`truncate secrets.resolver_instances`
  await running(t, 'key-1', 'key-2')
  t.equal(await activateConfigured('key-2', { sql, keys }), 'activated')
  t.match(await lastEvent(), { event: 'secret_key_activated', actor_kind: 'service', actor_id: 'secret-resolver' })
  t.equal(
    await activateConfigured('key-1', { sql, keys }),
    'was_active_before',
    'an old environment does not turn it back',
  )
  t.equal(await activeKeyId(sql), 'key-2')
})

t.test('instances that start at once on an empty database agree on the key', async t => {
  const keys = await fresh('key-1')
  await superuser`truncate secrets.master_keys cascade`
  const starts = await Promise.all(Array.from({ length: 6 }, () => activateConfigured('key-1', { sql, keys })))
  t.strictSame(starts.filter(outcome => outcome === 'activated').length, 1)
  t.equal((await selectMasterKeys(sql)).length, 1)
})

t.test('a source that cannot be used now is told and left, and the others are known', async t => {
  await fresh('key-1')
  const dir = tempDir('rap-keys-')
  t.teardown(() => dir.remove())
  const file = join(dir.path, 'later.key')
  const path = join(dir.path, 'providers.json')
  writeFileSync(path, JSON.stringify({ keys: [{ name: 'later', provider: 'file', file }] }), { mode: 0o600 })
  const sources = new ConfiguredSources(path, { isDevelopment: false })
  const keys = new KeyRing(await sources.load())
  const told: unknown[] = []
  const logger = { warn: (trouble: object) => told.push(trouble) }
  t.strictSame(await registerSources({ sql, keys, logger }), [])
  t.match(told, [{ event: 'key_source_unusable', name: 'later', reason: 'ERR_KEY_FILE_UNREADABLE' }])

  t.strictSame(await createKey('later', { sql, keys }, ACTOR), { key_id: 'later' })
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.match(await lastEvent(), { event: 'secret_key_created', details: { key_id: 'later' } })
  t.strictSame(await registerSources({ sql, keys, logger: silent }), ['later'])
  await t.rejects(createKey('later', { sql, keys }, ACTOR), { code: 'ERR_KEY_EXISTS' }, 'a key is never written over')
  t.strictSame(await rotateKey('later', { sql, keys }, ACTOR), { previous_key_id: 'key-1', active_key_id: 'later' })
  t.ok(existsSync(file))
})

t.test('a file that comes later is a key as soon as it is there', async t => {
  const dir = tempDir('rap-keys-')
  t.teardown(() => dir.remove())
  const file = join(dir.path, 'later.key')
  const path = join(dir.path, 'providers.json')
  writeFileSync(path, JSON.stringify({ keys: [{ name: 'later', provider: 'file', file }] }), { mode: 0o600 })
  const keys = new KeyRing(await new ConfiguredSources(path, { isDevelopment: false }).load())
  t.notOk(keys.has('later'))
  writeFileSync(file, randomBytes(32), { mode: 0o600 })
  await registerSources({ sql, keys, logger: silent })
  t.ok(keys.has('later'))
})
