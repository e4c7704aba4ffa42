import t from 'tap'
import { can, PERMISSIONS, type Permission, ROLES, type Role } from '../src/organizations/permissions.ts'
import { newJkt, startStand, type TestUser } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const worker = (await instance.worker()).start()
const organizationId = await stand.organization()
const users = Object.fromEntries(
  await Promise.all(ROLES.map(async role => [role, await stand.user({ organizationId, role })] as const)),
) as Record<Role, TestUser>
const stranger = await stand.user({ organizationId: await stand.organization(), role: 'owner' })
const platformOwner = await stand.user({ platformRole: 'owner' })

interface Route {
  readonly method: string
  readonly permission: Permission
  /** Makes what the call is about, and answers its URL and body. */
  readonly prepare: (user: TestUser) => Promise<{ url: string; body?: unknown }>
}

async function sessionOf(user: TestUser): Promise<string> {
  const resource = await stand.resource(organizationId)
  // Made in the database, since not every role may start one.
  const [session] = await stand.sql<{ id: string }[]>`
    insert into rap.remote_sessions (organization_id, resource_id, user_id)
    values (${organizationId}, ${resource}, ${user.id}) returning id`
  return session!.id
}

const organization = `/v1/organizations/${organizationId}`
const newMember = () => ({
  email: `m${Math.random().toString(36).slice(2)}@example.com`,
  password: 'a long passphrase',
})
const other = users.operator

