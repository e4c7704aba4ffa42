import t from 'tap'
import { startStand, type TestUser } from '../helper.ts'

/** The guard as callers of the API meet it: what is refused, what is told, what is written down, and what is not. */
const stand = await startStand(t)
const development = await stand.build({ APP_ENV: 'development' })
const smoke = await stand.build({ APP_ENV: 'smoke' })
const production = await stand.build({ APP_ENV: 'production' })
const prod = await stand.build({ APP_ENV: 'prod' })
const organizationId = await stand.organization()
const admin = await stand.user({ organizationId, role: 'admin' })

const base = { name: 'Desktop', protocol: 'rdp', address: 'host.example' }
const CODE = 'ERR_RESOURCE_PLAINTEXT_CREDENTIALS'
const EVENT = 'resource_rejected_plaintext_credentials'
const create = (body: Record<string, unknown>, on = production, by: TestUser = admin) =>
  on.call(by, 'POST', '/v1/resources', { body: { ...base, ...body } })
const lastEvent = async () => (await stand.audit(organizationId)).at(-1) as Record<string, unknown>

t.test('in production a credential-like name is refused wherever and however it is written', async t => {
  const refused: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ password: 'canary-1' }, '/metadata/password'],
    [{ user_name: 'canary-1' }, '/metadata/user_name'],
    [{ 'API key': 'canary-1' }, '/metadata/API key'],
    [{ rdpPWD: 'canary-1' }, '/metadata/rdpPWD'],
    [{ domain: 'canary-1' }, '/metadata/domain'],
    [{ username_hint: 'canary-1' }, '/metadata/username_hint'],
    [{ connection: { Client_Secret: 'canary-1' } }, '/metadata/connection/Client_Secret'],
    [{ hosts: [{ rack: 1 }, { 'pass-word': 'canary-1' }] }, '/metadata/hosts/1/pass-word'],
    [{ пароль: 'canary-1' }, '/metadata/пароль'],
    [{ 'pass\u200bword': 'canary-1' }, '/metadata/pass\u200bword'],
    [{ certificate_verification_mode: { token: 'canary-1' } }, '/metadata/certificate_verification_mode/token'],
  ]
  for (const [metadata, path] of refused) {
    for (const instance of [production, prod]) {
      const { status, body, text } = await create({ metadata }, instance)
      t.equal(status, 422, path)
      t.match(body, { code: CODE, findings: [{ path, reason: 'name' }] })
      t.notMatch(text, 'canary')
      const event = await lastEvent()
      t.match(event, { event: EVENT, outcome: 'refused', code: CODE, user_id: admin.id })
      t.match(event.details, { operation: 'create', paths: path, found: 1 })
      t.notMatch(JSON.stringify(event), 'canary')
    }
  }
  t.notMatch(stand.log, 'canary')
  t.same(await stand.sql`select 1 from rap.resources where metadata::text like '%canary%'`, [])
})

t.test('in production a secret by its shape is refused in every text of a resource', async t => {
  const url = 'postgres://u:canary-2@db/x'
  const pem = `-----BEGIN PRIVATE KEY-----\ncanary-2\n-----END PRIVATE KEY-----`
  for (const [body, path] of [
    [{ metadata: { note: url } }, '/metadata/note'],
    [{ metadata: { certificate: pem } }, '/metadata/certificate'],
    [{ metadata: { note: Buffer.from(pem).toString('base64') } }, '/metadata/note'],
    [{ metadata: { note: 'Server=db;Password=canary-2;' } }, '/metadata/note'],
    [{ metadata: { certificate_pins: [url] } }, '/metadata/certificate_pins/0'],
    [{ metadata: { security: url } }, '/metadata/security'],
    [{ name: `Desktop ${url}` }, '/name'],
    [{ address: 'admin:canary-2@host.example:3389' }, '/address'],
    [{ labels: { site: 'token: canary-2' } }, '/labels/site'],
    [{ labels: { password: 'canary-2' } }, '/labels/password'],
  ] as const) {
    const answer = await create(body)
    t.equal(answer.status, 422, path)
    t.match(answer.body, { code: CODE, findings: [{ path }] })
    t.notMatch(answer.text, 'canary')
    t.match((await lastEvent()).details, { paths: path })
  }
  t.notMatch(JSON.stringify(await stand.audit(organizationId)), 'canary')
  t.notMatch(stand.log, 'canary')
})

t.test('the guard looks first: no other refusal hides a credential from the audit, or repeats it', async t => {
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`k${index}`, 1]))
  const refused: readonly Record<string, unknown>[] = [
    { metadata: { ...many, password: 'canary-3' } },
    { metadata: { 'bad/name': 1, password: 'canary-3' } },
    { metadata: { security: 'rdp', password: 'canary-3' } },
    { metadata: { certificate_verification_mode: 'insecure', password: 'canary-3' } },
    { metadata: { password: 'canary-3' }, address: 'not an address' },
    { metadata: { [`password${'x'.repeat(100)}`]: 'canary-3' } },
    { metadata: { [`password${'x'.repeat(1000)}`]: 'canary-3' } },
    { metadata: { 'password=canary-3': { deep: [1] } } },
    { metadata: { 'postgres://u:canary-3@h/x': 1 } },
  ]
  for (const body of refused) {
    const before = (await stand.audit(organizationId)).length
    const { status, body: problem, text } = await create(body)
    t.match({ status, code: problem.code }, { status: 422, code: CODE }, text)
    t.notMatch(text, 'canary')
    t.equal((await stand.audit(organizationId)).length, before + 1)
  }
  t.notMatch(JSON.stringify(await stand.audit(organizationId)), 'canary')
  t.notMatch(stand.log, 'canary')
  const nested = (depth: number): unknown => (depth === 0 ? { password: 'canary-3' } : { a: nested(depth - 1) })
  t.match((await create({ metadata: { nested: nested(11) } })).body, { code: CODE })
  const tooDeep = await create({ metadata: { nested: nested(40) } })
  t.equal(tooDeep.status, 400, 'deeper than any body may be')
  t.notMatch(tooDeep.text, 'canary')
})

