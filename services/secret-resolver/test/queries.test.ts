import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Db } from '../src/database.ts'
import { START, takeSecrets } from '../src/master-keys/rewrap-rows.ts'
import { selectState, spendToken } from '../src/resolve/place.ts'
import { selectActiveSealingKey, selectOpeningKey } from '../src/sealing/store.ts'
import { secretRefOf } from '../src/secrets/secret-ref.ts'
import {
  destroyAll,
  destroyBeyond,
  destroyExpired,
  selectLive,
  selectLiveMetadata,
  selectNewest,
  selectResource,
  selectSuperseded,
  selectVersions,
  supersedeVersion,
} from '../src/secrets/store.ts'
import { startDatabase } from './support/database.ts'
import { seedOrganization, seedResource, seedSession, seedWorker } from './support/seed.ts'

interface Plan {
  readonly 'Node Type': string
  readonly 'Relation Name'?: string
  readonly 'Index Name'?: string
  readonly Plans?: readonly Plan[]
}

const database = await startDatabase(t)
const { controlPlane, resolver, superuser } = database
const worker_id = randomUUID()
await seedWorker(controlPlane, worker_id)
const owner = await seedOrganization(controlPlane)
const resource_id = await seedResource(controlPlane, owner)
const place = await seedSession(controlPlane, { ...owner, resource_id, worker_id })

await superuser`insert into secrets.master_keys (key_id, source, state, activated_at) values ('key-1', 'key-1', 'active', now())`
// Enough rows that reading whole tables is what the planner would never choose by accident.
const ROWS = 20_000
await superuser`
  insert into secrets.resource_secrets (secret_ref, organization_id, resource_id, version, ciphertext, nonce, key_id,
    sealed_key_id, algorithm, wrapped_data_key, payload_sha256, created_by, superseded_at, destroyed_at)
  select 'rap-secret://org/' || id || '/resources/' || id || '/rdp-primary', id, id, version,
    case when version = 2 then decode(repeat('00', 64), 'hex') else '' end, decode(repeat('00', 12), 'hex'), 'key-1', 'key-1', 'AES-256-GCM',
    case when version = 2 then decode(repeat('00', 64), 'hex') else '' end, repeat('0', 64), id,
    case when version = 2 then null else now() end, case when version = 2 then null else now() end
  from (select gen_random_uuid() as id from generate_series(1, ${ROWS / 2})) ids, generate_series(1, 2) as version`
await superuser`
  insert into secrets.lease_token_jtis (jti, lease_id, worker_id, expires_at)
  select gen_random_uuid()::text, gen_random_uuid(), gen_random_uuid(), now() + (n || ' seconds')::interval
  from generate_series(1, ${ROWS}) as n`
await superuser`
  insert into secrets.sealing_keys (kid, wrapped_private_key, key_id, created_at, superseded_at, destroyed_at)
  select rpad(n::text, 43, 'A'), '', 'key-1', now(), now(), now() from generate_series(1, ${ROWS}) as n`
await superuser`
  insert into rap.resources (organization_id, name, protocol, address)
  select ${owner.organization_id}, 'target', 'rdp', 'target.example.test:3389' from generate_series(1, ${ROWS})`
await superuser`
  insert into rap.remote_sessions (organization_id, resource_id, user_id)
  select ${owner.organization_id}, ${resource_id}, ${owner.user_id} from generate_series(1, ${ROWS})`
await superuser`
  insert into rap.session_attachments (organization_id, session_id, ordinal, worker_id, lease_id, dpop_jkt, allowed_channels)
  select organization_id, id, 1, ${worker_id}, gen_random_uuid(), ${'A'.repeat(43)}, '{display}'
  from rap.remote_sessions where id <> ${place.session_id}`
await superuser`
  insert into rap.workers (id, name, public_url, certificate_thumbprint)
  select gen_random_uuid(), 'worker', 'wss://worker.example.test/data-plane/v1', ${'A'.repeat(43)}
  from generate_series(1, 2000)`
await superuser`vacuum analyze`

function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]
}

async function usesIndexes(t: Test, name: string, query: (sql: Db) => unknown, indexes: readonly string[]) {
  const [row] = await resolver<{ 'QUERY PLAN': [{ Plan: Plan }] }[]>`explain (format json) ${query(resolver) as never}`
  const nodes = nodesOf(row!['QUERY PLAN'][0].Plan)
  const whole = nodes.filter(node => node['Node Type'] === 'Seq Scan').map(node => node['Relation Name'])
  t.strictSame(whole, [], `${name} reads no table as a whole`)
  const used = nodes.flatMap(node => node['Index Name'] ?? [])
  for (const index of indexes) t.ok(used.includes(index), `${name} uses ${index}: ${used.join(', ')}`)
}

t.test('every query of a request is answered by an index', async t => {
  const ref = secretRefOf(owner.organization_id, resource_id)
  const { user_id: _, ...ids } = place
  const claims = { ...ids, jti: randomUUID(), exp: 1, iat: 1, nbf: 1, iss: '', aud: '', cnf: { 'x5t#S256': '' } }
  await usesIndexes(t, 'selectLive', sql => selectLive(sql, ref), ['resource_secrets_one_live'])
  await usesIndexes(t, 'selectLiveMetadata', sql => selectLiveMetadata(sql, ref), ['resource_secrets_one_live'])
  await usesIndexes(t, 'selectNewest', sql => selectNewest(sql, ref), ['resource_secrets_pkey'])
  await usesIndexes(t, 'selectSuperseded', sql => selectSuperseded(sql, ref, 1), [])
  await usesIndexes(t, 'selectVersions', sql => selectVersions(sql, ref), ['resource_secrets_pkey'])
  await usesIndexes(t, 'supersedeVersion', sql => supersedeVersion(sql, ref, 2), [])
  await usesIndexes(t, 'destroyAll', sql => destroyAll(sql, ref), [])
  await usesIndexes(t, 'destroyBeyond', sql => destroyBeyond(sql, ref, 20), [])
  await usesIndexes(t, 'destroyExpired', sql => destroyExpired(sql, new Date()), ['resource_secrets_superseded'])
  await usesIndexes(t, 'takeSecrets', sql => takeSecrets(sql, { keyId: 'key-1', after: START, limit: 64 }), [
    'resource_secrets_undestroyed_key',
  ])
  await usesIndexes(t, 'selectResource', sql => selectResource(sql, owner.organization_id, resource_id), [])
  await usesIndexes(t, 'selectState', sql => selectState(sql, claims), [
    'workers_pkey',
    'remote_sessions_pkey',
    'session_attachments_pkey',
    'resources_pkey',
  ])
  await usesIndexes(t, 'selectActiveSealingKey', selectActiveSealingKey, ['sealing_keys_one_active'])
  await usesIndexes(t, 'selectOpeningKey', sql => selectOpeningKey(sql, 'A'.repeat(43), new Date()), [
    'sealing_keys_pkey',
  ])
  const event = { event: 'resource_secret_accessed', actor: { kind: 'worker', id: worker_id }, outcome: 'ok' } as const
  await t.resolves(resolver`explain ${spendToken(resolver, claims, { ...event, organization_id: null }) as never}`)
})

t.test('the sweep finds expired tokens by their index', async t => {
  await usesIndexes(
    t,
    'sweepJtis',
    sql => sql`
      select jti from secrets.lease_token_jtis where expires_at < now() - interval '15 minutes'
      order by expires_at limit 5000`,
    ['lease_token_jtis_expires_at'],
  )
})
