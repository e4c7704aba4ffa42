import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type PostgresServer, startPostgres } from '@rap/testkit'
import t, { type Test } from 'tap'
import { connectPostgres, migrate, type Sql } from '../src/index.ts'
import { capturedLog, silentLogger } from './helper.ts'

let server: PostgresServer
let admin: Sql
t.before(async () => {
  server = await startPostgres()
  admin = connectPostgres(server.url, { applicationName: 'test', max: 2 })
})
t.teardown(async () => {
  await admin?.end()
  await server?.stop()
})

let databases = 0
async function database(): Promise<string> {
  const name = `migrate_${++databases}`
  await admin.unsafe(`create database ${name}`)
  const url = new URL(server.url)
  url.pathname = `/${name}`
  return url.href
}

function pool(t: Test, url: string): Sql {
  const sql = connectPostgres(url, { applicationName: 'test', max: 2 })
  t.teardown(() => sql.end())
  return sql
}

const FILES = {
  '001.do.create_things.sql': 'create table app.things (id int primary key); insert into app.things values (1);',
  '002.do.add_name.sql': "alter table app.things add name text; update app.things set name = 'a;b';",
}

const options = (directory: string) => ({ directory, schemaTable: 'app.schema_version', logger: silentLogger })

t.test('migrations run once, in order, and a second start changes nothing', async t => {
  const sql = pool(t, await database())
  const directory = t.testdir(FILES)
  const log = capturedLog()
  t.same(await migrate({ ...options(directory), sql, logger: log.logger }), {
    previousVersion: 0,
    version: 2,
    applied: ['001.do.create_things.sql', '002.do.add_name.sql'],
  })
  t.same(await sql`select id, name from app.things`, [{ id: 1, name: 'a;b' }])
  t.same(await migrate({ ...options(directory), sql }), { previousVersion: 2, version: 2, applied: [] })
  t.match(
    log.lines().filter(line => line.event === 'migration_applied'),
    [{ migration: '001.do.create_things.sql' }, { migration: '002.do.add_name.sql' }],
  )
  await writeFile(join(directory, '003.do.more.sql'), 'create table app.more (id int);')
  t.same((await migrate({ ...options(directory), sql })).applied, ['003.do.more.sql'])
})

t.test('several instances that start at once run each migration once', async t => {
  const url = await database()
  const directory = t.testdir({ ...FILES, '003.do.slow.sql': 'select pg_sleep(0.3); create table app.slow (id int);' })
  const results = await Promise.all(Array.from({ length: 5 }, () => migrate({ ...options(directory), url })))
  t.same(results.map(result => result.applied.length).sort(), [0, 0, 0, 0, 3])
  const sql = pool(t, url)
  t.match(await sql`select count(*)::int as count from app.things`, [{ count: 1 }])
  t.match(await sql`select count(*)::int as count from pg_locks where locktype = 'advisory'`, [{ count: 0 }])
})

t.test('a migration that was changed after it was run is refused, also when there is nothing new to run', async t => {
  const url = await database()
  const directory = t.testdir(FILES)
  await migrate({ ...options(directory), url })
  await writeFile(join(directory, '001.do.create_things.sql'), 'create table app.things (id bigint primary key);')
  await t.rejects(migrate({ ...options(directory), url }), { code: 'ERR_MIGRATION_CHANGED' })
  await writeFile(join(directory, '003.do.more.sql'), 'create table app.more (id int);')
  await t.rejects(migrate({ ...options(directory), url }), { code: 'ERR_MIGRATION_CHANGED' })
  t.same(await pool(t, url)`select to_regclass('app.more') as more`, [{ more: null }])
})

t.test('another line ending is not a change', async t => {
  const url = await database()
  const directory = t.testdir({ '001.do.things.sql': 'create table app.things (\n  id int\n);\n' })
  await migrate({ ...options(directory), url })
  await writeFile(join(directory, '001.do.things.sql'), 'create table app.things (\r\n  id int\r\n);\r\n')
  t.same((await migrate({ ...options(directory), url })).applied, [])
})