t.test('every attempt is in the audit, and one attempt is one row of bounded size', async t => {
  const metadata = Object.fromEntries(
    Array.from({ length: 200 }, (_, index) => [`password_${'x'.repeat(50)}_${index}`, 'y']),
  )
  const before = (await stand.audit(organizationId)).length
  for (let attempt = 0; attempt < 3; attempt++) t.equal((await create({ metadata })).status, 422)
  const rows = (await stand.audit(organizationId)).slice(before)
  t.same(
    rows.map(row => row.event),
    [EVENT, EVENT, EVENT],
  )
  for (const row of rows) t.ok(JSON.stringify(row.details).length < 1024)
  t.match(rows[0]!.details, { found: 32 })
})

t.test(
  'who may not make a resource is refused as that, and nothing is written under the name of the guard',
  async t => {
    const operator = await stand.user({ organizationId, role: 'operator' })
    const before = (await stand.audit(organizationId)).filter(({ event }) => event === EVENT).length
    t.equal((await create({ metadata: { password: 'x' } }, production, operator)).status, 403)
    t.equal((await stand.audit(organizationId)).filter(({ event }) => event === EVENT).length, before)
  },
)

t.test('in production harmless names and values are taken', async t => {
  const metadata = {
    certificate_verification_mode: 'pinned',
    certificate_pins: ['ab'.repeat(32)],
    security: 'nla',
    render_quality_profile: 'balanced',
    token_bucket_size: 10,
    domain_joined: true,
    domain_functional_level: 2016,
    password_policy: 'site standard',
    max_users: 3,
    keyboard_layout: 'de',
    login_banner: 'Welcome',
    secret_ref: 'rap-secret://org/x/resources/y/rdp-primary',
    wiki: 'https://wiki.example/page?id=5',
    gateway: 'gw.example:443',
    asset: '4f2b1c1e-6b7d-4b1e-9d50-0c5f1d2f3a4b',
  }
  const { status, body } = await create({ metadata, labels: { site: 'north', 'rap/tier': 'gold' } })
  t.equal(status, 201)
  t.same(body.metadata, metadata)
})

t.test('development and smoke take credentials in metadata, and they leave the service in no answer', async t => {
  for (const instance of [development, smoke]) {
    const metadata = { username: 'canary-4', Pass_Word: 'canary-4', note: 'postgres://u:canary-4@db/x', rack: 'A7' }
    const { status, body, text } = await create({ metadata }, instance)
    t.equal(status, 201)
    t.same(body.metadata, { rack: 'A7' })
    t.notMatch(text, 'canary')
    const [row] = await stand.sql`select metadata from rap.resources where id = ${body.id}`
    t.match(row!.metadata, { Pass_Word: 'canary-4' }, 'kept for the resolver')
    const changed = await instance.call(admin, 'PATCH', `/v1/resources/${body.id}`, {
      body: { metadata: { rack: 'B1' } },
    })
    t.same(changed.body.metadata, { rack: 'B1' })
    t.notMatch(changed.text, 'canary')
  }
})

t.test('what was written into a row by hand leaves the service in no answer, however deep', async t => {
  const id = await stand.resource(organizationId, {
    metadata: {
      rack: 'A7',
      db: { name: 'x', creds: [{ Pwd: 'canary-5' }], url: 'redis://:canary-5@h' },
      list: ['x', 'password=canary-5'],
    },
  })
  for (const instance of [development, production]) {
    const one = await instance.call(admin, 'GET', `/v1/resources/${id}`)
    t.same(one.body.metadata, { rack: 'A7', db: { name: 'x' }, list: ['x'] })
    t.notMatch((await instance.call(admin, 'GET', '/v1/resources?limit=200')).text, 'canary')
  }
})

t.test('in production a row from earlier times is changed only into one without credentials', async t => {
  const id = await stand.resource(organizationId, {
    metadata: { password: 'canary-6', db: { token: 'canary-6' }, rack: 1 },
  })
  const patch = (body: Record<string, unknown>) => production.call(admin, 'PATCH', `/v1/resources/${id}`, { body })
  const renamed = await patch({ name: 'Other' })
  t.equal(renamed.status, 422)
  t.match(renamed.body, { code: CODE, findings: [{ path: '/metadata/db/token' }, { path: '/metadata/password' }] })
  t.notMatch(renamed.text, 'canary')
  t.match(await lastEvent(), { event: EVENT, resource_id: id, details: { operation: 'change', found: 2 } })
  t.equal((await patch({ metadata: { password: null } })).status, 422)
  t.equal((await patch({ metadata: { password: null, db: null } })).status, 200)
  t.equal((await patch({ metadata: { token: 'x' } })).status, 422)
  t.equal((await patch({ address: 'u:canary-6@h' })).status, 422)
  const [row] = await stand.sql`select name, metadata from rap.resources where id = ${id}`
  t.same(row, { name: 'Desktop', metadata: { rack: 1 } })
})

t.test('a new resource says that it has no secret', async t => {
  t.equal((await create({})).body.secret_ref, null)
})
