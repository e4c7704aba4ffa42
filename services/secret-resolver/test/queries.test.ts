import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Sql } from '@rap/service-kit'
import t, { type Test } from 'tap'
import type { Db } from '../src/database.ts'
import { InstanceRecord, selectInstances } from '../src/master-keys/instances.ts'
import { listRewraps, orderRewrap, readRewrap, workOnRewrap } from '../src/master-keys/jobs.ts'
import { START, selectSecretOf, WRAPPED_TABLES } from '../src/master-keys/rewrap-rows.ts'
import * as masterKeys from '../src/master-keys/store.ts'
import { readyCheck } from '../src/readiness.ts'
import { readState, selectMetadataPayload, spendToken, sweepJtis } from '../src/resolve/place.ts'
import { listRevocations } from '../src/revocations.ts'
import {
  activeSealingJwk,
  eraseOldSealingKeys,
  selectActiveSealingKey,
  selectOpeningKey,
  selectSealingKeyOf,
} from '../src/sealing/store.ts'
import { secretRefOf } from '../src/secrets/secret-ref.ts'
import * as secrets from '../src/secrets/store.ts'
import { silent, startDatabase } from './support/database.ts'
import { testKeys } from './support/keys.ts'
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
  insert into rap.session_attachments (organization_id, session_id, ordinal, worker_id, lease_id, dpop_jkt, allowed_channels, limits)
  select organization_id, id, 1, ${worker_id}, gen_random_uuid(), ${'A'.repeat(43)}, '{display}', '{}'
  from rap.remote_sessions where id <> ${place.session_id}`
await superuser`
  insert into rap.workers (id, name, public_url, certificate_thumbprint)
  select gen_random_uuid(), 'worker', 'wss://worker.example.test/data-plane/v1', ${'A'.repeat(43)}
  from generate_series(1, 2000)`
await superuser`
  insert into rap.platform_authorities (generation, state, root_certificate, intermediate_certificate, intermediate_wrapped_key)
  values (1, 'active', '', '', '{}')`
await superuser`
  insert into rap.identities (kind, id, name) select 'service', 's' || n, 'service' from generate_series(1, 2000) as n`
await superuser`
  insert into rap.issued_certificates (serial, kind, identity_id, generation, thumbprint, reason, not_before, not_after)
  select to_hex(n), 'service', 's' || n, 1, lpad(n::text, 43, 'A'), 'enrolment', now(), now() + interval '1 day'
  from generate_series(1, 2000) as n`
await superuser`vacuum analyze`

function nodesOf(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]
}

/** A statement as its source has it, with `?` for each value. */
const plain = (parts: readonly string[]) => parts.join('?').replaceAll(/\s+/g, ' ').trim()

/** What was explained so far, each statement once. */
const explained = new Map<string, Plan[]>()

async function explain(statement: string, query: unknown): Promise<void> {
  if (explained.has(statement)) return
  const [row] = await resolver<{ 'QUERY PLAN': [{ Plan: Plan }] }[]>`explain (format json) ${query as never}`
  explained.set(statement, nodesOf(row!['QUERY PLAN'][0].Plan))
}

/** The pool, or a transaction of it; every statement that goes through it is explained with its own values as well. */
function explaining<S extends Db>(db: S, pending: Promise<void>[]): S {
  return new Proxy(db, {
    apply(target, self, args: [readonly string[], ...unknown[]]) {
      const isStatement = Array.isArray(args[0]) && 'raw' in args[0]
      const statement = isStatement ? plain(args[0]) : ''
      // Parts of a statement come through here too; a statement begins with its verb.
      if (/^(select|insert|update|delete|with)\b/.test(statement)) {
        pending.push(explain(statement, Reflect.apply(resolver as never, self, args)))
      }
      return Reflect.apply(target as never, self, args)
    },
    get(target, name) {
      if (name !== 'begin') return Reflect.get(target, name)
      return (act: (tx: Db) => unknown) => (target as unknown as Sql).begin(tx => act(explaining(tx, pending)))
    },
  })
}

/** Explains every statement that `act` builds, run or not; answers their plans. */
async function plansOf(act: (sql: Sql) => unknown): Promise<Map<string, Plan[]>> {
  const pending: Promise<void>[] = []
  const before = new Set(explained.keys())
  const result = act(explaining(resolver, pending))
  // A query runs when it is waited for; those of the stores are only built here.
  if (result instanceof Promise && Object.getPrototypeOf(result) === Promise.prototype) await result
  await Promise.all(pending)
  return new Map([...explained].filter(([statement]) => !before.has(statement)))
}

async function usesIndexes(t: Test, name: string, act: (sql: Sql) => unknown, indexes: readonly string[]) {
  const plans = await plansOf(act)
  t.ok(plans.size > 0, `${name} asks something that was not asked yet`)
  const nodes = [...plans.values()].flat()
  const whole = nodes.filter(node => node['Node Type'] === 'Seq Scan').map(node => node['Relation Name'])
  t.strictSame(whole, [], `${name} reads no table as a whole`)
  const used = nodes.flatMap(node => node['Index Name'] ?? [])
  for (const index of indexes) t.ok(used.includes(index), `${name} uses ${index}: ${used.join(', ')}`)
}

const ref = secretRefOf(owner.organization_id, resource_id)
const { user_id: _, ...ids } = place
const claims = { ...ids, jti: randomUUID(), exp: 1, iat: 1, nbf: 1, iss: '', aud: '', cnf: { 'x5t#S256': '' } }
const keys = testKeys(['key-1'])
const event = {
  organization_id: null,
  event: 'resource_secret_accessed',
  actor: { kind: 'worker', id: worker_id },
  outcome: 'ok',
} as const

t.test('every query of a request is answered by an index', async t => {
  await usesIndexes(t, 'readState', sql => readState(sql, claims), [
    'workers_pkey',
    'remote_sessions_pkey',
    'session_attachments_pkey',
    'resources_pkey',
    'resource_secrets_one_live',
    'lease_token_jtis_pkey',
  ])
  await usesIndexes(t, 'spendToken', sql => spendToken(sql, claims, event), [])
  await usesIndexes(t, 'selectMetadataPayload', sql => selectMetadataPayload(sql, resource_id), ['resources_pkey'])
  await usesIndexes(t, 'selectLiveMetadata', sql => secrets.selectLiveMetadata(sql, ref), ['resource_secrets_one_live'])
  await usesIndexes(t, 'selectNewest', sql => secrets.selectNewest(sql, ref), ['resource_secrets_pkey'])
  await usesIndexes(t, 'selectSuperseded', sql => secrets.selectSuperseded(sql, ref, 1), [])
  await usesIndexes(t, 'selectVersions', sql => secrets.selectVersions(sql, ref, 1000), ['resource_secrets_pkey'])
  await usesIndexes(t, 'supersedeVersion', sql => secrets.supersedeVersion(sql, ref, 2), [])
  const envelope = { ciphertext: Buffer.alloc(32), nonce: Buffer.alloc(12), keyId: 'key-1', sealedKeyId: 'key-1' }
  const rest = { algorithm: 'AES-256-GCM', wrappedDataKey: Buffer.alloc(32), payloadSha256: '0'.repeat(64) }
  const version = {
    secretRef: ref,
    organizationId: owner.organization_id,
    resourceId: resource_id,
    version: 3,
    envelope: { ...envelope, ...rest },
    createdBy: owner.user_id,
  }
  await usesIndexes(t, 'insertVersion', sql => secrets.insertVersion(sql, version), [])
  await usesIndexes(t, 'destroyAll', sql => secrets.destroyAll(sql, ref), [])
  await usesIndexes(t, 'destroyBeyond', sql => secrets.destroyBeyond(sql, ref, 20), [])
  await usesIndexes(t, 'selectResource', sql => secrets.selectResource(sql, owner.organization_id, resource_id), [])
  await usesIndexes(t, 'selectActiveSealingKey', selectActiveSealingKey, ['sealing_keys_one_active'])
  await usesIndexes(t, 'selectOpeningKey', sql => selectOpeningKey(sql, 'A'.repeat(43), new Date()), [
    'sealing_keys_pkey',
  ])
})

t.test('the register of revocations, which is read each second, is read by its indexes', async t => {
  await usesIndexes(t, 'listRevocations', listRevocations, [
    'workers_revoked',
    'identities_revoked',
    'issued_certificates_revoked',
  ])
})

t.test('every query of a sweep or a re-wrap is answered by an index', async t => {
  await usesIndexes(t, 'sweepJtis', sweepJtis, ['lease_token_jtis_expires_at'])
  await usesIndexes(t, 'destroyExpired', sql => secrets.destroyExpired(sql, new Date()), [
    'resource_secrets_superseded',
  ])
  const at = { keyId: 'key-1', after: START, limit: 64 }
  const [, table] = WRAPPED_TABLES
  const byKey = ['resource_secrets_undestroyed_key']
  await usesIndexes(
    t,
    'the rows of a key, locked',
    async sql => {
      await sql.begin(async tx => {
        await table?.take(tx, at)
      })
    },
    byKey,
  )
  await usesIndexes(
    t,
    'the rows of a key',
    async sql => {
      await table?.read(sql, at)
    },
    byKey,
  )
})

/** Statements that may read a table as a whole, by how they begin, and why they may. */
const MAY_READ_ALL: readonly (readonly [start: string, reason: string])[] = [
  ['select 1 from secrets.resource_secrets limit 0', 'reads no row'],
  [
    'select secret_ref, organization_id, resource_id, version, sealed_key_id, wrapped_data_key from secrets.resource_secrets where key_id = ? and destroyed_at is null limit 1',
    'stops at the first row: of a key with many rows that is soon, of one with few the index is used',
  ],
  [
    'select key_id, sum(secrets)::int',
    'counts every row by key: for operators and the start, never for a request of a worker',
  ],
  [
    'select kid, wrapped_private_key, key_id, created_at from secrets.sealing_keys where key_id',
    'one sealing key in 90 days',
  ],
  ['select kid, wrapped_private_key from secrets.sealing_keys', 'one sealing key in 90 days'],
  ['update secrets.sealing_keys', 'one sealing key in 90 days'],
  [
    'update secrets.resource_secrets s set key_id',
    'joins the rows of one batch, by their primary key when the table is large',
  ],
]
/** Tables of few rows: keys, running resolvers, jobs; and the system's catalogue. */
const SMALL = /^(master_keys|resolver_instances|rewrap_jobs|pg_.*)$/

t.test(
  'every other statement is explained too, and reads a large table as a whole for a known reason only',
  async t => {
    const key = { key_id: 'key-2', source: 'key-2', check_value: Buffer.alloc(1) }
    await plansOf(async sql => {
      await readyCheck({ sql, redis: { ping: async () => 'PONG' } as never, keys })()
      await eraseOldSealingKeys({ sql, now: () => new Date() })
      await activeSealingJwk({ sql, keys, now: () => new Date() })
      const instance = new InstanceRecord(sql)
      await instance.beat(['key-1'])
      await instance.remove()
      const { id } = await orderRewrap({ sql }, { userId: owner.user_id, requestId: 'request-1' })
      await readRewrap(sql, id)
      await listRewraps(sql)
      await superuser`update secrets.resource_secrets set key_id = 'key-1'`
      await workOnRewrap({ sql, keys, logger: silent })
      await masterKeys.insertMasterKey(sql, key)
      await masterKeys.completeMasterKey(sql, key)
      await masterKeys.markRetired(sql, key.key_id)
      await sql.begin(async tx => {
        await masterKeys.lockRotation(tx)
        await masterKeys.holdActiveKey(tx, 'key-1')
        await masterKeys.activate(tx, 'key-1')
        for (const table of WRAPPED_TABLES) {
          await table.take(tx, { keyId: 'key-1', after: START, limit: 1 })
          await table.read(tx, { keyId: 'key-1', after: START, limit: 1 })
          await table.put(tx, 'key-1', [])
        }
      })
    })
    for (const build of [
      selectInstances,
      masterKeys.selectMasterKeys,
      (sql: Db) => masterKeys.selectMasterKey(sql, 'key-1'),
      (sql: Db) => masterKeys.lockMasterKey(sql, 'key-1'),
      masterKeys.selectActiveKey,
      masterKeys.selectKeyUses,
      (sql: Db) => selectSealingKeyOf(sql, 'key-1'),
      (sql: Db) => selectSecretOf(sql, 'key-1'),
    ]) {
      await plansOf(build)
    }
    for (const [statement, nodes] of explained) {
      const whole = nodes
        .filter(node => node['Node Type'] === 'Seq Scan' && !SMALL.test(node['Relation Name'] ?? ''))
        .map(node => node['Relation Name'])
      const reason = MAY_READ_ALL.find(([start]) => statement.startsWith(start))
      if (reason === undefined) t.strictSame(whole, [], statement.slice(0, 80))
    }
  },
)

/** Every SQL statement of a source text, as `plain` writes it. */
function statementsIn(source: string): string[] {
  return [...source.matchAll(/\b(?:sql|tx)(?:<[^`;]*?>)?`/g)].map(({ 0: tag, index }) => {
    let text = ''
    for (let at = index + tag.length; source[at] !== '`'; at++) {
      if (!source.startsWith('${', at)) text += source[at]
      else {
        let depth = 0
        do depth += { '{': 1, '}': -1 }[source[at++] as string] ?? 0
        while (depth > 0 || source[at - 1] === '$')
        at -= 1
        text += '?'
      }
    }
    return plain([text])
  })
}

t.test('there is no statement in the sources that was not explained', async t => {
  const folder = join(import.meta.dirname, '../src')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))
  const statements = files.flatMap(name =>
    statementsIn(readFileSync(join(folder, name), 'utf8')).map(text => ({ name, text })),
  )
  t.ok(statements.length > 40, `${statements.length} statements`)
  for (const { name, text } of statements) {
    if (!/^(select|insert|update|delete|with)\b/.test(text))
      t.match(text, /^(for update skip locked)?$/, `${name}: a part`)
    else t.ok(explained.has(text), `${name}: ${text.slice(0, 100)}`)
  }
})
