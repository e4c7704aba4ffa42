import { randomUUID, X509Certificate } from 'node:crypto'
import { Agent, request as httpsRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import { certificateThumbprint, createAuthority, issueCertificate, spiffeId } from '@rap/pki'
import { waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import { auditSystem } from '../src/audit/write.ts'
import { identifyByCertificate } from '../src/http/peer.ts'
import { foundPlatformCa } from '../src/platform-ca/rotation.ts'
import { sweep } from '../src/sessions/reaper.ts'
import { newJkt, startStand } from './helper.ts'
import { enrolWorker } from './platform-ca/enrolled.ts'

const stand = await startStand(t)
const instance = await stand.build()
const organizationId = await stand.organization()
const operator = await stand.user({ organizationId, role: 'operator' })
const owner = await stand.user({ platformRole: 'owner' })

const revoke = (id: string) => instance.call(owner, 'POST', `/v1/workers/${id}/revoke`)
const audited = async (chain: string | null, event: string) =>
  (await stand.audit(chain)).filter(row => row.event === event)

/** A worker for one pool, and a way to start sessions there. */
async function pool(name: string = randomUUID()) {
  const worker = (await instance.worker({ labels: { pool: name } })).start()
  const resource = await stand.resource(organizationId, { labels: { pool: name } })
  const start = async () => {
    const body = { resource_id: resource, dpop_jkt: await newJkt() }
    return (await instance.call(operator, 'POST', '/v1/sessions', { body })).body
  }
  const read = async (id: string) => (await instance.call(operator, 'GET', `/v1/sessions/${id}`)).body
  return { name, worker, start, read }
}

const directory = async (headers: Record<string, string> = {}) =>
  await instance.internal('service/gateway', 'GET', '/internal/v1/workers/directory', { headers })

t.test('before a CA is managed here, announced workers are revoked all the same', async t => {
  const { worker, start, read } = await pool()
  const { session } = await start()
  t.match((await revoke(worker.id)).body, { kind: 'worker', id: worker.id, state: 'revoked', sessions_failed: 1 })
  t.match(await read(session.id), { state: 'failed', failure: { code: 'ERR_WORKER_REVOKED' } })
  t.match((await worker.announce()).body, { code: 'ERR_WORKER_REVOKED' })
})

t.test('the live sessions of a revoked worker have failed, and nobody else is touched', async t => {
  const doomed = await pool()
  const innocent = await pool()
  const [bound, ready, left] = [await doomed.start(), await doomed.start(), await doomed.start()]
  t.equal((await doomed.worker.bind(bound.data_plane.token)).status, 200)
  await instance.call(operator, 'POST', `/v1/sessions/${left.session.id}/detach`)
  const other = await innocent.start()
  t.match(await revoke(doomed.worker.id), { status: 200, body: { state: 'revoked', sessions_failed: 2 } })
  for (const { session, attachment } of [bound, ready]) {
    t.match(await doomed.read(session.id), {
      state: 'failed',
      end_reason: 'ERR_WORKER_REVOKED',
      failure: { code: 'ERR_WORKER_REVOKED', remedy: String },
      attachment: { id: attachment.id, state: 'failed' },
    })
  }
  t.match(await doomed.read(left.session.id), { state: 'detached' }, 'its desktop is still on the target')
  t.match(await innocent.read(other.session.id), { state: 'ready' })
  const failed = (await audited(organizationId, 'session_failed')).filter(row => row.worker_id === doomed.worker.id)
  t.match(failed, [{ code: 'ERR_WORKER_REVOKED' }, { code: 'ERR_WORKER_REVOKED' }])
  const [event] = (await audited(null, 'worker_revoked')).filter(row => row.worker_id === doomed.worker.id)
  t.match(event, { actor_id: owner.id, details: { sessions_failed: 2 } })
})

t.test('done again it changes nothing, and a worker that nobody knows is not there', async t => {
  const { worker } = await pool()
  const first = await revoke(worker.id)
  const again = await revoke(worker.id)
  t.same(again.body, { ...first.body, sessions_failed: 0, join_tokens_deleted: 0 })
  const events = (await audited(null, 'worker_revoked')).filter(row => row.worker_id === worker.id)
  t.equal(events.length, 1)
  t.equal((await revoke(randomUUID())).status, 404)
})

t.test('the worker is told over Redis at once, and the source of truth agrees', async t => {
  const { worker, start } = await pool()
  const { attachment } = await start()
  const subscriber = stand.redis.duplicate()
  t.teardown(() => subscriber.disconnect())
  const hints: unknown[] = []
  subscriber.on('message', (_channel, text) => hints.push(JSON.parse(text)))
  await subscriber.subscribe(`rap:worker:${worker.id}:control`)
  await revoke(worker.id)
  await waitFor(() => hints.length > 0, { what: 'a hint' })
  t.same(hints, [{ type: 'close_attachment', attachment_id: attachment.id, reason: 'ERR_WORKER_REVOKED' }])
  const body = { attachment_ids: [attachment.id] }
  const told = await instance.internal(worker.peer, 'POST', '/internal/v1/workers/self/attachments', { body })
  t.match(told.body, { attachments: [{ state: 'failed', reason: 'ERR_WORKER_REVOKED' }] })
})

t.test('what was ordered in the moment of the revocation is swept up', async t => {
  const { worker, read } = await pool()
  // As if the transaction that ordered it had been committed a moment after the revocation.
  await stand.sql`update rap.workers set state = 'revoked', revoked_at = now() where id = ${worker.id}`
  const late = await pool()
  const { session, attachment } = await late.start()
  await stand.sql`alter table rap.session_attachments disable trigger user`
  await stand.sql`update rap.session_attachments set worker_id = ${worker.id} where id = ${attachment.id}`
  await stand.sql`alter table rap.session_attachments enable trigger user`
  t.equal(await sweep(instance.controlPlane.context), true)
  t.match(await read(session.id), { state: 'failed', failure: { code: 'ERR_WORKER_REVOKED' } })
})

t.test(
  'revocations, starts, detaches and attaches at once leave no session on the worker, and nobody waits in a circle',
  async t => {
    const { worker, start } = await pool()
    const begun = await Promise.all(Array.from({ length: 6 }, start))
    const path = (id: string, verb: string) => `/v1/sessions/${id}/${verb}`
    const answers = await Promise.all([
      ...begun.flatMap(({ session }) => [
        instance.call(operator, 'POST', path(session.id, 'detach')),
        instance.call(operator, 'POST', path(session.id, 'terminate')),
      ]),
      ...begun.map(({ data_plane }) => worker.bind(data_plane.token)),
      revoke(worker.id),
      revoke(worker.id),
    ])
    for (const { status, text } of answers) t.ok(status < 500 || /ERR_BIND_UNAVAILABLE/.test(text), `${status} ${text}`)
    await sweep(instance.controlPlane.context)
    const live = await stand.sql`
    select 1 from rap.session_attachments where worker_id = ${worker.id} and state in ('assigning', 'ready', 'active')`
    t.equal(live.length, 0)
  },
)

t.test('the directory is for the gateway alone, lists who may be dialled, and is not sent twice', async t => {
  const { worker } = await pool()
  for (const peer of [undefined, worker.peer, 'service/secret-resolver', 'service/control-plane']) {
    const refused = await instance.internal(peer, 'GET', '/internal/v1/workers/directory')
    t.match(refused, { status: 403, body: { code: 'ERR_MTLS_IDENTITY' } }, String(peer))
  }
  const { status, body, headers } = await directory()
  t.equal(status, 200)
  t.match(headers.etag, /^"[A-Za-z0-9_-]{43}"$/)
  t.match(body, { trust_mode: 'platform_ca', revoked_thumbprints: [] })
  t.match(
    body.workers.find(({ id }: { id: string }) => id === worker.id),
    { public_url: worker.url, names: null },
  )
  t.equal((await directory({ 'if-none-match': String(headers.etag) })).status, 304)
  await revoke(worker.id)
  const after = await directory({ 'if-none-match': String(headers.etag) })
  t.equal(after.status, 200)
  t.notOk(after.body.workers.some(({ id }: { id: string }) => id === worker.id))
})

t.test('of a worker in Redis nothing gets into the directory', async t => {
  const { worker } = await pool()
  await worker.heartbeat({ public_url: 'wss://attacker.example/data-plane/v1' })
  t.notMatch((await directory()).text, 'attacker')
})

t.test('with a managed CA', async t => {
  await foundPlatformCa(stand.platformCa().steps(auditSystem))
  const thumbprintOf = (pem: string) => certificateThumbprint(new X509Certificate(pem).raw)
  const serialOf = (pem: string) => new X509Certificate(pem).serialNumber.toLowerCase()
  const certificateRow = async (pem: string) =>
    (await stand.sql`select * from rap.issued_certificates where thumbprint = ${thumbprintOf(pem)}`)[0]

  t.test('one that is registered and was never seen can be revoked, and its open tokens go with it', async t => {
    const order = () =>
      instance.call(owner, 'POST', '/v1/workers/join-tokens', { body: { name: 'W', dns_names: ['w.example'] } })
    const { body: token } = await order()
    t.match(await revoke(token.identity_id), {
      status: 200,
      body: { id: token.identity_id, name: 'W', state: 'revoked', join_tokens_deleted: 1 },
    })
    const [row] = await stand.sql`select deleted_at from rap.join_tokens where id = ${token.id}`
    t.ok(row?.deleted_at)
    const again = await instance.call(owner, 'POST', '/v1/workers/join-tokens', {
      body: { name: 'W', dns_names: ['w.example'], worker_id: token.identity_id },
    })
    t.match(again.body, { code: 'ERR_WORKER_REVOKED' }, 'a revoked worker does not come back')
  })

  t.test('an enrolled worker that is revoked gets no renewal, and is not announced again', async t => {
    const worker = await enrolWorker(instance, owner)
    t.equal((await worker.announce('wss://worker-1.example:8463/data-plane/v1')).status, 200)
    t.match(
      (await directory()).body.workers.find(({ id }: { id: string }) => id === worker.id),
      { names: ['worker-1.example'] },
    )
    await revoke(worker.id)
    for (const answer of [
      await worker.status(),
      await worker.renew(),
      await worker.announce('wss://worker-1.example:8463/data-plane/v1'),
    ])
      t.match(answer, { status: 403, body: { code: 'ERR_WORKER_REVOKED' } })
    const [row] = await stand.sql`select state, revoked_by from rap.identities where id = ${worker.id}`
    t.match(row, { state: 'revoked', revoked_by: owner.id })
  })

  t.test('one certificate can be taken back: it is renewed no more, and its owner enrols again', async t => {
    const worker = await enrolWorker(instance, owner)
    const { serial } = (await certificateRow(worker.certificate)) ?? {}
    t.equal(serial, serialOf(worker.certificate))
    const taken = await instance.call(owner, 'POST', `/v1/certificates/${serial}/revoke`)
    t.match(taken, {
      status: 200,
      body: { serial, kind: 'worker', identity_id: worker.id, thumbprint: thumbprintOf(worker.certificate) },
    })
    t.match((await directory()).body.revoked_thumbprints, [thumbprintOf(worker.certificate)])
    // The list of an instance may be a second old: the transaction of the renewal looks for itself.
    t.match(await worker.renew(), { status: 403, body: { code: 'ERR_CERTIFICATE_REVOKED' } })
    t.same((await instance.call(owner, 'POST', `/v1/certificates/${serial}/revoke`)).body, taken.body)
    // Tools write the same number with other zeros in front.
    for (const written of [`00${serial}`.slice(0, 40), serial.replace(/^0+/, '')]) {
      const again = await instance.call(owner, 'POST', `/v1/certificates/${written}/revoke`)
      t.same(again.body, taken.body, written)
    }
    const { body: token } = await instance.call(owner, 'POST', '/v1/workers/join-tokens', {
      body: { name: 'W', dns_names: ['worker-1.example'], worker_id: worker.id },
    })
    t.equal(token.identity_id, worker.id)
    for (const unknown of ['00', 'abc', 'f'.repeat(40)])
      t.equal((await instance.call(owner, 'POST', `/v1/certificates/${unknown}/revoke`)).status, 404)
    for (const malformed of ['AB', 'x', 'f'.repeat(41)])
      t.equal((await instance.call(owner, 'POST', `/v1/certificates/${malformed}/revoke`)).status, 400, malformed)
  })

  t.test('a service that was revoked and registered again does not get its old certificate back', async t => {
    const join = async () => {
      const body = { service: 'gateway', dns_names: ['gateway.example'] }
      return (await instance.call(owner, 'POST', '/v1/services/join-tokens', { body })).body
    }
    await join()
    const [{ thumbprint } = { thumbprint: '' }] = await stand.sql<{ thumbprint: string }[]>`
      insert into rap.issued_certificates (serial, kind, identity_id, generation, thumbprint, reason, not_before, not_after)
      values ('aa', 'service', 'gateway', 1, ${'G'.repeat(43)}, 'enrolment', now(), now() + interval '1 day')
      returning thumbprint`
    const peer = { kind: 'service', id: 'gateway', thumbprint }
    const { revocations } = instance.controlPlane.context
    await revocations.refresh()
    t.equal(revocations.isRevoked(peer), false)
    t.match(await instance.call(owner, 'POST', '/v1/services/gateway/revoke'), {
      status: 200,
      body: { kind: 'service', id: 'gateway', state: 'revoked', join_tokens_deleted: 1 },
    })
    t.equal(revocations.isRevoked(peer), true, 'at once in the instance that was asked')
    await join()
    await revocations.refresh()
    t.equal(revocations.revokedPart(peer), 'certificate')
    t.equal(revocations.isRevoked({ ...peer, thumbprint: 'fresh' }), false)
    t.equal((await instance.call(owner, 'POST', '/v1/services/secret-resolver/revoke')).status, 404)
    t.equal((await instance.call(owner, 'POST', '/v1/services/control-plane/revoke')).status, 409)
  })
  t.end()
})

/** An instance that knows its peers by real certificates. */
async function withCertificates(t: Test) {
  const authority = await createAuthority({ name: 'platform CA', days: 1, now: new Date() })
  const issue = async (kind: 'worker' | 'service', id: string) => {
    const { certificatePem: cert, keyPem: key } = await issueCertificate({
      authority,
      commonName: id,
      usages: ['server', 'client'],
      dnsNames: ['localhost'],
      uris: [spiffeId('rap.test', kind, id)],
      now: new Date(),
    })
    return { cert, key }
  }
  const tls = {
    ...(await issue('service', 'control-plane')),
    ca: authority.certificatePem,
    requireClientCertificate: true,
  }
  const build = async () => {
    const built = await stand.build({}, { identify: identifyByCertificate, internalTls: tls })
    await built.controlPlane.internalApp.listen({ host: '127.0.0.1', port: 0 })
    return built
  }
  const peer = async (on: Awaited<ReturnType<typeof build>>, material: { cert: string; key: string }) => {
    const { port } = on.controlPlane.internalApp.server.address() as AddressInfo
    const agent = new Agent({ ca: authority.certificatePem, ...material, keepAlive: true, maxSockets: 1 })
    t.teardown(() => agent.destroy())
    const sockets = new Set<unknown>()
    const call = (method: string, path: string, body?: unknown) =>
      new Promise<{ status: number; code: string | undefined }>((resolve, reject) => {
        const options = {
          host: 'localhost',
          port,
          path,
          method,
          agent,
          headers: { 'content-type': 'application/json' },
        }
        const sent = httpsRequest(options, answer => {
          let text = ''
          answer.setEncoding('utf8').on('data', chunk => (text += chunk))
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, code: text === '' ? undefined : JSON.parse(text).code }),
          )
        })
        sent.on('socket', socket => sockets.add(socket))
        sent.on('error', reject)
        sent.end(body === undefined ? undefined : JSON.stringify(body))
      })
    return { call, connections: () => sockets.size }
  }
  return { issue, build, peer }
}

