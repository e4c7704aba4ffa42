import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { removePostgresData, startPostgres, tempDir } from '../src/index.ts'

t.test('a server starts on loopback, refuses a wrong password, and makes databases', async t => {
  const server = await startPostgres()
  t.teardown(() => server.stop())
  const url = await server.createDatabase('first')
  t.equal(await server.createDatabase('first'), url, 'a second call finds the database')
  const sql = postgres(url, { max: 1 })
  t.match(await sql`select current_database() as name`, [{ name: 'first' }])
  await sql.end()

  const wrong = new URL(url)
  wrong.password = 'not-it'
  const refused = postgres(wrong.href, { max: 1 })
  await t.rejects(refused`select 1`, { code: '28P01' })
  await refused.end()
})

t.test('servers that start at once have the same beginning and nothing else in common', async t => {
  const servers = await Promise.all([startPostgres(), startPostgres()])
  for (const server of servers) t.teardown(() => server.stop())
  const names: string[][] = []
  for (const [index, server] of servers.entries()) {
    const sql = postgres(await server.createDatabase(`own_${index}`), { max: 1 })
    const rows = await sql<{ datname: string }[]>`select datname from pg_database where not datistemplate order by 1`
    names.push(rows.map(({ datname }) => datname))
    await sql.end()
  }
  t.same(names, [
    ['own_0', 'postgres'],
    ['own_1', 'postgres'],
  ])
})

t.test('a dump shows what text, json, bytea and large objects hold', async t => {
  const server = await startPostgres()
  t.teardown(() => server.stop())
  const url = await server.createDatabase('canaries')
  const sql = postgres(url, { max: 1 })
  await sql`create schema "Odd Name"`
  await sql`create table "Odd Name".things (a text, b jsonb, c bytea)`
  await sql`insert into "Odd Name".things values ('canary-text', '{"deep": ["canary-json"]}', ${Buffer.from('\0canary-bytes\xff', 'latin1')})`
  await sql`select lo_from_bytea(0, ${Buffer.from('canary-large')})`
  await sql.end()
  const dump = await server.dump(url)
  for (const canary of ['canary-text', 'canary-json', 'canary-bytes', 'canary-large'])
    t.ok(dump.includes(canary), canary)
  t.notOk((await server.dump(server.url)).includes('canary'), 'another database does not show it')
})

t.test('a kept data folder starts again after a crash, with a stale postmaster.pid', async t => {
  const dir = tempDir('rap-test-')
  t.teardown(() => dir.remove())
  const dataDir = join(dir.path, 'nested', 'data')
  t.teardown(() => removePostgresData(dataDir))

  const first = await startPostgres({ dataDir })
  const sql = postgres(await first.createDatabase('kept'), { max: 1 })
  await sql`create table marks (mark text)`
  await sql`insert into marks values ('still here')`
  await sql.end()
  const pidFile = join(dataDir, 'postmaster.pid')
  const lines = readFileSync(pidFile, 'utf8').split('\n')
  process.kill(Number(lines[0]), 'SIGKILL')
  await first.stop()
  t.ok(existsSync(pidFile), 'the crash left its pid file')
  writeFileSync(pidFile, [process.pid, ...lines.slice(1)].join('\n'))

  const second = await startPostgres({ dataDir })
  t.teardown(() => second.stop())
  const again = postgres(await second.createDatabase('kept'), { max: 1 })
  t.match(await again`select mark from marks`, [{ mark: 'still here' }])
  await again.end()
})