t.test('a migration that fails leaves nothing of itself and keeps what was before it', async t => {
  const url = await database()
  const directory = t.testdir({ ...FILES, '003.do.broken.sql': 'create table app.half (id int); select 1 / 0;' })
  await t.rejects(migrate({ ...options(directory), url }), {
    code: 'ERR_MIGRATION_FAILED',
    facts: { file: '003.do.broken.sql' },
    cause: { code: '22012' },
  })
  const sql = pool(t, url)
  t.same(await sql`select to_regclass('app.half') as half, max(version)::int as version from app.schema_version`, [
    { half: null, version: 2 },
  ])
  await writeFile(join(directory, '003.do.broken.sql'), 'create table app.half (id int);')
  t.same((await migrate({ ...options(directory), url })).applied, ['003.do.broken.sql'])
})

t.test('a lock that is held too long is an error of its own', async t => {
  const url = await database()
  const directory = t.testdir({ ...FILES, '003.do.slow.sql': 'select pg_sleep(3);' })
  const first = migrate({ ...options(directory), url })
  const sql = pool(t, url)
  const deadline = Date.now() + 10_000
  while (Date.now() < deadline) {
    const [row] = await sql`select count(*)::int as count from pg_locks where locktype = 'advisory' and granted`
    if (row?.count === 1) break
  }
  await t.rejects(migrate({ ...options(directory), url, lockTimeoutMs: 300 }), { code: 'ERR_MIGRATION_LOCKED' })
  await first
})

t.test('a database that is newer than the files is left alone with a warning', async t => {
  const url = await database()
  const directory = t.testdir({
    newer: FILES,
    older: { '001.do.create_things.sql': FILES['001.do.create_things.sql'] },
  })
  await migrate({ ...options(join(directory, 'newer')), url })
  const log = capturedLog()
  const result = await migrate({ ...options(join(directory, 'older')), url, logger: log.logger })
  t.same(result, { previousVersion: 2, version: 2, applied: [] })
  t.ok(log.lines().some(line => line.event === 'database_is_newer'))
})

t.test(
  'file names out of form, gaps, doubles and an empty directory are refused before the database is asked',
  async t => {
    const url = 'postgres://nobody@127.0.0.1:1/none'
    const refused = async (files: Record<string, string>, code: string) => {
      await t.rejects(migrate({ ...options(t.testdir(files)), url }), { code }, Object.keys(files).join())
    }
    await refused({}, 'ERR_MIGRATION_MISSING')
    await refused({ 'readme.md': '' }, 'ERR_MIGRATION_MISSING')
    await refused({ '002.do.x.sql': '' }, 'ERR_MIGRATION_MISSING')
    await refused({ '001.do.x.sql': '', '003.do.y.sql': '' }, 'ERR_MIGRATION_MISSING')
    await refused({ '001.do.x.sql': '', '001.do.y.sql': '' }, 'ERR_MIGRATION_MISSING')
    await refused({ '001.do.x.sql': '', '0001.do.y.sql': '' }, 'ERR_MIGRATION_MISSING')
    await refused({ "001.do.x'); drop table x.sql": '' }, 'ERR_MIGRATION_FILE_NAME')
    await refused({ '001.undo.x.sql': '' }, 'ERR_MIGRATION_FILE_NAME')
    await refused({ 'x.sql': '' }, 'ERR_MIGRATION_FILE_NAME')
  },
)

t.test('a directory whose name has pattern characters is taken as it is written', async t => {
  const directory = join(t.testdir({}), 'a [b] {c} * ?')
  await mkdir(directory)
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(directory, name), text)
  const { applied } = await migrate({ ...options(directory), url: await database() })
  t.equal(applied.length, 2)
})

t.test('a table name that is not plain is refused, since it goes into SQL text', async t => {
  const directory = t.testdir(FILES)
  for (const schemaTable of ['app.x"; drop table y', 'a.b.c', 'App.Version', '', "x'"]) {
    await t.rejects(migrate({ directory, schemaTable, logger: silentLogger, url: 'postgres://127.0.0.1:1' }), TypeError)
  }
})
