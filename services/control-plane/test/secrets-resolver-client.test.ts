import { readFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { createLogger, internalAgent } from '@rap/service-kit'
import { Type } from '@sinclair/typebox'
import t from 'tap'
import type { Caller } from '../src/auth/caller.ts'
import { HttpMasterKeys } from '../src/master-keys/keeper.ts'
import { HttpResolver } from '../src/secrets/resolver.ts'
import { ResolverClient } from '../src/secrets/resolver-client.ts'

/** What a resolver could say that the real one cannot be brought to say; the real one is in process.test.ts. */
let answer: { status: number; body: unknown } = { status: 200, body: {} }
const seen: { method: string; url: string; requestId: unknown; body: unknown }[] = []
const authority = await createAuthority({ name: 'test CA', days: 1, now: new Date() })
const issue = (id: string, usage: 'server' | 'client') =>
  issueCertificate({
    authority,
    commonName: id,
    usages: [usage],
    dnsNames: ['localhost'],
    uris: [spiffeId('rap.test', 'service', id)],
    now: new Date(),
  })
const [server, client] = await Promise.all([issue('secret-resolver', 'server'), issue('control-plane', 'client')])
const resolver = createServer(
  { cert: server.certificatePem, key: server.keyPem, ca: authority.certificatePem, requestCert: true },
  async (request, response) => {
    let text = ''
    for await (const chunk of request) text += chunk
    const body = text === '' ? undefined : JSON.parse(text)
    seen.push({
      method: request.method ?? '',
      url: request.url ?? '',
      requestId: request.headers['x-request-id'],
      body,
    })
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body))
  },
)
await new Promise<void>(resolve => resolver.listen(0, '127.0.0.1', resolve))
t.teardown(() => {
  resolver.closeAllConnections()
  resolver.close()
})
const agent = internalAgent({
  cert: client.certificatePem,
  key: client.keyPem,
  ca: authority.certificatePem,
  trustDomain: 'rap.test',
  expectedIdentity: 'service/secret-resolver',
})
t.teardown(() => agent.close())
const port = (resolver.address() as AddressInfo).port
const logger = createLogger({ service: 'test', level: 'silent' })
const resolverClient = new ResolverClient({ baseUrl: `https://localhost:${port}`, agent, logger })

const caller = {
  id: '55555555-5555-4555-8555-555555555555',
  origin: { requestId: 'req-1', clientAddress: '192.0.2.1' },
} as Caller
const place = {
  organizationId: '44444444-4444-4444-8444-444444444444',
  resourceId: '33333333-3333-4333-8333-333333333333',
}
const ask = () => resolverClient.ask(Type.Object({}), { method: 'GET', path: '/v1/rewraps', caller })

/** Codes of the resolver that speak of its own matters, or of workers; nobody is told them. */
const KEPT = ['ERR_RESOLVE_DENIED', 'ERR_RESOURCE_NOT_FOUND']

t.test('every code of the resolver is passed on with what it says, or is kept on purpose', async t => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/operations/errors.md'), 'utf8')
  const section = page.slice(page.indexOf('## secret-resolver'))
  const rows = [...section.matchAll(/^\| `(ERR_[A-Z_]+)` \| (\d{3}) \|/gm)]
  t.ok(rows.length > 20, 'the page lists the codes')
  for (const [, code = '', status = ''] of rows) {
    const extras = { secrets: 3, sealing_keys: 1, missing_on: ['host:1'] }
    answer = { status: Number(status), body: { code, title: 'Refused', detail: 'Why', request_id: 'r', ...extras } }
    const expected = KEPT.includes(code)
      ? { code: 'ERR_SECRET_RESOLVER_UNAVAILABLE', status: 503, extras: {} }
      : { code, status: Number(status), detail: 'Why', extras }
    await t.rejects(ask(), expected, code)
  }
})

t.test('a failure of the resolver tells people nothing of it', async t => {
  const cases: [string, number, unknown][] = [
    ['a fault of its own', 500, { code: 'ERR_INTERNAL', title: 'x', detail: 'canary' }],
    ['its own upstream', 503, { code: 'ERR_UPSTREAM_UNAVAILABLE', title: 'x', detail: 'canary' }],
    ['a bug of ours', 400, { code: 'ERR_VALIDATION', title: 'x', detail: 'canary' }],
    ['a wrong certificate', 403, { code: 'ERR_MTLS_IDENTITY', title: 'x', detail: 'canary' }],
    ['no problem document', 502, 'canary'],
    ['an answer of another form', 200, ['canary']],
  ]
  for (const [name, status, body] of cases) {
    answer = { status, body }
    const problem = await ask().catch(error => error)
    t.match(problem, { code: 'ERR_SECRET_RESOLVER_UNAVAILABLE', status: 503 }, name)
    t.same([problem.detail, problem.extras], [undefined, {}], name)
  }
})

