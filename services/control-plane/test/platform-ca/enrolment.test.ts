import { randomUUID, X509Certificate } from 'node:crypto'
import { createCsr, identityOfCertificate } from '@rap/pki'
import fc from 'fast-check'
import t from 'tap'
import { auditSystem } from '../../src/audit/write.ts'
import { parseJoinToken } from '../../src/platform-ca/join-token.ts'
import { foundPlatformCa } from '../../src/platform-ca/rotation.ts'
import { startStand } from '../helper.ts'
import { enrolWorker } from './enrolled.ts'

const stand = await startStand(t)
const instance = await stand.build()
const owner = await stand.user({ platformRole: 'owner' })
const csrOf = async (names: Parameters<typeof createCsr>[0]) => (await createCsr(names)).csrPem
const order = async (body: object = {}) =>
  await instance.call(owner, 'POST', '/v1/workers/join-tokens', {
    body: { name: 'Worker 1', dns_names: ['Worker-1.Example.'], ip_addresses: ['10.0.0.7', 'FD00::0:7'], ...body },
  })
const enrol = async (join_token: string, csr: string) =>
  await instance.call(undefined, 'POST', '/v1/enroll', { body: { join_token, csr } })
const lastAudit = async () => (await stand.audit(null)).at(-1)

t.test('without a managed CA nobody gets a token, and a token is refused', async t => {
  t.match(await order(), { status: 409, body: { code: 'ERR_PLATFORM_CA_UNMANAGED' } })
  const token = `rapjoin.${randomUUID()}.${'a'.repeat(43)}.${'b'.repeat(43)}`
  t.match(await enrol(token, await csrOf({ commonName: 'x' })), {
    status: 403,
    body: { code: 'ERR_ENROLMENT_REFUSED' },
  })
  t.match((await instance.call(undefined, 'GET', '/v1/trust-bundle')).body, { version: 0, signed: null })
  await foundPlatformCa(stand.platformCa().steps(auditSystem))
  t.match((await instance.call(undefined, 'GET', '/v1/trust-bundle')).body, { version: 1, ref: 'rap-platform-ca:v1' })
})

t.test(
  'a certificate carries the registered names, the SPIFFE ID and the key of the request, and nothing else',
  async t => {
    const { body: token } = await order()
    const { csrPem } = await createCsr({ commonName: token.identity_id })
    const { status, body } = await enrol(token.join_token, csrPem)
    t.equal(status, 200)
    const leaf = new X509Certificate(body.certificate)
    t.equal(identityOfCertificate(leaf), `spiffe://rap.test/worker/${token.identity_id}`)
    t.match(leaf.subjectAltName, /DNS:worker-1\.example, IP Address:10\.0\.0\.7, IP Address:FD00:0:0:0:0:0:0:7, URI:/)
    t.notOk(leaf.ca)
    const hours = (Date.parse(leaf.validTo) - Date.now()) / 3_600_000
    t.ok(hours > 23.9 && hours <= 24, 'a day')
    const renewHours = (Date.parse(body.renew_at) - Date.now()) / 3_600_000
    t.ok(renewHours > 15.9 && renewHours <= 16, 'renewal at two thirds')
    t.match(body, {
      kind: 'worker',
      id: token.identity_id,
      trust_domain: 'rap.test',
      trust_bundle: { payload: String },
    })
    t.match(await lastAudit(), { event: 'identity_enrolled', worker_id: token.identity_id, outcome: 'ok' })
  },
)

t.test('of a token only the hash is kept', async t => {
  const { body: token } = await order()
  const [, , secret] = token.join_token.split('.')
  const dump = JSON.stringify(await stand.sql`select * from rap.join_tokens`) + JSON.stringify(await stand.audit(null))
  t.notMatch(dump, secret)
  t.notMatch(stand.log, secret)
  t.ok(parseJoinToken(token.join_token))
})

