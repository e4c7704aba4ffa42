import { randomUUID } from 'node:crypto'
import t from 'tap'
import { SEALING_KEY_GRACE_MS, SEALING_KEY_MAX_AGE_MS } from '../src/sealing/sealing-key.ts'
import { activeSealingJwk } from '../src/sealing/store.ts'
import { startSweeper, sweep } from '../src/sweeper.ts'
import { silent, startDatabase } from './support/database.ts'
import { testKeys, useKeys } from './support/keys.ts'

const { resolver: sql } = await startDatabase(t, { withoutControlPlane: true })

t.test('a sweep forgets long expired tokens, keeps the others, and erases old sealing keys', async t => {
  const use = (age: string) => sql`
    insert into secrets.lease_token_jtis (jti, lease_id, worker_id, expires_at)
    values (${`${age}-${randomUUID()}`}, ${randomUUID()}, ${randomUUID()}, now() - ${age}::interval)`
  for (const age of ['16 minutes', '2 days', '14 minutes', '-2 minutes']) await use(age)
  let now = new Date()
  const deps = { sql, keys: testKeys(), now: () => now, versionRetentionMs: 0, logger: silent }
  await useKeys(sql, deps.keys)
  await activeSealingJwk(deps)
  now = new Date(now.getTime() + SEALING_KEY_MAX_AGE_MS)
  await activeSealingJwk(deps)
  now = new Date(now.getTime() + SEALING_KEY_GRACE_MS)
  await sweep(deps)
  const left = await sql<{ jti: string }[]>`select jti from secrets.lease_token_jtis order by expires_at`
  t.strictSame(
    left.map(({ jti }) => jti.split('-').slice(0, -5).join('-')),
    ['14 minutes', '-2 minutes'],
  )
  t.match(await sql`select count(*)::int from secrets.sealing_keys where destroyed_at is null`, [{ count: 1 }])
})

t.test('a sweeper ends with its round, and a failing round ends nothing', async t => {
  const broken = Object.assign(() => Promise.reject(new Error('database is away')), {}) as never
  const sweeper = startSweeper({ sql: broken, now: () => new Date(), versionRetentionMs: 0, logger: silent })
  await t.resolves(sweeper.stop())
})
