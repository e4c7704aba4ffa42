import t from 'tap'
import { startStand } from './helper.ts'

const stand = await startStand(t)
const directory = t.testdir({
  'index.html': '<!doctype html><title>Portal</title>',
  'favicon.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
  '.env': 'SECRET=1',
  assets: { 'index-BfQx31aZ.js': 'export {}', 'ironrdp-77aa.wasm': 'wasm' },
})
const instance = await stand.build({ PORTAL_DIR: directory })
const get = (url: string, headers: Record<string, string> = {}) => instance.call(undefined, 'GET', url, { headers })
const page = { accept: 'text/html,application/xhtml+xml' }

t.test('the start page comes for every place inside the portal, under a strict policy', async t => {
  for (const url of ['/', '/resources', '/sessions/1234', '/index.html']) {
    const { status, text, headers } = await get(url, page)
    t.equal(status, 200, url)
    t.match(text, 'Portal')
    t.equal(headers['cache-control'], 'no-cache')
    const policy = String(headers['content-security-policy'])
    for (const part of ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "frame-ancestors 'none'"]) {
      t.ok(policy.includes(part), part)
    }
    t.notMatch(policy, /script-src[^;]*unsafe-inline/)
    t.equal(headers['x-content-type-options'], 'nosniff')
  }
})

t.test('files with a hash in their name are kept for ever', async t => {
  const script = await get('/assets/index-BfQx31aZ.js')
  t.equal(script.headers['cache-control'], 'public, max-age=31536000, immutable')
  t.match(script.headers['content-type'], 'javascript')
  t.match((await get('/assets/ironrdp-77aa.wasm')).headers['content-type'], 'application/wasm')
  t.equal((await get('/favicon.svg')).headers['cache-control'], 'no-cache')
})

t.test('a missing file and a path of the API are never the start page', async t => {
  for (const url of [
    '/assets/gone.js',
    '/v1/nothing',
    '/v1/',
    '/internal/v1/binds',
    '/.well-known/nothing',
    '/metrics',
  ]) {
    const { status, body } = await get(url, page)
    t.equal(status, 404, url)
    t.equal(body.code, 'ERR_NOT_FOUND')
  }
  t.equal((await get('/resources', { accept: 'application/json' })).status, 404)
})

t.test('nothing outside of the directory is served, and no hidden file', async t => {
  for (const url of [
    '/.env',
    '/../package.json',
    '/%2e%2e/package.json',
    '/assets/..%2f..%2fpackage.json',
    '/..%5cx',
    '/%00',
  ]) {
    const { status, text } = await get(url)
    t.ok(status >= 400, `${url}: ${status}`)
    t.notMatch(text, 'SECRET')
    t.notMatch(text, '"name"')
  }
})

t.test('a method that a path does not know is answered with 405', async t => {
  const answer = await instance.call(undefined, 'DELETE', '/v1/auth/login')
  t.equal(answer.status, 405)
  t.match(answer.headers.allow, 'POST')
})

t.test('the page of the API works under its own policy', async t => {
  const docs = await get('/docs', page)
  t.equal(docs.status, 200)
  const policy = String(docs.headers['content-security-policy'])
  t.match(policy, /script-src 'self'/)
  const { status, text } = await get('/docs/json')
  t.equal(status, 200)
  const document = JSON.parse(text)
  t.match(document.openapi, /^3\.1/)
  t.ok(document.paths['/v1/sessions'].post)
  t.notOk(Object.keys(document.paths).some(path => path.startsWith('/internal')))
})
