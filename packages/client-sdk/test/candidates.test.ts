import t from 'tap'
import { type RankOptions, rankCandidates } from '../src/candidates.ts'
import { Trace } from '../src/trace.ts'
import { direct, gateway } from './helper.ts'

const WORKER = 'wss://worker.example/data-plane/v1'
const GATEWAY = 'wss://rap.example/data-plane/v1'
const PRODUCTION: RankOptions = {
  environment: 'production',
  runtimeTransport: 'binary_v1',
  path: 'auto',
  allowInsecureDirectDataPlaneTlsForSmoke: false,
}

function rank(offered: unknown[], options: Partial<RankOptions> = {}) {
  const trace = new Trace(() => 0)
  const usable = rankCandidates(offered, { ...PRODUCTION, ...options }, trace)
  return { order: usable.map(({ path, trustScope }) => [path, trustScope]), steps: trace.steps }
}

t.test('direct comes first, whatever the order of the offer', async t => {
  for (const offered of [
    [direct(WORKER), gateway(GATEWAY)],
    [gateway(GATEWAY), direct(WORKER)],
  ]) {
    t.same(rank(offered).order, [
      ['direct', 'platform_ca_only'],
      ['gateway', 'default'],
    ])
  }
})

t.test('in production a worker that is not trusted is passed over, and the trace says why', async t => {
  for (const [name, metadata, reason] of [
    [
      'smoke only',
      { smoke_only: true, production_trusted: false, tls_trust_mode: 'smoke_insecure' },
      'smoke_only_in_production',
    ],
    ['not trusted', { production_trusted: false }, 'not_production_trusted'],
    ['not ready', { traffic_ready: false }, 'not_traffic_ready'],
    ['another transport', { runtime_transports: ['json_v1'] }, 'transport_not_offered'],
  ] as const) {
    for (const environment of ['production', 'prod'] as const) {
      const { order, steps } = rank([direct(WORKER, metadata as never), gateway(GATEWAY)], { environment })
      t.same(order, [['gateway', 'default']], name)
      t.match(steps, [{ candidate: 'direct_worker_wss', url: WORKER, event: 'skipped', reason }], name)
    }
  }
})

t.test('the smoke bypass has no effect in production, nor on a worker that is not smoke-only', async t => {
  const smoke = direct(WORKER, { smoke_only: true, production_trusted: false, tls_trust_mode: 'smoke_insecure' })
  const bypass = { allowInsecureDirectDataPlaneTlsForSmoke: true }
  t.throws(() => rank([smoke], bypass), { code: 'ERR_NO_CANDIDATE' })
  t.same(rank([smoke], { ...bypass, environment: 'smoke' }).order, [['direct', 'insecure_smoke']])
  t.same(rank([smoke], { environment: 'smoke' }).order, [['direct', 'default']])
  t.same(rank([direct(WORKER)], { ...bypass, environment: 'smoke' }).order, [['direct', 'platform_ca_only']])
  t.same(rank([gateway(GATEWAY)], { ...bypass, environment: 'smoke' }).order, [['gateway', 'default']])
})

t.test('a worker of a public authority is checked against the authorities of the system alone', async t => {
  t.same(rank([direct(WORKER, { tls_trust_mode: 'public_ca' })]).order, [['direct', 'system']])
})

t.test('a plain URL is used for a gateway of this machine only', async t => {
  for (const url of [
    'ws://worker.example/data-plane/v1',
    'ws://localhost:1/data-plane/v1',
    'https://worker.example/',
  ]) {
    t.throws(() => rank([direct(url)]), { code: 'ERR_NO_CANDIDATE' }, url)
  }
  t.throws(() => rank([gateway('ws://rap.example/data-plane/v1')]), { code: 'ERR_NO_CANDIDATE' })
  t.same(rank([gateway('ws://localhost:8080/data-plane/v1')]).order, [['gateway', 'default']])
})

t.test('a candidate of another form spoils no other, and what is not known of one is dropped', async t => {
  const strange = { ...gateway(GATEWAY), type: 'relay_node' }
  const { order, steps } = rank([null, 'x', {}, strange, { ...gateway(GATEWAY), extra: { password: 'x' } }])
  t.same(order, [['gateway', 'default']])
  t.same(
    steps.map(({ reason }) => reason),
    ['malformed', 'malformed', 'malformed', 'malformed'],
  )
})

t.test('a person can ask for one path', async t => {
  const offered = [direct(WORKER), gateway(GATEWAY)]
  t.same(rank(offered, { path: 'gateway' }).order, [['gateway', 'default']])
  t.same(rank(offered, { path: 'direct' }).order, [['direct', 'platform_ca_only']])
  t.throws(() => rank([gateway(GATEWAY)], { path: 'direct' }), { code: 'ERR_NO_CANDIDATE' })
})

t.test('no candidate at all is an error that says why', async t => {
  t.throws(() => rank([]), { name: 'RapPathError', code: 'ERR_NO_CANDIDATE' })
  const error = (() => {
    try {
      return rank([direct(WORKER, { production_trusted: false })])
    } catch (caught) {
      return caught as { detail: string; remedy: string }
    }
  })() as { detail: string; remedy: string }
  t.equal(error.detail, 'No way to the desktop was found: the worker is not trusted for production.')
  t.ok(error.remedy)
})