t.test('a token is for one key: the same key may ask again, another one is refused', async t => {
  const { body: token } = await order()
  const csr = await csrOf({ commonName: token.identity_id })
  const [one, two] = await Promise.all([enrol(token.join_token, csr), enrol(token.join_token, csr)])
  t.strictSame([one.status, two.status], [200, 200], 'a lost answer can be had again')
  const other = await enrol(token.join_token, await csrOf({ commonName: token.identity_id }))
  t.match(other, { status: 403, body: { code: 'ERR_ENROLMENT_REFUSED' } })
  t.match((await lastAudit())?.details, { reason: 'used', join_token_id: token.id })
  await stand.sql`update rap.join_tokens set used_at = used_at - interval '11 minutes' where id = ${token.id}`
  t.equal((await enrol(token.join_token, csr)).status, 403, 'and only for a while')
})

t.test('of parallel enrolments with different keys one wins', async t => {
  const { body: token } = await order()
  const csrs = await Promise.all(Array.from({ length: 6 }, () => csrOf({ commonName: token.identity_id })))
  const answers = await Promise.all(csrs.map(csr => enrol(token.join_token, csr)))
  t.strictSame(answers.map(({ status }) => status).sort(), [200, 403, 403, 403, 403, 403])
  // What was counted gets its row now, and not while a later test looks at the newest one.
  await instance.controlPlane.context.refusals.flush()
  const [row] = await stand.sql`
    select count(*)::int as count from rap.issued_certificates where identity_id = ${token.identity_id}`
  t.equal(row?.count, 1)
})

t.test('every token that is not good has one answer; the audit knows the reason', async t => {
  const csr = await csrOf({ commonName: 'x' })
  const answers: unknown[] = []
  const refused = async (text: string, reason: string) => {
    const { status, body } = await enrol(text, csr)
    answers.push({ status, ...body, request_id: undefined })
    t.match(await lastAudit(), { event: 'identity_enrolment_refused', outcome: 'refused', details: { reason } }, reason)
  }
  const { body: expired } = await order()
  await stand.sql`alter table rap.join_tokens disable trigger user`
  await stand.sql`
    update rap.join_tokens set created_at = now() - interval '2 hours', expires_at = now() - interval '1 second'
    where id = ${expired.id}`
  await stand.sql`alter table rap.join_tokens enable trigger user`
  const { body: deleted } = await order()
  t.equal((await instance.call(owner, 'DELETE', `/v1/join-tokens/${deleted.id}`)).status, 204)
  const { body: good } = await order()
  const parts = good.join_token.split('.')
  await refused(expired.join_token, 'expired')
  await refused(deleted.join_token, 'deleted')
  await refused([parts[0], parts[1], 'A'.repeat(43), parts[3]].join('.'), 'wrong_secret')
  await refused([parts[0], randomUUID(), parts[2], parts[3]].join('.'), 'unknown')
  await refused('rapjoin.nonsense', 'malformed')
  await stand.sql`update rap.identities set state = 'revoked', revoked_at = now() where id = ${good.identity_id}`
  await refused(good.join_token, 'identity_revoked')
  for (const answer of answers) t.strictSame(answer, answers[0])
})

t.test('a request that names more than what is registered is refused, and spends nothing', async t => {
  const { body: token } = await order()
  const foreign = [
    { commonName: 'other.example' },
    { commonName: token.identity_id, dnsNames: ['worker-2.example'] },
    { commonName: token.identity_id, dnsNames: ['*.worker-1.example'] },
    { commonName: token.identity_id, ipAddresses: ['10.0.0.8'] },
    { commonName: token.identity_id, uris: [`spiffe://rap.test/worker/${randomUUID()}`] },
    { commonName: token.identity_id, uris: ['spiffe://rap.test/service/control-plane'] },
  ]
  for (const names of foreign) {
    t.match(await enrol(token.join_token, await csrOf(names)), { status: 422, body: { code: 'ERR_CSR_NAMES' } })
  }
  for (const text of [
    '',
    '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n',
    'x'.repeat(9000),
  ]) {
    t.match((await enrol(token.join_token, text)).status, /^4/)
  }
  const own = await csrOf({ commonName: 'worker-1.example', dnsNames: ['WORKER-1.example'], ipAddresses: ['fd00::7'] })
  t.equal((await enrol(token.join_token, own)).status, 200)
})

