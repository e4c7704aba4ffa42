import { createHash } from 'node:crypto'
import t from 'tap'
import { countAttempt, LIMITS } from '../src/auth/login-limit.ts'
import { type Answer, ORIGIN, PASSWORD, startStand, type TestUser } from './helper.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()

let nextAddress = 1
/** Every test logs in from an address of its own, so that limits of one do not touch another. */
function freshAddress(): string {
  return `198.51.100.${nextAddress++}`
}

async function login(
  email: string,
  password: string,
  options: { address?: string; refresh?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const answer = await instance.controlPlane.publicApp.inject({
    method: 'POST',
    url: '/v1/auth/login',
    remoteAddress: options.address ?? freshAddress(),
    headers: { 'content-type': 'application/json', ...options.headers },
    payload: { email, password, ...(options.refresh && { refresh: options.refresh }) },
  })
  return {
    status: answer.statusCode,
    body: JSON.parse(answer.payload),
    text: answer.payload,
    headers: answer.headers as Answer['headers'],
  }
}

const refresh = (token: string) =>
  instance.call(undefined, 'POST', '/v1/auth/refresh', { body: { refresh_token: token } })
const me = (token: string) => instance.call({ token }, 'GET', '/v1/me')

async function member(): Promise<TestUser> {
  return await stand.user({ organizationId, role: 'operator' })
}

t.test('a log-in gives an access token for 15 minutes and a refresh token', async t => {
  const user = await member()
  const { status, body } = await login(` ${user.email.toUpperCase()} `, PASSWORD)
  t.equal(status, 200)
  t.match(body, { token_type: 'Bearer', expires_in: 900, user: { id: user.id, email: user.email } })
  t.match(body.access_token, /^rap_at_[\w-]{43}$/)
  t.match(body.refresh_token, /^rap_rt_[\w-]{43}$/)
  t.match((await me(body.access_token)).body, {
    user: { id: user.id },
    memberships: [{ organization_id: organizationId, role: 'operator', permissions: /sessions\.use/ }],
  })
  t.match((await stand.audit(organizationId)).at(-1), { event: 'user_logged_in', user_id: user.id, outcome: 'ok' })
})

t.test('tokens are stored as digests only', async t => {
  const user = await member()
  const { body } = await login(user.email, PASSWORD)
  const dump = await stand.postgres.dump(stand.superuserUrl)
  for (const token of [body.access_token, body.refresh_token]) {
    t.notOk(dump.includes(token))
    t.notOk(stand.log.includes(token))
    const digest = createHash('sha256').update(token).digest()
    const [row] = await stand.sql`
      select 1 from rap.access_tokens where token_hash = ${digest}
      union all select 1 from rap.refresh_tokens where token_hash = ${digest}`
    t.ok(row)
  }
})

t.test('a hash with weak parameters is made anew at the next log-in', async t => {
  const user = await member()
  await login(user.email, PASSWORD)
  const [row] = await stand.sql`select password_hash from rap.users where id = ${user.id}`
  t.match(row!.password_hash, /^\$argon2id\$v=19\$m=65536,t=3,p=4\$/)
  t.equal((await login(user.email, PASSWORD)).status, 200)
})

t.test('a wrong password and an unknown account get the same answer, and the audit knows which it was', async t => {
  const user = await member()
  const wrong = await login(user.email, 'not the passphrase')
  const { refusals } = instance.controlPlane.context
  await refusals.flush()
  const [wrongEvent] = (await stand.audit(organizationId)).slice(-1)
  const unknown = await login('nobody@example.com', 'not the passphrase')
  await refusals.flush()
  const [unknownEvent] = (await stand.audit(null)).slice(-1)
  const visible = ({ status, body }: Answer) => ({ status, ...body, request_id: '' })
  t.same(visible(wrong), visible(unknown))
  t.equal(wrong.body.code, 'ERR_AUTH_INVALID_CREDENTIALS')
  t.match(wrongEvent, { event: 'user_login_failed', user_id: user.id, outcome: 'refused' })
  t.match(unknownEvent, { event: 'user_login_failed', user_id: null, details: { account_known: false } })
  t.notMatch(JSON.stringify(unknownEvent), 'nobody@example.com', 'people type passwords into that field')
})

t.test('an unknown account costs as much time as a known one', async t => {
  const user = await member()
  await login(user.email, PASSWORD)
  const time = async (email: string) => {
    const began = performance.now()
    await login(email, 'not the passphrase')
    return performance.now() - began
  }
  await time('warm@example.com')
  const known: number[] = []
  const unknown: number[] = []
  for (let index = 0; index < 5; index++) {
    known.push(await time(user.email))
    unknown.push(await time(`stranger${index}@example.com`))
  }
  // Of several, the quickest one is the work itself: whatever else the machine does makes it longer alone.
  const [least, usual] = [Math.min(...unknown), Math.min(...known)]
  // Without the work on a dummy hash, the ratio is far below a tenth.
  t.ok(least > usual / 3, `${least} against ${usual}`)
})

t.test('guesses on one account from one address are limited, also when they come at once', async t => {
  const user = await member()
  const address = freshAddress()
  const answers = await Promise.all(
    Array.from({ length: LIMITS.pair + 12 }, () => login(user.email, 'not the passphrase', { address })),
  )
  t.equal(answers.filter(answer => answer.status === 401).length, LIMITS.pair)
  t.equal(answers.filter(answer => answer.body.code === 'ERR_AUTH_RATE_LIMITED').length, 12)
  const { refusals } = instance.controlPlane.context
  await refusals.flush()
  const inRows = async () => {
    const rows = (await stand.audit(organizationId)).filter(
      event => event.user_id === user.id && event.code === 'ERR_AUTH_RATE_LIMITED',
    )
    const counted = rows.map(event => 1 + ((event.details as { suppressed_count?: number }).suppressed_count ?? 0))
    return { rows: rows.length, sum: counted.reduce((sum, count) => sum + count, 0) }
  }
  t.same(await inRows(), { rows: 5, sum: 12 }, 'the audit has all of them, in a few rows')
  const right = await login(user.email, PASSWORD, { address })
  t.equal(right.status, 429, 'the right password does not help while the limit holds')
  t.equal((await login(user.email, PASSWORD)).status, 200, 'from elsewhere the person can log in')
  await refusals.flush()
  t.equal((await inRows()).sum, 13)
})

t.test('one address that tries many accounts is limited', async t => {
  const address = freshAddress()
  // Counted without their hashes, which would take a quarter of a minute.
  for (let index = 0; index < LIMITS.address - 1; index++) {
    await countAttempt(stand.redis, { email: `spray${index}@example.com`, address })
  }
  const statuses: number[] = []
  for (const name of ['x', 'y', 'z']) {
    statuses.push((await login(`${name}@example.com`, 'not the passphrase', { address })).status)
  }
  t.same(statuses.slice(-3), [401, 429, 429])
})

t.test('good log-ins do not use a shared address up', async t => {
  const user = await member()
  const address = freshAddress()
  for (let index = 0; index < LIMITS.pair + 3; index++) {
    t.equal((await login(user.email, PASSWORD, { address })).status, 200)
  }
})

t.test('nobody logs in while attempts cannot be counted', async t => {
  const user = await member()
  await stand.redisServer.stop()
  t.ok((await login(user.email, PASSWORD)).status >= 500)
  await stand.redisServer.restart()
  t.equal((await login(user.email, PASSWORD)).status, 200)
})

t.test('a refresh token is good once, and gives new tokens', async t => {
  const user = await member()
  const { body } = await login(user.email, PASSWORD)
  const renewed = await refresh(body.refresh_token)
  t.equal(renewed.status, 200)
  t.not(renewed.body.refresh_token, body.refresh_token)
  t.equal((await me(renewed.body.access_token)).status, 200)
  t.equal((await refresh(renewed.body.refresh_token)).status, 200)
})

t.test('the second use of a refresh token ends the whole log-in', async t => {
  const user = await member()
  const { body } = await login(user.email, PASSWORD)
  const renewed = await refresh(body.refresh_token)
  const reuse = await refresh(body.refresh_token)
  t.equal(reuse.status, 401)
  t.equal(reuse.body.code, 'ERR_AUTH_REFRESH_INVALID')
  t.equal((await refresh(renewed.body.refresh_token)).status, 401, 'the newest one is dead as well')
  t.equal((await me(renewed.body.access_token)).status, 401)
  t.equal((await me(body.access_token)).status, 401)
  const events = (await stand.audit(organizationId))
    .filter(event => event.user_id === user.id)
    .map(({ event }) => event)
  t.match(events.slice(-4), [
    'refresh_reuse_detected',
    'refresh_token_refused',
    'access_token_refused',
    'access_token_refused',
  ])
})

t.test('of two parallel uses of one refresh token both end up without a log-in', async t => {
  const user = await member()
  const { body } = await login(user.email, PASSWORD)
  const answers = await Promise.all([refresh(body.refresh_token), refresh(body.refresh_token)])
  t.same(answers.map(answer => answer.status).sort(), [200, 401])
  const winner = answers.find(answer => answer.status === 200)!
  t.equal((await me(winner.body.access_token)).status, 401)
})

t.test('tokens that are none of ours are refused without a look into the database', async t => {
  for (const token of ['', 'x', 'rap_rt_short', `rap_at_${'A'.repeat(43)}`, `rap_rt_${'A'.repeat(43)}`]) {
    t.equal((await refresh(token)).status, 401)
  }
  for (const header of ['', 'Bearer', 'Bearer x', `Bearer rap_rt_${'A'.repeat(43)}`, `Basic ${'A'.repeat(43)}`]) {
    const answer = await instance.call(undefined, 'GET', '/v1/me', { headers: { authorization: header } })
    t.equal(answer.status, 401)
    t.equal(answer.body.code, 'ERR_UNAUTHENTICATED')
    t.equal(answer.headers['www-authenticate'], 'Bearer')
  }
})

t.test('an access token ends with its time, and a log-in with its own', async t => {
  const user = await member()
  await stand.sql`alter table rap.access_tokens disable trigger access_tokens_written_once`
  await stand.sql`update rap.access_tokens set expires_at = now() - interval '1 second' where user_id = ${user.id}`
  await stand.sql`alter table rap.access_tokens enable trigger access_tokens_written_once`
  t.equal((await me(user.token)).status, 401)
})

t.test('in cookie mode the refresh token is in a cookie that no script and no other site can use', async t => {
  const user = await member()
  const { status, body, headers } = await login(user.email, PASSWORD, {
    refresh: 'cookie',
    headers: { origin: ORIGIN },
  })
  t.equal(status, 200)
  t.equal(body.refresh_token, undefined)
  const cookie = String(headers['set-cookie'])
  for (const part of ['HttpOnly', 'Secure', 'SameSite=Strict', 'Path=/v1/auth']) t.ok(cookie.includes(part), part)
  const value = /rap_refresh=([^;]+)/.exec(cookie)![1]!
  const send = (url: string, given: Record<string, string>) =>
    instance.call(undefined, 'POST', url, { headers: { cookie: `rap_refresh=${value}`, ...given } })

  for (const given of [
    {},
    { origin: 'https://evil.example' },
    { origin: `${ORIGIN}.evil.example` },
    { origin: 'null' },
  ]) {
    const answer = await send('/v1/auth/refresh', given as Record<string, string>)
    t.equal(answer.body.code, 'ERR_AUTH_ORIGIN_REFUSED')
  }
  t.equal((await send('/v1/auth/refresh', { origin: ORIGIN, 'sec-fetch-site': 'same-site' })).status, 403)
  const renewed = await send('/v1/auth/refresh', { origin: ORIGIN, 'sec-fetch-site': 'same-origin' })
  t.equal(renewed.status, 200)
  t.match(String(renewed.headers['set-cookie']), /rap_refresh=rap_rt_/)

  const reuse = await send('/v1/auth/refresh', { origin: ORIGIN })
  t.equal(reuse.status, 401)
  t.match(String(reuse.headers['set-cookie']), /rap_refresh=;/, 'a dead cookie is taken away')
})

t.test('a log-in in cookie mode from another origin is refused', async t => {
  const user = await member()
  t.equal((await login(user.email, PASSWORD, { refresh: 'cookie' })).status, 403)
  t.equal(
    (await login(user.email, PASSWORD, { refresh: 'cookie', headers: { origin: 'https://evil.example' } })).status,
    403,
  )
})

t.test('a log-out ends the log-in, by access token, refresh token or cookie', async t => {
  const user = await member()
  const byAccess = (await login(user.email, PASSWORD)).body
  t.equal((await instance.call({ token: byAccess.access_token }, 'POST', '/v1/auth/logout')).status, 204)
  t.equal((await me(byAccess.access_token)).status, 401)
  t.equal((await refresh(byAccess.refresh_token)).status, 401)

  const byRefresh = (await login(user.email, PASSWORD)).body
  const out = await instance.call(undefined, 'POST', '/v1/auth/logout', {
    body: { refresh_token: byRefresh.refresh_token },
  })
  t.equal(out.status, 204)
  t.equal((await me(byRefresh.access_token)).status, 401)

  const byCookie = await login(user.email, PASSWORD, { refresh: 'cookie', headers: { origin: ORIGIN } })
  const value = /rap_refresh=([^;]+)/.exec(String(byCookie.headers['set-cookie']))![1]!
  const headers = { cookie: `rap_refresh=${value}` }
  t.equal((await instance.call(undefined, 'POST', '/v1/auth/logout', { headers })).status, 403, 'not from anywhere')
  const answer = await instance.call(undefined, 'POST', '/v1/auth/logout', { headers: { ...headers, origin: ORIGIN } })
  t.equal(answer.status, 204)
  t.match(String(answer.headers['set-cookie']), /rap_refresh=;/)
  t.equal((await me(byCookie.body.access_token)).status, 401)
  t.equal(
    (await stand.audit(organizationId)).filter(e => e.user_id === user.id && e.event === 'user_logged_out').length,
    3,
  )
})

t.test('a change of password needs the old one, and ends every other log-in', async t => {
  const user = await member()
  const here = (await login(user.email, PASSWORD)).body
  const elsewhere = (await login(user.email, PASSWORD)).body
  const change = (current_password: string, new_password: string) =>
    instance.call({ token: here.access_token }, 'POST', '/v1/me/password', { body: { current_password, new_password } })
  t.equal((await change('not the passphrase', 'another long passphrase')).body.code, 'ERR_AUTH_INVALID_CREDENTIALS')
  for (const unfit of ['short', 'aaaaaaaaaaaaaaaa', `${user.email} and more`]) {
    t.equal((await change(PASSWORD, unfit)).body.code, 'ERR_AUTH_PASSWORD_UNFIT', unfit)
  }
  t.equal((await change(PASSWORD, 'another long passphrase')).status, 204)
  t.equal((await me(here.access_token)).status, 200)
  t.equal((await me(elsewhere.access_token)).status, 401)
  t.equal((await refresh(elsewhere.refresh_token)).status, 401)
  t.equal((await login(user.email, PASSWORD)).status, 401)
  t.equal((await login(user.email, 'another long passphrase')).status, 200)
})

t.test('no password is in the log, in the audit or in the database', async t => {
  const dump = await stand.postgres.dump(stand.superuserUrl)
  for (const password of [PASSWORD, 'not the passphrase', 'another long passphrase']) {
    t.notOk(dump.includes(password))
    t.notOk(stand.log.includes(password))
  }
})

t.test('the first user and organization are made once, by one of the instances that start together', async t => {
  const file = `${t.testdir({ password: 'the very first passphrase\n' })}/password`
  const fresh = await stand.freshDatabase()
  const env = { BOOTSTRAP_ADMIN_EMAIL: 'Admin@Example.com', BOOTSTRAP_ADMIN_PASSWORD_FILE: file }
  const instances = await Promise.all([1, 2, 3].map(() => fresh.build(env)))
  const users = await fresh.sql`select email, platform_role from rap.users`
  t.same([...users], [{ email: 'admin@example.com', platform_role: 'owner' }])
  t.equal((await fresh.sql`select 1 from rap.organizations`).length, 1)
  const answer = await instances[1]!.call(undefined, 'POST', '/v1/auth/login', {
    body: { email: 'admin@example.com', password: 'the very first passphrase' },
  })
  t.equal(answer.status, 200)
  t.match((await instances[0]!.call({ token: answer.body.access_token }, 'GET', '/v1/me')).body, {
    user: { platform_role: 'owner' },
    memberships: [{ role: 'owner', organization_name: 'Default' }],
  })
})

t.test('a token that nobody issued or whose log-in was ended is audited, one whose time is over is not', async t => {
  const user = await member()
  const { refusals } = instance.controlPlane.context
  const refused = async (name: string) => {
    await refusals.flush()
    const events = [...(await stand.audit(organizationId)), ...(await stand.audit(null))]
    return events.filter(({ event, user_id }) => event === name && (user_id === null || user_id === user.id))
  }
  const count = async (name: string) => (await refused(name)).length
  const { body } = await login(user.email, PASSWORD)
  const [before, refreshBefore] = [await count('access_token_refused'), await count('refresh_token_refused')]
  t.equal((await me(`rap_at_${'A'.repeat(43)}`)).status, 401)
  t.equal((await me('eyJhbGciOiJub25lIn0')).status, 401)
  t.equal((await refresh(`rap_rt_${'A'.repeat(43)}`)).status, 401)
  t.equal((await instance.call(undefined, 'GET', '/v1/me')).status, 401)
  const told = (await refused('access_token_refused')).slice(-2)
  t.match(told, [{ details: { reason: 'unknown' } }, { details: { reason: 'malformed' } }])
  t.equal(await count('access_token_refused'), before + 2, 'who shows no token is no event')
  t.equal(await count('refresh_token_refused'), refreshBefore + 1)

  await instance.call({ token: body.access_token }, 'POST', '/v1/auth/logout')
  t.equal((await me(body.access_token)).status, 401)
  t.equal((await refresh(body.refresh_token)).status, 401)
  for (const name of ['access_token_refused', 'refresh_token_refused']) {
    const event = (await refused(name)).find(({ user_id }) => user_id === user.id)
    t.match(event, { organization_id: organizationId, details: { reason: 'logout' } }, name)
    t.notMatch(JSON.stringify(event), body.access_token)
  }

  const { body: old } = await login(user.email, PASSWORD)
  await stand.sql`alter table rap.access_tokens disable trigger user`
  await stand.sql`
    update rap.access_tokens set created_at = now() - interval '1 hour', expires_at = now() - interval '1 second'
    where user_id = ${user.id}`
  await stand.sql`alter table rap.access_tokens enable trigger user`
  const all = await count('access_token_refused')
  t.equal((await me(old.access_token)).status, 401)
  t.equal(await count('access_token_refused'), all)
})