t.test(
  'by its certificate a revoked worker is refused everywhere, on the connections that it has, by every instance',
  async t => {
    const { issue, build, peer } = await withCertificates(t)
    const [first, second] = [await build(), await build()]
    const id = randomUUID()
    const neighbourId = randomUUID()
    await stand.sql`
    insert into rap.identities (kind, id, name, dns_names)
    values ('worker', ${id}, 'W', '{w.example}'), ('worker', ${neighbourId}, 'N', '{w.example}')`
    const material = await issue('worker', id)
    const [one, two] = [await peer(first, material), await peer(second, material)]
    const neighbour = await peer(first, await issue('worker', neighbourId))
    const announcement = { public_url: 'wss://w.example/data-plane/v1' }
    for (const worker of [one, two, neighbour])
      t.equal((await worker.call('POST', '/internal/v1/workers/self', announcement)).status, 200)
    await first.call(owner, 'POST', `/v1/workers/${id}/revoke`)

    const told = { status: 403, code: 'ERR_WORKER_REVOKED' }
    const refused = { status: 403, code: 'ERR_MTLS_IDENTITY' }
    const routes: [string, string, unknown, typeof told][] = [
      ['POST', '/internal/v1/workers/self', announcement, told],
      ['POST', '/internal/v1/workers/self/attachments', { attachment_ids: [] }, told],
      ['GET', '/internal/v1/identity', undefined, told],
      ['POST', '/internal/v1/identity/certificates', { csr: 'x' }, told],
      ['POST', '/internal/v1/binds', {}, refused],
      ['POST', `/internal/v1/attachments/${randomUUID()}/state`, {}, refused],
      ['GET', `/internal/v1/attachments/${randomUUID()}`, undefined, refused],
      ['POST', '/internal/v1/audit-events', {}, refused],
      ['GET', '/internal/v1/workers/directory', undefined, refused],
      ['GET', '/internal/v1/trust-bundle', undefined, refused],
      ['GET', '/internal/v1/nothing', undefined, refused],
    ]
    for (const [method, path, body, expected] of routes) t.same(await one.call(method, path, body), expected, path)
    const since = performance.now()
    await waitFor(async () => (await two.call('GET', '/internal/v1/identity')).code === 'ERR_WORKER_REVOKED', {
      what: 'the other instance',
    })
    t.ok(performance.now() - since < 5000, 'with a reading of the register, which is one a second')
    t.equal(one.connections(), 1, 'one connection all the while')
    t.equal((await neighbour.call('GET', '/internal/v1/identity')).status, 200)

    const restarted = await peer(await build(), material)
    t.same(await restarted.call('GET', '/internal/v1/identity'), told, 'the register outlives the process')

    for (let call = 0; call < 40; call++) await one.call('POST', '/internal/v1/binds', {})
    await first.stop()
    const rows = (await audited(null, 'revoked_peer_refused')).filter(row => row.worker_id === id)
    const forBinds = rows.filter(row => (row.details as { route: string }).route === '/internal/v1/binds')
    const counted = forBinds.reduce(
      (sum, row) => sum + 1 + ((row.details as { suppressed_count?: number }).suppressed_count ?? 0),
      0,
    )
    t.equal(counted, 41, 'every refusal is in the audit, or in a count of it')
    t.ok(forBinds.length < 20, `${forBinds.length} rows`)
    t.match(forBinds[0], { code: 'ERR_MTLS_IDENTITY', outcome: 'refused', actor_kind: 'worker', actor_id: id })
  },
)

