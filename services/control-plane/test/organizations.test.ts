import t from 'tap'
import { PASSWORD, startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const owner = await stand.user({ organizationId, role: 'owner' })
const admin = await stand.user({ organizationId, role: 'admin' })
const platformOwner = await stand.user({ organizationId, role: 'owner', platformRole: 'owner' })
const members = `/v1/organizations/${organizationId}/members`

t.test('the owner of the platform makes organizations and owns them', async t => {
  const made = await instance.call(platformOwner, 'POST', '/v1/organizations', { body: { name: 'Second' } })
  t.equal(made.status, 201)
  t.match(made.body, { name: 'Second', role: 'owner' })
  const listed = await instance.call(platformOwner, 'GET', '/v1/organizations')
  t.ok(listed.body.items.some((item: { id: string }) => item.id === made.body.id))
  t.match(await stand.audit(made.body.id), [{ event: 'organization_created', actor_id: platformOwner.id }])
  t.equal((await instance.call(owner, 'GET', `/v1/organizations/${made.body.id}`)).status, 404)
})

t.test('an organization is renamed by its owners and admins', async t => {
  const url = `/v1/organizations/${organizationId}`
  t.match((await instance.call(admin, 'PATCH', url, { body: { name: 'New name' } })).body, { name: 'New name' })
  t.equal((await instance.call(admin, 'PATCH', url, { body: { name: 'line\nbreak' } })).status, 400)
  t.equal((await instance.call(admin, 'PATCH', url, { body: { name: '' } })).status, 400)
})

t.test('a new member gets an account with a first password, and can log in with it', async t => {
  const email = 'newcomer@example.com'
  t.match((await instance.call(admin, 'POST', members, { body: { email, role: 'operator' } })).body, {
    code: 'ERR_MEMBER_PASSWORD_REQUIRED',
  })
  const weak = await instance.call(admin, 'POST', members, { body: { email, role: 'operator', password: 'short' } })
  t.equal(weak.body.code, 'ERR_AUTH_PASSWORD_UNFIT')
  const added = await instance.call(admin, 'POST', members, {
    body: { email: 'Newcomer@Example.com', role: 'operator', password: PASSWORD, display_name: 'New Comer' },
  })
  t.equal(added.status, 201)
  t.match(added.body, { email, role: 'operator', display_name: 'New Comer', account_made: true })
  const login = await instance.call(undefined, 'POST', '/v1/auth/login', { body: { email, password: PASSWORD } })
  t.equal(login.status, 200)
  t.equal(
    (await instance.call(admin, 'POST', members, { body: { email, role: 'auditor' } })).body.code,
    'ERR_MEMBER_EXISTS',
  )
  t.match(
    (await stand.audit(organizationId)).find(event => event.event === 'member_added'),
    {
      user_id: added.body.user_id,
      actor_id: admin.id,
      details: { role: 'operator', account_made: true },
    },
  )
})

t.test('an account of another organization is added by the owner of the platform only', async t => {
  const elsewhere = await stand.organization('Elsewhere')
  const foreign = await stand.user({ organizationId: elsewhere, role: 'operator' })
  const body = { email: foreign.email, role: 'operator', password: 'a password that the admin knows' }
  t.equal((await instance.call(owner, 'POST', members, { body })).body.code, 'ERR_MEMBER_ACCOUNT_ELSEWHERE')
  const added = await instance.call(platformOwner, 'POST', members, { body })
  t.match(added.body, { user_id: foreign.id, account_made: false })
  const login = await instance.call(undefined, 'POST', '/v1/auth/login', {
    body: { email: foreign.email, password: body.password },
  })
  t.equal(login.status, 401, 'the password of an existing account is not replaced')
})

t.test('an admin neither makes nor unmakes owners', async t => {
  const body = { email: 'boss@example.com', role: 'owner', password: PASSWORD }
  t.equal((await instance.call(admin, 'POST', members, { body })).status, 403)
  t.equal((await instance.call(admin, 'PATCH', `${members}/${admin.id}`, { body: { role: 'owner' } })).status, 403)
  t.equal((await instance.call(admin, 'PATCH', `${members}/${owner.id}`, { body: { role: 'auditor' } })).status, 403)
  t.equal((await instance.call(admin, 'DELETE', `${members}/${owner.id}`)).status, 403)
})

t.test('an organization keeps an owner, also when the last two leave at once', async t => {
  const id = await stand.organization()
  const [first, second] = await Promise.all([
    stand.user({ organizationId: id, role: 'owner' }),
    stand.user({ organizationId: id, role: 'owner' }),
  ])
  const answers = await Promise.all([
    instance.call(first, 'DELETE', `/v1/organizations/${id}/members/${first.id}`),
    instance.call(second, 'DELETE', `/v1/organizations/${id}/members/${second.id}`),
  ])
  t.same(answers.map(answer => answer.status).sort(), [204, 409])
  t.equal(answers.find(answer => answer.status === 409)!.body.code, 'ERR_MEMBER_LAST_OWNER')
  const left = answers[0]!.status === 204 ? second : first
  const demoted = await instance.call(left, 'PATCH', `/v1/organizations/${id}/members/${left.id}`, {
    body: { role: 'admin' },
  })
  t.equal(demoted.body.code, 'ERR_MEMBER_LAST_OWNER')
})

t.test('a removed member has no access from the next request on', async t => {
  const leaver = await stand.user({ organizationId, role: 'operator' })
  t.equal((await instance.call(leaver, 'GET', '/v1/resources')).status, 200)
  t.equal((await instance.call(admin, 'DELETE', `${members}/${leaver.id}`)).status, 204)
  t.equal((await instance.call(leaver, 'GET', `/v1/resources?organization_id=${organizationId}`)).status, 404)
  t.equal((await instance.call(leaver, 'GET', '/v1/resources')).status, 403)
  t.equal((await instance.call(admin, 'DELETE', `${members}/${leaver.id}`)).status, 404)
})

t.test('members are listed page by page', async t => {
  const all = await instance.call(admin, 'GET', `${members}?limit=200`)
  const seen: string[] = []
  let url = `${members}?limit=1`
  for (;;) {
    const { body } = await instance.call(admin, 'GET', url)
    seen.push(...body.items.map((item: { user_id: string }) => item.user_id))
    if (body.next_cursor === null) break
    url = `${members}?limit=1&cursor=${body.next_cursor}`
  }
  t.same(
    seen,
    all.body.items.map((item: { user_id: string }) => item.user_id),
  )
  t.notMatch(all.text, 'argon2')
})
