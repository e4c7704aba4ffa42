import t, { type Test } from 'tap'
import { Agent, request } from 'undici'
import { certifiedPeer, defineProblems, peerIdentity, type Revocation, Revocations } from '../src/index.ts'
import { build, capturedLog, listen, platform, silentLogger, TRUST_DOMAIN } from './helper.ts'

const problems = defineProblems({ ERR_WORKER_REVOKED: { status: 403, title: 'The worker is revoked' } })
const worker = { kind: 'worker', id: 'w-1', thumbprint: 'a' }
const whole = (id: string): Revocation => ({ kind: 'worker', id, thumbprint: null })

/** A register whose rows, failures and delays a test sets. */
function register(t: Test, options: { maxAgeMs?: number; intervalMs?: number } = {}) {
  const state = { rows: [] as Revocation[], failure: undefined as Error | undefined, at: 0, loads: 0 }
  const waiting: (() => void)[] = []
  let held = false
  const revocations = new Revocations({
    logger: silentLogger,
    now: () => state.at,
    intervalMs: 3_600_000,
    ...options,
    load: async () => {
      state.loads += 1
      const rows = [...state.rows]
      if (held) await new Promise<void>(resolve => waiting.push(resolve))
      if (state.failure !== undefined) throw state.failure
      return rows
    },
  })
  t.teardown(() => revocations.close())
  return {
    state,
    revocations,
    hold: () => {
      held = true
    },
    release: () => {
      held = false
      for (const resolve of waiting.splice(0)) resolve()
    },
  }
}

t.test('before the first reading, and after a failed one, everybody counts as revoked', async t => {
  const { state, revocations } = register(t)
  t.equal(revocations.known, false)
  t.equal(revocations.isRevoked(worker), true)
  state.failure = new Error('away')
  await revocations.start()
  t.equal(revocations.isRevoked(worker), true)
  state.failure = undefined
  await revocations.refresh()
  t.equal(revocations.isRevoked(worker), false)
})

t.test('an identity is revoked with all its certificates, a certificate alone, and nobody beside them', async t => {
  const { state, revocations } = register(t)
  state.rows = [whole('w-1'), { kind: 'worker', id: 'w-2', thumbprint: 'stolen' }]
  await revocations.start()
  t.equal(revocations.revokedPart(worker), 'identity')
  t.equal(revocations.revokedPart({ ...worker, thumbprint: 'another' }), 'identity')
  t.equal(revocations.revokedPart({ kind: 'worker', id: 'w-2', thumbprint: 'stolen' }), 'certificate')
  for (const peer of [
    { kind: 'worker', id: 'w-2', thumbprint: 'fresh' },
    { kind: 'service', id: 'w-1', thumbprint: 'a' },
    { kind: 'worker', id: 'w-3', thumbprint: 'a' },
  ])
    t.equal(revocations.isRevoked(peer), false, `${peer.kind}/${peer.id}`)
})

t.test('a reading that fails leaves the last one in force until it is too old, and then nothing counts', async t => {
  const { state, revocations } = register(t, { maxAgeMs: 15_000 })
  state.rows = [whole('w-1')]
  await revocations.start()
  state.failure = new Error('away')
  state.at = 14_999
  await revocations.refresh()
  t.equal(revocations.isRevoked({ ...worker, id: 'w-2' }), false)
  state.at = 15_000
  t.equal(revocations.known, false)
  t.equal(revocations.isRevoked({ ...worker, id: 'w-2' }), true)
})

t.test('the age of a reading counts from its question', async t => {
  const { state, revocations, hold, release } = register(t, { maxAgeMs: 15_000 })
  hold()
  const started = revocations.start()
  state.at = 15_000
  release()
  await started
  t.equal(revocations.known, false)
})

t.test('a refresh sees what was there when it was asked for, also while another reading is under way', async t => {
  const { state, revocations, hold, release } = register(t)
  hold()
  const first = revocations.refresh()
  state.rows = [whole('w-1')]
  const later = [revocations.refresh(), revocations.refresh(), revocations.refresh()]
  release()
  await first
  t.equal(revocations.isRevoked(worker), false, 'the first one read before')
  await Promise.all(later)
  t.equal(revocations.isRevoked(worker), true)
  t.equal(state.loads, 2, 'those that wait share one reading')
})