const ROUTES: Record<string, Route> = {
  'GET organization': { method: 'GET', permission: 'organization.read', prepare: async () => ({ url: organization }) },
  'PATCH organization': {
    method: 'PATCH',
    permission: 'organization.change',
    prepare: async () => ({ url: organization, body: { name: 'Name' } }),
  },
  'GET members': {
    method: 'GET',
    permission: 'members.list',
    prepare: async () => ({ url: `${organization}/members` }),
  },
  'POST members': {
    method: 'POST',
    permission: 'members.manage',
    prepare: async () => ({ url: `${organization}/members`, body: { ...newMember(), role: 'operator' } }),
  },
  'POST members as owner': {
    method: 'POST',
    permission: 'members.manage_owners',
    prepare: async () => ({ url: `${organization}/members`, body: { ...newMember(), role: 'owner' } }),
  },
  'DELETE members': {
    method: 'DELETE',
    permission: 'members.manage',
    prepare: async () => ({
      url: `${organization}/members/${(await stand.user({ organizationId, role: 'operator' })).id}`,
    }),
  },
  'GET resources': {
    method: 'GET',
    permission: 'resources.read',
    prepare: async () => ({ url: `/v1/resources?organization_id=${organizationId}` }),
  },
  'GET resource': {
    method: 'GET',
    permission: 'resources.read',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}` }),
  },
  'POST resources': {
    method: 'POST',
    permission: 'resources.manage',
    prepare: async () => ({
      url: '/v1/resources',
      body: { organization_id: organizationId, name: 'New', protocol: 'rdp', address: 'host.example:3389' },
    }),
  },
  'PATCH resource': {
    method: 'PATCH',
    permission: 'resources.manage',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}`, body: { name: 'Changed' } }),
  },
  'DELETE resource': {
    method: 'DELETE',
    permission: 'resources.manage',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}` }),
  },
  'GET target identity': {
    method: 'GET',
    permission: 'resources.manage',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/target-identity` }),
  },
  'POST target identity': {
    method: 'POST',
    permission: 'resources.manage',
    prepare: async () => ({
      url: `/v1/resources/${await stand.resource(organizationId)}/target-identity`,
      body: { action: 'stage', sha256: 'a'.repeat(64) },
    }),
  },
  'GET organization policy': {
    method: 'GET',
    permission: 'policies.read',
    prepare: async () => ({ url: `${organization}/policy` }),
  },
  'PUT organization policy': {
    method: 'PUT',
    permission: 'policies.manage',
    prepare: async () => ({ url: `${organization}/policy`, body: { document: {} } }),
  },
  'DELETE organization policy': {
    method: 'DELETE',
    permission: 'policies.manage',
    prepare: async () => ({ url: `${organization}/policy` }),
  },
  'GET resource policy': {
    method: 'GET',
    permission: 'policies.read',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/policy` }),
  },
  'PUT resource policy': {
    method: 'PUT',
    permission: 'policies.manage',
    prepare: async () => ({
      url: `/v1/resources/${await stand.resource(organizationId)}/policy`,
      body: { document: {} },
    }),
  },
  'DELETE resource policy': {
    method: 'DELETE',
    permission: 'policies.manage',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/policy` }),
  },
  'GET grants': {
    method: 'GET',
    permission: 'policies.read',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/grants` }),
  },
  'PUT grant': {
    method: 'PUT',
    permission: 'policies.manage',
    prepare: async () => ({
      url: `/v1/resources/${await stand.resource(organizationId)}/grants/${other.id}`,
      body: { document: {} },
    }),
  },
  'DELETE grant': {
    method: 'DELETE',
    permission: 'policies.manage',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/grants/${other.id}` }),
  },
  'GET own effective policy': {
    method: 'GET',
    permission: 'resources.read',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/effective-policy` }),
  },
  'GET effective policy of another': {
    method: 'GET',
    permission: 'policies.read',
    prepare: async user => {
      const resource = await stand.resource(organizationId)
      const { id } = user === users.owner ? users.admin : users.owner
      return { url: `/v1/resources/${resource}/effective-policy?user_id=${id}` }
    },
  },
  'PUT secret': {
    method: 'PUT',
    permission: 'secrets.write',
    prepare: async () => ({
      url: `/v1/resources/${await stand.resource(organizationId)}/secret`,
      body: { sealed: 'x' },
    }),
  },
  'GET secret': {
    method: 'GET',
    permission: 'secrets.read_metadata',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/secret` }),
  },
  'DELETE secret': {
    method: 'DELETE',
    permission: 'secrets.write',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/secret` }),
  },
  'GET secret versions': {
    method: 'GET',
    permission: 'secrets.read_metadata',
    prepare: async () => ({ url: `/v1/resources/${await stand.resource(organizationId)}/secret/versions` }),
  },
  'POST secret rollback': {
    method: 'POST',
    permission: 'secrets.write',
    prepare: async () => ({
      url: `/v1/resources/${await stand.resource(organizationId)}/secret/rollback`,
      body: { to_version: 1 },
    }),
  },
  'POST sessions': {
    method: 'POST',
    permission: 'sessions.use',
    prepare: async () => ({
      url: '/v1/sessions',
      body: { resource_id: await stand.resource(organizationId), dpop_jkt: await newJkt() },
    }),
  },
  'POST own attachments': {
    method: 'POST',
    permission: 'sessions.use',
    prepare: async user => ({
      url: `/v1/sessions/${await sessionOf(user)}/attachments`,
      body: { dpop_jkt: await newJkt() },
    }),
  },
  'POST own data-plane-token': {
    method: 'POST',
    permission: 'sessions.use',
    prepare: async user => ({ url: `/v1/sessions/${await sessionOf(user)}/data-plane-token` }),
  },
  'POST own detach': {
    method: 'POST',
    permission: 'sessions.use',
    prepare: async user => ({ url: `/v1/sessions/${await sessionOf(user)}/detach` }),
  },
  'POST own terminate': {
    method: 'POST',
    permission: 'sessions.use',
    prepare: async user => ({ url: `/v1/sessions/${await sessionOf(user)}/terminate` }),
  },
  'GET audit': {
    method: 'GET',
    permission: 'audit.read',
    prepare: async () => ({ url: `/v1/audit-events?organization_id=${organizationId}` }),
  },
  'GET workers': { method: 'GET', permission: 'workers.list', prepare: async () => ({ url: '/v1/workers' }) },
}

for (const [name, { method, permission, prepare }] of Object.entries(ROUTES)) {
  t.test(`${name} is open to the roles with ${permission}, and to nobody else`, async t => {
    for (const role of ROLES) {
      const { url, body } = await prepare(users[role])
      const { status } = await instance.call(users[role], method, url, { body })
      t.equal(status !== 403, can(role, permission), `${role}: ${status}`)
      t.not(status, 500)
    }
    const { url, body } = await prepare(users.owner)
    t.equal((await instance.call(undefined, method, url, { body })).status, 401, 'without a token')
    if (permission !== 'workers.list') {
      t.equal((await instance.call(stranger, method, url, { body })).status, 404, 'an owner of another organization')
    }
  })
}

t.test(
  "somebody else's session is read by roles with sessions.read_any and ended by roles with sessions.end_any",
  async t => {
    for (const role of ROLES) {
      const user = role === 'operator' ? await stand.user({ organizationId, role }) : users[role]
      const session = await sessionOf(other)
      const read = await instance.call(user, 'GET', `/v1/sessions/${session}`)
      t.equal(read.status, can(role, 'sessions.read_any') ? 200 : 404, `read as ${role}`)
      for (const command of ['detach', 'terminate']) {
        const ended = await instance.call(user, 'POST', `/v1/sessions/${session}/${command}`)
        const expected = can(role, 'sessions.end_any') ? 200 : can(role, 'sessions.read_any') ? 403 : 404
        t.equal(ended.status, expected, `${command} as ${role}`)
      }
    }
  },
)

t.test('the platform is run by its owner alone', async t => {
  const cases: [string, string, unknown][] = [
    ['POST', '/v1/organizations', { name: 'Mine' }],
    ['POST', `/v1/workers/${worker.id}/revoke`, undefined],
    ['POST', '/v1/services/gateway/revoke', undefined],
    ['POST', '/v1/certificates/abc/revoke', undefined],
    ['POST', '/v1/signing-keys/rotate', undefined],
    ['GET', '/v1/audit-events?organization_id=platform', undefined],
  ]
  for (const [method, url, body] of cases) {
    for (const user of [...Object.values(users), stranger]) {
      t.equal((await instance.call(user, method, url, { body })).status, 403, url)
    }
    t.equal((await instance.call(undefined, method, url, { body })).status, 401)
  }
  t.equal((await instance.call(platformOwner, 'GET', '/v1/audit-events?organization_id=platform')).status, 200)
  t.equal((await instance.call(platformOwner, 'GET', '/v1/workers')).status, 200)
})

t.test('owning the platform opens no organization', async t => {
  t.equal((await instance.call(platformOwner, 'GET', organization)).status, 404)
  t.equal((await instance.call(platformOwner, 'GET', `/v1/audit-events?organization_id=${organizationId}`)).status, 404)
  t.equal(
    (await instance.call(platformOwner, 'GET', `/v1/resources/${await stand.resource(organizationId)}`)).status,
    404,
  )
  for (const name of ['GET secret', 'PUT secret', 'GET secret versions', 'POST secret rollback'] as const) {
    const { method, prepare } = ROUTES[name]!
    const { url, body } = await prepare(platformOwner)
    t.equal((await instance.call(platformOwner, method, url, { body })).status, 404, name)
  }
})

t.test('every path of the public API asks for a log-in, but for those that make one or are public', async t => {
  const open = new Set([
    'POST /v1/auth/login',
    'POST /v1/auth/refresh',
    'POST /v1/auth/logout',
    'GET /v1/trust-bundle',
    'GET /v1/trust-bundles/{version}',
    'POST /v1/enroll',
    'GET /.well-known/jwks.json',
  ])
  const { paths } = JSON.parse((await instance.call(undefined, 'GET', '/docs/json')).text)
  let count = 0
  for (const [path, methods] of Object.entries(paths as Record<string, Record<string, unknown>>)) {
    for (const method of Object.keys(methods)) {
      if (open.has(`${method.toUpperCase()} ${path}`)) continue
      const url = path.replaceAll(/\{[^}]+\}/g, organizationId)
      const answer = await instance.call(undefined, method.toUpperCase(), url, method === 'get' ? {} : { body: {} })
      t.equal(answer.status, 401, `${method} ${path}`)
      count += 1
    }
  }
  t.ok(count >= 25)
})

t.test('the table names known roles, and owners may do everything', async t => {
  for (const permission of Object.keys(PERMISSIONS) as Permission[]) t.ok(can('owner', permission), permission)
})
