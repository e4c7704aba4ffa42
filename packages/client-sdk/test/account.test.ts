import t from 'tap'
import { createRapClient } from '../src/index.ts'
import { json, problem, scriptedControlPlane } from './helper.ts'

const LOGIN = { email: 'a@example.com', password: 'correct horse' }

t.test('nobody can call before a log-in', async t => {
  const { origin, requests } = await scriptedControlPlane(t, { candidates: [] })
  const rap = createRapClient({ baseUrl: origin })
  t.equal(rap.loggedIn, false)
  await t.rejects(rap.me(), { code: 'ERR_NOT_LOGGED_IN' })
  t.equal(requests.length, 0)
})

t.test('a call carries the access token of the log-in', async t => {
  const { origin, requests } = await scriptedControlPlane(t, { candidates: [] })
  const rap = createRapClient({ baseUrl: origin })
  await rap.login(LOGIN)
  t.match(await rap.me(), { email: 'a@example.com', memberships: [] })
  t.same(requests[0]?.body, { ...LOGIN, refresh: 'body' })
  t.match(requests[1]?.headers.authorization, /^Bearer rap_at_/)
})

t.test('a wrong password keeps everybody out', async t => {
  const { origin } = await scriptedControlPlane(t, {
    candidates: [],
    intercept: (_request, response) => {
      problem(response, 401, 'ERR_AUTH_INVALID_CREDENTIALS')
      return true
    },
  })
  const rap = createRapClient({ baseUrl: origin })
  await t.rejects(rap.login(LOGIN), { code: 'ERR_AUTH_INVALID_CREDENTIALS', status: 401 })
  t.equal(rap.loggedIn, false)
})

t.test('an access token that the server refuses is renewed once, by one call for all', async t => {
  let refreshes = 0
  let refusals = 0
  const { origin } = await scriptedControlPlane(t, {
    candidates: [],
    intercept: ({ path, headers }, response) => {
      if (path === '/v1/auth/login') {
        json(response, { access_token: 'old', expires_in: 900, refresh_token: 'refresh-1' })
        return true
      }
      if (path === '/v1/auth/refresh') {
        refreshes += 1
        json(response, { access_token: 'new', expires_in: 900, refresh_token: `refresh-${refreshes + 1}` })
        return true
      }
      if (headers.authorization !== 'Bearer old') return false
      refusals += 1
      problem(response, 401, 'ERR_UNAUTHENTICATED')
      return true
    },
  })
  const rap = createRapClient({ baseUrl: origin })
  await rap.login(LOGIN)
  await Promise.all(Array.from({ length: 10 }, () => rap.me()))
  t.equal(refreshes, 1, 'a refresh token is for one use')
  t.equal(refusals, 10)
})

t.test('an access token that is nearly over is renewed before the call', async t => {
  const paths: string[] = []
  const { origin } = await scriptedControlPlane(t, {
    candidates: [],
    intercept: ({ path, body }, response) => {
      paths.push(path)
      if (path === '/v1/auth/login') {
        json(response, { access_token: 'short', expires_in: 1, refresh_token: 'refresh-1' })
        return true
      }
      if (path === '/v1/auth/refresh') t.same(body, { refresh_token: 'refresh-1' })
      return false
    },
  })
  const rap = createRapClient({ baseUrl: origin })
  await rap.login(LOGIN)
  await new Promise(resolve => setTimeout(resolve, 600))
  await rap.me()
  t.same(paths, ['/v1/auth/login', '/v1/auth/refresh', '/v1/me'])
})

t.test('a refresh that is refused ends the log-in; one that got no answer does not', async t => {
  let answer: 'refuse' | 'break' = 'break'
  const { origin } = await scriptedControlPlane(t, {
    candidates: [],
    intercept: ({ path }, response) => {
      if (path === '/v1/auth/login') return false
      if (path !== '/v1/auth/refresh') problem(response, 401, 'ERR_UNAUTHENTICATED')
      else if (answer === 'refuse') problem(response, 401, 'ERR_AUTH_REFRESH_INVALID')
      else response.destroy()
      return true
    },
  })
  const rap = createRapClient({ baseUrl: origin })
  await rap.login(LOGIN)
  await t.rejects(rap.me(), { code: 'ERR_NETWORK' })
  t.equal(rap.loggedIn, true)
  answer = 'refuse'
  await t.rejects(rap.me(), { code: 'ERR_AUTH_REFRESH_INVALID' })
  t.equal(rap.loggedIn, false)
})

t.test('a log-out forgets the tokens at once, and a late refresh does not bring them back', async t => {
  const late = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const { origin, requests } = await scriptedControlPlane(t, {
    candidates: [],
    intercept: async ({ path }, response) => {
      if (path === '/v1/me') {
        problem(response, 401, 'ERR_UNAUTHENTICATED')
        return true
      }
      if (path === '/v1/auth/refresh') {
        asked.resolve()
        await late.promise
      }
      return false
    },
  })
  const rap = createRapClient({ baseUrl: origin })
  await rap.login(LOGIN)
  const call = rap.me()
  call.catch(() => {})
  await asked.promise
  await rap.logout()
  late.resolve()
  await t.rejects(call, { code: 'ERR_NOT_LOGGED_IN' })
  t.equal(rap.loggedIn, false)
  t.match(requests.find(({ path }) => path === '/v1/auth/logout')?.body, { refresh_token: /^rap_rt_/ })
})

t.test('a page that has no cookie is not logged in by a resume', async t => {
  const { origin, requests } = await scriptedControlPlane(t, {
    candidates: [],
    intercept: ({ path }, response) => {
      if (path !== '/v1/auth/refresh') return false
      problem(response, 401, 'ERR_AUTH_REFRESH_INVALID')
      return true
    },
  })
  const rap = createRapClient({ baseUrl: origin })
  t.equal(await rap.resume(), false)
  t.same(requests[0]?.body, {}, 'the cookie is all there is')
})

t.test('an answer without the shape of a log-in is refused, without its values', async t => {
  for (const body of [
    {},
    { access_token: 'a\nb', expires_in: 900, refresh_token: 'r' },
    { access_token: 'a', expires_in: -1 },
    [],
  ]) {
    const { origin } = await scriptedControlPlane(t, {
      candidates: [],
      intercept: (_request, response) => {
        json(response, body)
        return true
      },
    })
    const rap = createRapClient({ baseUrl: origin })
    await t.rejects(rap.login(LOGIN), { code: 'ERR_RESPONSE_INVALID' })
  }
})

t.test('a base URL that would send passwords in the clear is refused', async t => {
  for (const baseUrl of [
    'http://rap.example',
    'ftp://rap.example',
    'nonsense',
    'https://u:p@rap.example',
    'http://localhost.evil.example',
  ]) {
    t.throws(() => createRapClient({ baseUrl }), { code: 'ERR_OPTION_INVALID' }, baseUrl)
  }
  t.throws(() => createRapClient({ baseUrl: 'https://rap.example', environment: 'staging' as never }), {
    code: 'ERR_OPTION_INVALID',
  })
  for (const baseUrl of ['https://rap.example', 'http://localhost:8080', 'http://[::1]:8080'])
    t.ok(createRapClient({ baseUrl }))
})