t.test('one certificate that was taken back is refused, and another one of the same worker is welcome', async t => {
  const { issue, build, peer } = await withCertificates(t)
  const on = await build()
  const id = randomUUID()
  const [stolen, fresh] = [await issue('worker', id), await issue('worker', id)]
  await stand.sql`insert into rap.identities (kind, id, name, dns_names) values ('worker', ${id}, 'W', '{w.example}')`
  await stand.sql`
    insert into rap.issued_certificates (serial, kind, identity_id, generation, thumbprint, reason, not_before, not_after)
    values ('bb', 'worker', ${id}, 1, ${certificateThumbprint(new X509Certificate(stolen.cert).raw)}, 'enrolment', now(),
      now() + interval '1 day')`
  const [thief, worker] = [await peer(on, stolen), await peer(on, fresh)]
  t.equal((await thief.call('GET', '/internal/v1/identity')).status, 200)
  await on.call(owner, 'POST', '/v1/certificates/bb/revoke')
  t.same(await thief.call('GET', '/internal/v1/identity'), { status: 403, code: 'ERR_CERTIFICATE_REVOKED' })
  t.same(await thief.call('POST', '/internal/v1/binds', {}), { status: 403, code: 'ERR_MTLS_IDENTITY' })
  t.equal((await worker.call('GET', '/internal/v1/identity')).status, 200)
})
