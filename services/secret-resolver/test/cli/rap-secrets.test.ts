import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { InstanceRecord } from '../../src/master-keys/instances.ts'
import { activeKeyId } from '../../src/master-keys/store.ts'
import { type Kept, keepSecrets, lostOf } from '../support/keep.ts'
import { startToolStand } from '../support/tool.ts'

const { database, dir, keys, configure, run, stored } = await startToolStand(t)
const { resolver: sql, superuser, urls } = database

const events = async () =>
  await superuser`select event, outcome, actor_kind, actor_id, details from rap.audit_events where event like 'secret_key_%' order by id`

t.test('the whole way: list, rotate, plan, re-wrap, verify, retire', async t => {
  const kept = await keepSecrets(sql, keys, { count: 20, keyId: '2026-a' })
  const listed = await run(t, ['keys'])
  t.equal(listed.code, 0)
  t.match(listed.lines, [
    {
      event: 'keys',
      keys: [
        { key_id: '2026-a', state: 'active', provider: 'file', secrets: 20, opens: true },
        { key_id: '2026-b', state: 'available', provider: 'file', secrets: 0, opens: null },
      ],
    },
  ])
  t.match((await run(t, ['rotate-key', '2026-b'])).lines, [
    { event: 'key_rotated', previous_key_id: '2026-a', active_key_id: '2026-b', to_rewrap: 20 },
  ])
  const inUse = await run(t, ['retire-key', '2026-a'])
  t.equal(inUse.code, 1)
  t.match(inUse.lines, [{ event: 'failed', code: 'ERR_MASTER_KEY_IN_USE', facts: { secrets: 20 } }])
  t.match(inUse.output, /hint: {2}Re-wrap first/)
  t.match((await run(t, ['rewrap', '--dry-run'])).lines, [{ event: 'rewrap_plan', total: 20 }])
  const rewrapped = await run(t, ['rewrap'])
  t.equal(rewrapped.code, 0)
  t.match(rewrapped.lines.at(0), { event: 'rewrap_progress', total: 20, done: 0 })
  t.match(rewrapped.lines.at(-2), { event: 'rewrap_progress', total: 20, done: 20, failed: 0, seconds_left: 0 })
  t.match(rewrapped.lines.at(-1), { event: 'rewrap_finished', to_key_id: '2026-b', rewrapped: 20, failed: 0 })
  t.match((await run(t, ['verify'])).lines.at(-1), { event: 'verify_finished', checked: 20, failures: [] })
  t.match((await run(t, ['retire-key', '2026-a'])).lines, [{ event: 'key_retired', key_id: '2026-a' }])
  t.strictSame(await lostOf(sql, keys, kept), [])

  const written = await events()
  t.strictSame(
    written.map(({ event }) => event),
    [
      'secret_key_activated',
      'secret_key_retire_refused',
      'secret_key_rewrap_started',
      'secret_key_rewrap_finished',
      'secret_key_retired',
    ],
  )
  for (const { actor_kind, actor_id } of written) {
    t.equal(actor_kind, 'system')
    t.match(actor_id, /^rap-secrets:.+@.+$/)
  }
})

t.test('a key that is made by the tool is a file that only its owner reads', async t => {
  configure('2026-b', '2026-c')
  t.match((await run(t, ['create-key', '2026-c'])).lines, [{ event: 'key_created', key_id: '2026-c' }])
  t.ok(existsSync(join(dir, '2026-c.key')))
  const again = await run(t, ['create-key', '2026-c'])
  t.equal(again.code, 1)
  t.match(again.lines, [{ code: 'ERR_KEY_EXISTS' }])
  configure('2026-b')
})

t.test('rows that do not open are named, and the exit code says so', async t => {
  const kept = await stored(3)
  const { secretRef } = kept[0] as Kept
  await superuser`
    update secrets.resource_secrets set wrapped_data_key = decode(repeat('00', 61), 'hex') where secret_ref = ${secretRef}`
  for (const [command, event] of [
    ['rewrap', 'rewrap_finished'],
    ['verify', 'verify_finished'],
  ] as const) {
    const { code, lines } = await run(t, [command])
    t.equal(code, 1)
    t.match(lines.at(-1), { event, failures: [{ row: `${secretRef}#1`, code: 'ERR_KEY_UNWRAP_FAILED' }] })
  }
})

