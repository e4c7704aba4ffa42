import { ProblemError } from '@rap/service-kit'
import t from 'tap'
import { startStand } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const production = await stand.build({ APP_ENV: 'production' })
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })

const base = { name: 'Desktop', protocol: 'rdp', address: 'Host.Example' }
const create = (body: Record<string, unknown> = {}, on = instance) =>
  on.call(admin, 'POST', '/v1/resources', { body: { ...base, ...body } })

t.test('a resource has the shape of the seeds, and an address in its one spelling', async t => {
  const { status, body } = await create({
    metadata: { certificate_verification_mode: 'strict', render_quality_profile: 'balanced', rack: 'A7' },
    labels: { site: 'north' },
  })
  t.equal(status, 201)
  t.match(body, {
    organization_id: organizationId,
    protocol: 'rdp',
    address: 'host.example:3389',
    secret_ref: null,
    metadata: { certificate_verification_mode: 'strict', render_quality_profile: 'balanced', rack: 'A7' },
    labels: { site: 'north' },
  })
  t.same((await instance.call(admin, 'GET', `/v1/resources/${body.id}`)).body, body)
  t.match((await stand.audit(organizationId)).at(-1), {
    event: 'resource_created',
    resource_id: body.id,
    user_id: admin.id,
  })
})

t.test('an address that is not a host and a port is refused', async t => {
  for (const address of ['host:0', 'host:65536', 'a b:3389', '::1', 'user@host:3389', '0x7f.1:3389', 'h/x:3389', '']) {
    const { status } = await create({ address })
    t.ok(status === 422 || status === 400, address)
  }
})

t.test('metadata is checked: known names by their rules, other names as short facts', async t => {
  const refused = [
    { certificate_verification_mode: 'none' },
    { certificate_pins: ['zz'] },
    { security: 'rdp' },
    { render_quality_profile: 'best' },
    { nested: { password: 'x' } },
    { list: ['x'] },
    { text: 'x'.repeat(1025) },
    { 'bad/name': 'x' },
    Object.fromEntries(Array.from({ length: 49 }, (_, index) => [`k${index}`, 1])),
    { ['k'.repeat(65)]: 1 },
    Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`k${index}`, 'x '.repeat(500)])),
    Object.fromEntries(Array.from({ length: 48 }, (_, index) => [`k${index}`, index % 2 ? 5e-324 : -1.7e308])),
    {
      a: 'é'.repeat(1000),
      ...Object.fromEntries(Array.from({ length: 15 }, (_, index) => [`k${index}`, 'é'.repeat(600)])),
    },
  ]
  for (const metadata of refused) {
    t.equal((await create({ metadata })).body.code, 'ERR_RESOURCE_METADATA_INVALID', Object.keys(metadata)[0]!)
  }
  const large = Object.fromEntries(Array.from({ length: 15 }, (_, index) => [`k${index}`, 'é'.repeat(520)]))
  t.equal((await create({ metadata: { ...large, least: 5e-324 } })).status, 201, 'what fits into the table is taken')
  const pin = Array.from({ length: 32 }, () => 'AB').join(':')
  const { body } = await create({ metadata: { certificate_verification_mode: 'pinned', certificate_pins: [pin] } })
  t.same(body.metadata.certificate_pins, ['ab'.repeat(32)], 'a fingerprint as tools print it')
  const waiting = await create({ metadata: { certificate_verification_mode: 'pinned' } })
  t.equal(waiting.status, 201, 'pinned without a pin: the first certificate waits for an approval')
})

t.test('in production certificate verification cannot be off', async t => {
  const { body } = await create({ metadata: { certificate_verification_mode: 'insecure' } }, production)
  t.equal(body.code, 'ERR_RESOURCE_INSECURE_VERIFICATION')
})