t.test('a request whose signature is not by its own key is refused', async t => {
  const { body: token } = await order()
  const [one, two] = [await csrOf({ commonName: token.identity_id }), await csrOf({ commonName: token.identity_id })]
  const bytes = (pem: string) => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  // Both have the same form, so the last 64 bytes belong to the signature.
  const spliced = Buffer.concat([bytes(one).subarray(0, -64), bytes(two).subarray(-64)])
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${spliced.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
  t.match(await enrol(token.join_token, pem), { status: 422, body: { code: 'ERR_CSR_INVALID' } })
})

t.test('a renewal takes identity and names from the register, and a fresh key', async t => {
  const worker = await enrolWorker(instance, owner)
  const before = new X509Certificate(worker.certificate)
  t.match((await worker.status()).body, { kind: 'worker', id: worker.id, state: 'active', renew_now: false })
  await stand.sql`update rap.identities set dns_names = array['worker-9.example'] where id = ${worker.id}`
  const first = worker.certificate
  t.equal((await worker.renew()).status, 200)
  t.match((await lastAudit())?.details, { replaced_before: false })
  t.equal((await worker.renew(undefined, first)).status, 200)
  t.match((await lastAudit())?.details, { replaced_before: true }, 'two who renew from one certificate are seen')
  const after = new X509Certificate(worker.certificate)
  t.match(after.subjectAltName, /^DNS:worker-9\.example, URI:/)
  t.not(
    after.publicKey.export({ type: 'spki', format: 'pem' }),
    before.publicKey.export({ type: 'spki', format: 'pem' }),
  )
  t.match(await worker.renew(await csrOf({ commonName: randomUUID() })), {
    status: 422,
    body: { code: 'ERR_CSR_NAMES' },
  })
  await stand.sql`update rap.identities set state = 'revoked', revoked_at = now() where id = ${worker.id}`
  t.match(await worker.renew(), { status: 403, body: { code: 'ERR_WORKER_REVOKED' } })
  t.match(await worker.status(), { status: 403, body: { code: 'ERR_WORKER_REVOKED' } })
})

t.test('nobody renews who is not registered, nor without a certificate', async t => {
  const csr = await csrOf({ commonName: 'x' })
  const renew = (peer: string | undefined) =>
    instance.internal(peer, 'POST', '/internal/v1/identity/certificates', { body: { csr } })
  t.match(await renew(`worker/${randomUUID()}`), { status: 404, body: { code: 'ERR_IDENTITY_UNKNOWN' } })
  t.match(await renew('service/nobody'), { status: 404, body: { code: 'ERR_IDENTITY_UNKNOWN' } })
  t.match(await renew(undefined), { status: 403, body: { code: 'ERR_MTLS_IDENTITY' } })
})

t.test('a worker announces itself under registered names only, and its labels are the registered ones', async t => {
  const worker = await enrolWorker(instance, owner, { dns_names: ['worker-1.example'], labels: { site: 'berlin' } })
  const answer = await worker.announce('wss://worker-1.example:8463/data-plane/v1', { site: 'vault' })
  t.equal(answer.status, 200)
  const [row] = await stand.sql`select name, labels from rap.workers where id = ${worker.id}`
  t.match(row, { name: 'Worker', labels: { site: 'berlin' } })
  t.match(await worker.announce('wss://worker-2.example:8463/data-plane/v1'), {
    status: 422,
    body: { code: 'ERR_WORKER_URL_INVALID' },
  })
  const stranger = await instance.internal(`worker/${randomUUID()}`, 'POST', '/internal/v1/workers/self', {
    body: { public_url: 'wss://worker-1.example:8463/data-plane/v1' },
  })
  t.match(stranger, { status: 403, body: { code: 'ERR_WORKER_UNKNOWN' } })
})

t.test('only names that a certificate may carry are registered', async t => {
  const bad = [
    { dns_names: [], ip_addresses: [] },
    { dns_names: ['*.example'] },
    { dns_names: ['a b.example'] },
    { dns_names: ['worker.example,DNS:evil.example'] },
    { dns_names: ['10.0.0.1'] },
    { dns_names: ['-a.example'] },
    { ip_addresses: ['10.0.0.300'] },
    { ip_addresses: ['fe80::1%eth0'] },
    { ip_addresses: ['10.1'] },
  ]
  for (const names of bad) {
    t.match(await order(names), { status: 422, body: { code: 'ERR_IDENTITY_NAMES_INVALID' } }, JSON.stringify(names))
  }
})

t.test('join tokens and the register are for owners of the platform', async t => {
  const organizationId = await stand.organization()
  const admin = await stand.user({ organizationId, role: 'owner' })
  for (const [method, url, body] of [
    ['POST', '/v1/workers/join-tokens', { name: 'x', dns_names: ['a.example'] }],
    ['POST', '/v1/services/join-tokens', { service: 'gateway', dns_names: ['a.example'] }],
    ['GET', '/v1/join-tokens', undefined],
    ['DELETE', `/v1/join-tokens/${randomUUID()}`, undefined],
    ['GET', '/v1/identities', undefined],
    ['GET', '/v1/platform-ca', undefined],
    ['POST', '/v1/platform-ca/stage', {}],
  ] as const) {
    const { status } = await instance.call(admin, method, url, body === undefined ? {} : { body })
    t.equal(status, 403, `${method} ${url}`)
  }
})

t.test('a service enrols as itself; join tokens and identities are listed in pages', async t => {
  const { body: token } = await instance.call(owner, 'POST', '/v1/services/join-tokens', {
    body: { service: 'gateway', dns_names: ['gateway.rap.internal'], ttl_seconds: 60 },
  })
  const { body } = await enrol(token.join_token, await csrOf({ commonName: 'gateway' }))
  t.equal(identityOfCertificate(new X509Certificate(body.certificate)), 'spiffe://rap.test/service/gateway')
  const walk = async (path: string) => {
    const items: Record<string, unknown>[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body: page } = await instance.call(
        owner,
        'GET',
        `${path}?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
      )
      items.push(...page.items)
      cursor = page.next_cursor
    }
    return items
  }
  const tokens = await walk('/v1/join-tokens')
  t.match(tokens[0], { id: token.id, identity_id: 'gateway', state: 'used' })
  t.equal(new Set(tokens.map(({ id }) => id)).size, tokens.length)
  const identities = await walk('/v1/identities')
  t.match(identities[0], { kind: 'service', id: 'gateway', certificate: { generation: 1, thumbprint: String } })
  const [row] = await stand.sql`select count(*)::int as count from rap.identities`
  t.equal(identities.length, row?.count)
})

t.test('the bundle is sent once to whoever keeps it, and a numbered one for good', async t => {
  const answer = await instance.call(undefined, 'GET', '/v1/trust-bundle')
  const etag = String(answer.headers.etag)
  t.match(etag, /^"[A-Za-z0-9_-]{43}"$/)
  t.equal(
    (await instance.call(undefined, 'GET', '/v1/trust-bundle', { headers: { 'if-none-match': etag } })).status,
    304,
  )
  const stale = await instance.call(undefined, 'GET', '/v1/trust-bundle', { headers: { 'if-none-match': '"x"' } })
  t.equal(stale.status, 200)
  const numbered = await instance.call(undefined, 'GET', '/v1/trust-bundles/1')
  t.match(numbered.headers['cache-control'], /immutable/)
  t.strictSame(numbered.body, answer.body)
  t.equal((await instance.call(undefined, 'GET', '/v1/trust-bundles/99')).status, 404)
  t.equal((await instance.call(undefined, 'GET', '/v1/trust-bundles/x')).status, 400)
})

t.test('no text but a token of ours reads as one', async t => {
  fc.assert(fc.property(fc.string({ maxLength: 300 }), text => parseJoinToken(text) === undefined))
  const form = fc.tuple(
    fc.uuid(),
    fc.stringMatching(/^[A-Za-z0-9_-]{42,44}$/),
    fc.stringMatching(/^[A-Za-z0-9_-]{43}$/),
  )
  fc.assert(
    fc.property(form, ([id, secret, hash]) => {
      const token = parseJoinToken(`rapjoin.${id}.${secret}.${hash}`)
      return secret.length === 43 ? token?.id === id : token === undefined
    }),
  )
  t.pass('held for every text')
})