t.test('a key that is lost is told by name, and what needs it is not touched', async t => {
  await stored(4)
  const other = join(dir, 'other.key')
  writeFileSync(other, randomBytes(32), { mode: 0o600 })
  const { code, lines, output } = await run(t, ['keys'], { SECRET_ENCRYPTION_KEY_FILE: other })
  t.equal(code, 1)
  const [{ keys: rows }] = lines as unknown as [{ keys: { key_id: string }[] }]
  t.match(
    rows.find(({ key_id }) => key_id === '2026-a'),
    { opens: false, secrets: 4, trouble: 'ERR_MASTER_KEY_MISMATCH' },
    output,
  )
})

t.test('the recovery from a lost key goes as its page says, and touches nothing else', async t => {
  await stored(4)
  const others = await keepSecrets(sql, keys, { count: 2, keyId: '2026-b' })
  await sql`update secrets.master_keys set state = 'available' where state = 'active'`
  await sql`update secrets.master_keys set state = 'active' where key_id = '2026-a'`
  const page = readFileSync(join(import.meta.dirname, '../../../../docs/operations/secrets.md'), 'utf8')
  const statements = page.match(/```sql\n([\s\S]*?)```/)?.[1]?.replaceAll('<the lost key>', '2026-a') ?? ''
  t.match(statements, /update secrets\.resource_secrets/)

  const lost = { SECRET_ENCRYPTION_KEY_FILE: undefined, SECRET_ENCRYPTION_KEY_ID: '2026-b' }
  t.equal((await run(t, ['keys'], lost)).code, 1)
  t.match((await run(t, ['rotate-key', '2026-b'], lost)).lines, [{ event: 'key_rotated', active_key_id: '2026-b' }])
  t.match((await run(t, ['retire-key', '2026-a'], lost)).lines, [{ code: 'ERR_MASTER_KEY_IN_USE' }])
  await sql.unsafe(statements)
  t.equal((await run(t, ['retire-key', '2026-a'], lost)).code, 0)
  t.equal((await run(t, ['keys'], lost)).code, 0, 'everything that is left opens')
  t.strictSame(await lostOf(sql, keys, others), [])
})

t.test('a resolver that does not have the key is named', async t => {
  await stored(0)
  const instance = new InstanceRecord(sql)
  await instance.beat(['2026-b'])
  const { code, lines, output } = await run(t, ['rotate-key', '2026-a'])
  t.equal(code, 1)
  t.match(lines, [{ code: 'ERR_MASTER_KEY_NOT_EVERYWHERE', facts: { missing_on: [/:\d+$/] } }])
  t.match(output, /missing_on: \S+:\d+/)
  t.equal(await activeKeyId(sql), '2026-b')
  await instance.remove()
})

t.test('a wrong call and a wrong environment say what to do, by exit code and without a value', async t => {
  const usage = await run(t, ['rewrap', '--fast'])
  t.equal(usage.code, 2)
  t.match(usage.output, /unknown option '--fast'/)
  const bare = await run(t, ['keys'], { DATABASE_URL: undefined })
  t.equal(bare.code, 78)
  t.match(bare.output, /DATABASE_URL: is required/)
  const fromFile = join(dir, 'resolver.env')
  writeFileSync(fromFile, `DATABASE_URL=${urls.resolver}\n`)
  t.equal((await run(t, ['--env-file', fromFile, 'keys'], { DATABASE_URL: undefined })).code, 0)
  const broken = await run(t, ['keys'], { SECRET_KEY_PROVIDERS_FILE: join(dir, 'missing.json') })
  t.equal(broken.code, 1)
  t.match(broken.lines, [{ code: 'ERR_KEY_FILE_UNREADABLE', facts: { path: /missing\.json$/ } }])
  const help = await run(t, ['--help'])
  t.equal(help.code, 0)
  for (const command of ['keys', 'create-key', 'rotate-key', 'rewrap', 'retire-key', 'verify']) {
    t.match(help.output, new RegExp(`^ {2}${command}`, 'm'))
  }
})

t.test('an ordinary role of the database gets nowhere', async t => {
  const refused = await run(t, ['keys'], { DATABASE_URL: urls.controlPlane })
  t.equal(refused.code, 1)
  t.match(refused.lines, [{ code: '42501' }])
})
