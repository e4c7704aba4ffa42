import { waitFor } from '@rap/testkit'
import t from 'tap'
import { migrateControlPlane, startDatabase } from './support/database.ts'
import { readiness, readyFields, serviceEnv, startService } from './support/service.ts'
import { startWorld } from './support/world.ts'

const env = await serviceEnv(t, await startWorld(t))

t.test('the service starts before the control plane has made its schema, and says what is missing', async t => {
  const database = await startDatabase(t, { withoutControlPlane: true, withoutOwn: true })
  const elsewhere = { ...env, DATABASE_URL: database.urls.resolver }
  const service = await startService(t, elsewhere)
  const { health_url } = await readyFields(service)
  const before = await readiness(health_url)
  t.equal(before.status, 503)
  t.match(before.checks, { database: 'ok', grants: /^missing: rap\.resources, .*rap\.append_audit_event$/ })
  await migrateControlPlane(database.urls.controlPlane)
  await waitFor(async () => (await readiness(health_url)).status === 200, { what: 'readiness' })
})

t.test('one role for both schemas works too', async t => {
  const database = await startDatabase(t, { withoutControlPlane: true, withoutOwn: true })
  await migrateControlPlane(database.urls.superuser)
  const elsewhere = { ...env, DATABASE_URL: database.urls.superuser }
  const { health_url } = await readyFields(await startService(t, elsewhere))
  t.equal((await readiness(health_url)).status, 200)
})

t.test('a schema that was made for the role is used without the right to make one', async t => {
  const database = await startDatabase(t, { withoutOwn: true })
  const [{ name } = { name: '' }] = await database.superuser<{ name: string }[]>`select current_database() as name`
  await database.superuser.unsafe(`revoke create on database "${name}" from rap_secret_resolver`)
  await database.superuser`create schema secrets authorization rap_secret_resolver`
  const elsewhere = { ...env, DATABASE_URL: database.urls.resolver }
  const { health_url } = await readyFields(await startService(t, elsewhere))
  t.equal((await readiness(health_url)).status, 200)
})