t.test('a change merges metadata, removes what is null and replaces labels', async t => {
  const { body } = await create({ metadata: { rack: 'A7', floor: 3 }, labels: { a: '1' } })
  const url = `/v1/resources/${body.id}`
  const changed = await instance.call(admin, 'PATCH', url, {
    body: {
      metadata: { rack: null, security: 'nla' },
      labels: { b: '2' },
      name: 'Other',
      address: '[2001:DB8::1]:3390',
    },
  })
  t.match(changed.body, { name: 'Other', address: '[2001:db8::1]:3390' })
  t.same(changed.body.metadata, { floor: 3, security: 'nla' })
  t.same(changed.body.labels, { b: '2' })
  t.match((await stand.audit(organizationId)).at(-1), {
    event: 'resource_updated',
    details: {
      address: '[2001:db8::1]:3390',
      previous_address: 'host.example:3389',
      changed: 'address,labels,metadata,name',
    },
  })
  t.equal((await instance.call(admin, 'PATCH', url, { body: {} })).status, 400)
  t.equal((await instance.call(admin, 'PATCH', url, { body: { protocol: 'vnc' } })).status, 400)
  t.equal((await instance.call(admin, 'PATCH', url, { body: { secret_ref: 'rap-secret://x' } })).status, 400)
})

t.test('parallel changes of different entries all arrive', async t => {
  const { body } = await create()
  const url = `/v1/resources/${body.id}`
  await Promise.all(
    Array.from({ length: 8 }, (_, index) =>
      instance.call(admin, 'PATCH', url, { body: { metadata: { [`k${index}`]: index } } }),
    ),
  )
  t.equal(Object.keys((await instance.call(admin, 'GET', url)).body.metadata).length, 8)
})

t.test(
  'a resource that is deleted is gone with its secret, and when the resolver does not answer nothing happened',
  async t => {
    const id = await stand.resource(organizationId)
    const url = `/v1/resources/${id}`
    await stand.resolver.write({ organizationId, resourceId: id }, { sealed: 'x' }, admin as never)
    stand.resolver.failure = new ProblemError({ code: 'ERR_SECRET_RESOLVER_UNAVAILABLE', status: 503, title: 'Away' })
    t.equal((await instance.call(admin, 'DELETE', url)).status, 503)
    t.equal((await instance.call(admin, 'GET', url)).status, 200)
    t.equal((await instance.call(admin, 'DELETE', url)).status, 204)
    t.equal((await instance.call(admin, 'GET', url)).status, 404)
    t.equal((await instance.call(admin, 'DELETE', url)).status, 404)
    t.notOk(stand.resolver.stored.has(id))
    t.match((await stand.audit(organizationId)).at(-1), { event: 'resource_deleted', resource_id: id })
  },
)

t.test('a list holds every resource once, also those that were made in one microsecond', async t => {
  const other = await stand.organization()
  const user = await stand.user({ organizationId: other, role: 'operator' })
  await stand.sql`
    insert into rap.resources (organization_id, name, protocol, address, created_at)
    select ${other}, 'n' || i, 'rdp', 'host:3389', '2026-01-01T00:00:00.123456Z'::timestamptz + (i / 3) * interval '1 microsecond'
    from generate_series(1, 20) i`
  const names: string[] = []
  let url = '/v1/resources?limit=3'
  for (;;) {
    const { body } = await instance.call(user, 'GET', url)
    names.push(...body.items.map((item: { name: string }) => item.name))
    if (body.next_cursor === null) break
    url = `/v1/resources?limit=3&cursor=${body.next_cursor}`
  }
  t.equal(names.length, 20)
  t.equal(new Set(names).size, 20)
})

t.test('a member of several organizations names the one that a new resource goes to', async t => {
  const second = await stand.organization()
  const both = await stand.user({ organizationId, role: 'admin' })
  await stand.member(second, both.id, 'operator')
  const post = (organization_id?: string) =>
    instance.call(both, 'POST', '/v1/resources', { body: { ...base, ...(organization_id && { organization_id }) } })
  t.equal((await post()).body.code, 'ERR_ORGANIZATION_REQUIRED')
  t.equal((await post(organizationId)).status, 201)
  t.equal((await post(second)).status, 403, 'an operator there')
  t.equal((await post(await stand.organization())).status, 404)
  await stand.resource(second)
  const all = await instance.call(both, 'GET', '/v1/resources?limit=200')
  const organizations = new Set(all.body.items.map((item: { organization_id: string }) => item.organization_id))
  t.same(organizations, new Set([organizationId, second]), 'a list without a name covers both')
})