t.test('it goes on reading by itself until it is closed', async t => {
  const { state, revocations } = register(t, { intervalMs: 5 })
  await revocations.start()
  state.rows = [whole('w-1')]
  const until = performance.now() + 10_000
  while (!revocations.isRevoked(worker) && performance.now() < until)
    await new Promise(resolve => setTimeout(resolve, 5))
  t.equal(revocations.isRevoked(worker), true)
  revocations.close()
  const { loads } = state
  await new Promise(resolve => setTimeout(resolve, 50))
  t.ok(state.loads <= loads + 1)
})

t.test('a register that stays away is one line of the log', async t => {
  const log = capturedLog()
  const revocations = new Revocations({
    logger: log.logger,
    load: async () => {
      throw new Error('away')
    },
  })
  for (let time = 0; time < 5; time++) await revocations.refresh()
  t.equal(log.lines().filter(line => line.event === 'revocations_not_read').length, 1)
})

async function server(t: Test, rows: Revocation[] | undefined) {
  const authority = await platform()
  const refused: unknown[] = []
  const { state, revocations } = register(t)
  if (rows !== undefined) {
    state.rows = rows
    await revocations.start()
  }
  const app = await build(t, {
    tls: { ...(await authority.issue('service/control-plane')), requireClientCertificate: true },
    trustDomain: TRUST_DOMAIN,
    revocations,
    onRefusal: async problem => {
      refused.push(problem.audit)
    },
  })
  app.get('/open', async request => ({ peer: peerIdentity(request)?.id ?? null, was: certifiedPeer(request)?.id }))
  app.get('/told', { config: { tellRevoked: () => problems.ERR_WORKER_REVOKED } }, async () => {
    throw new Error('the handler must not run for a revoked peer')
  })
  const { url } = await listen(app)
  const agentOf = async (identity: string) => {
    const { cert, key } = await authority.issue(identity)
    const agent = new Agent({ connections: 1, connect: { ca: authority.caPem, cert, key } })
    t.teardown(() => agent.destroy())
    return async (path: string) => {
      const { statusCode, body } = await request(`${url}${path}`, { dispatcher: agent })
      return { status: statusCode, ...((await body.json()) as Record<string, unknown>) }
    }
  }
  return { state, revocations, refused, agentOf }
}

t.test('a revoked peer is refused on every route, unknown ones included, on the connection that it has', async t => {
  const { state, revocations, refused, agentOf } = await server(t, [])
  const bad = await agentOf('worker/w-1')
  const good = await agentOf('worker/w-2')
  t.match(await bad('/open'), { status: 200, peer: 'w-1' })
  state.rows = [whole('w-1')]
  await revocations.refresh()
  for (const path of ['/open', '/nowhere', '/healthz'])
    t.match(await bad(path), { status: 403, code: 'ERR_MTLS_IDENTITY' })
  t.match(await bad('/told'), { status: 403, code: 'ERR_WORKER_REVOKED' })
  t.match(refused, [
    {
      event: 'revoked_peer_refused',
      actor: { kind: 'worker', id: 'w-1' },
      worker_id: 'w-1',
      code: 'ERR_MTLS_IDENTITY',
      details: { what: 'identity', route: '/open' },
    },
    { details: { route: null } },
    { details: { route: '/healthz' } },
    { details: { route: '/told' } },
  ])
  t.match(await good('/open'), { status: 200, peer: 'w-2' })
})

t.test(
  'while the register is not known, a peer is told that a service is away, and not that it is revoked',
  async t => {
    const { refused, agentOf } = await server(t, undefined)
    const call = await agentOf('worker/w-1')
    for (const path of ['/open', '/told']) t.match(await call(path), { status: 503, code: 'ERR_UPSTREAM_UNAVAILABLE' })
    t.same(refused, [])
  },
)