t.test('a history and a list of keys that are not bounded are not taken', async t => {
  const version = {
    secret_ref: 'rap-secret://x',
    version: 1,
    key_id: 'k',
    algorithm: 'AES-256-GCM',
    payload_sha256: '0',
    created_at: '2026-01-01T00:00:00.000Z',
    created_by: null,
    state: 'destroyed',
    superseded_at: null,
    destroy_after: null,
    destroyed_at: '2026-01-01T00:00:00.000Z',
  }
  const versions = new HttpResolver(resolverClient)
  answer = { status: 200, body: { items: Array(100).fill(version) } }
  t.equal((await versions.versions(place, caller)).items.length, 100)
  answer = { status: 200, body: { items: Array(101).fill(version) } }
  await t.rejects(versions.versions(place, caller), { code: 'ERR_SECRET_RESOLVER_UNAVAILABLE' })
  answer = { status: 200, body: { items: [{ ...version, state: 'unheard_of' }] } }
  await t.rejects(versions.versions(place, caller), { code: 'ERR_SECRET_RESOLVER_UNAVAILABLE' })
  answer = { status: 200, body: { items: [], sources: [{ name: 'a', health: 'x'.repeat(3_000_000) }], instances: [] } }
  await t.rejects(new HttpMasterKeys(resolverClient).list(caller), { code: 'ERR_SECRET_RESOLVER_UNAVAILABLE' })
})

t.test('a change says who asked for it, and a look says nothing', async t => {
  const keys = new HttpMasterKeys(resolverClient)
  const secrets = new HttpResolver(resolverClient)
  const actor = { actor_user_id: caller.id, request_id: 'req-1' }
  const secret = `/v1/secrets/${place.organizationId}/${place.resourceId}/rdp-primary`
  const calls: [() => Promise<unknown>, string, string, unknown][] = [
    [() => keys.list(caller), 'GET', '/v1/master-keys', undefined],
    [() => keys.rotate('next', caller), 'POST', '/v1/master-keys/rotate', { source: 'next', ...actor }],
    [() => keys.retire('vault:3', caller), 'POST', '/v1/master-keys/vault:3/retire', actor],
    [() => keys.planRewrap(caller), 'GET', '/v1/rewraps/plan', undefined],
    [() => keys.listRewraps(caller), 'GET', '/v1/rewraps', undefined],
    [() => keys.startRewrap(caller), 'POST', '/v1/rewraps', actor],
    [() => keys.readRewrap(caller.id, caller), 'GET', `/v1/rewraps/${caller.id}`, undefined],
    [() => secrets.versions(place, caller), 'GET', `${secret}/versions`, undefined],
    [
      () => secrets.rollback(place, { toVersion: 2, expectedVersion: 0 }, caller),
      'POST',
      `${secret}/rollback`,
      { to_version: 2, expected_version: 0, ...actor },
    ],
    [
      () => secrets.rollback(place, { toVersion: 2, expectedVersion: undefined }, caller),
      'POST',
      `${secret}/rollback`,
      { to_version: 2, ...actor },
    ],
  ]
  answer = { status: 200, body: [] }
  for (const [call, method, url, body] of calls) {
    await t.rejects(call(), { code: 'ERR_SECRET_RESOLVER_UNAVAILABLE' })
    t.same(seen.at(-1), { method, url, requestId: 'req-1', body }, `${method} ${url}`)
  }
})

t.test('a rotation that gets no answer is not sent twice: each one may make a key', async t => {
  let requests = 0
  const drop = (request: IncomingMessage) => {
    requests += 1
    request.socket.destroy()
  }
  resolver.prependListener('request', drop)
  t.teardown(() => resolver.off('request', drop))
  await t.rejects(new HttpMasterKeys(resolverClient).rotate('next', caller), {
    code: 'ERR_SECRET_RESOLVER_UNAVAILABLE',
  })
  t.equal(requests, 1)
})
