import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXPLAINED } from '../src/explain.ts'
import { Trace } from '../src/trace.ts'
import type { TraceStep } from '../src/trace-step.ts'

const WORKER = { candidate: 'direct_worker_wss', url: 'wss://worker.example/data-plane/v1' } as const
const OTHER = { candidate: 'direct_worker_wss', url: 'wss://other.example/data-plane/v1' } as const
const GATEWAY = { candidate: 'backend_gateway', url: 'wss://rap.example/data-plane/v1' } as const
const UNKNOWN = { candidate: 'unknown', url: '' } as const

type Step = Omit<TraceStep, 'at_ms'>
const bound = { ...GATEWAY, event: 'bound', reason: 'ok' } as const

function traced(steps: readonly Step[]): Trace {
  let now = 0
  const trace = new Trace(() => now++)
  for (const step of steps) trace.add(step)
  return trace
}

/** What happened, and what a person is told. */
const SENTENCES: readonly [Step[], string][] = [
  [[bound], 'The gateway was taken because no direct way was offered.'],
  [
    [{ ...WORKER, event: 'skipped', reason: 'smoke_only_in_production' }, bound],
    'The gateway was taken because the worker is for smoke tests only, and here the rules of production hold.',
  ],
  [
    [
      { ...WORKER, event: 'skipped', reason: 'other_path_wanted' },
      { ...GATEWAY, event: 'chosen', reason: 'fallback_or_only' },
    ],
    'The gateway was taken because the way over the worker was not asked for.',
  ],
  [
    [{ ...WORKER, event: 'skipped', reason: 'trust_bundle_unavailable', bundle: 'corp:v2' }, bound],
    'The gateway was taken because the trust bundle corp:v2, which the worker chains to, is not held here and could not be fetched.',
  ],
  [
    [{ ...WORKER, event: 'skipped', reason: 'trust_bundle_unavailable' }, bound],
    'The gateway was taken because the worker does not name the trust bundle that it chains to.',
  ],
  [
    [{ ...WORKER, event: 'skipped', reason: 'trust_bundle_unverified', bundle: 'corp:v2' }, bound],
    'The gateway was taken because the trust bundle corp:v2, which the worker chains to, is not signed by one that is held here.',
  ],
  [
    [{ ...WORKER, event: 'failed', reason: 'tls', system_code: 'CERT_HAS_EXPIRED' }, bound],
    'The gateway was taken because the worker was reached, but its certificate has ended.',
  ],
  [
    [{ ...WORKER, event: 'failed', reason: 'tls', system_code: 'ERR_SSL_SOMETHING' }, bound],
    'The gateway was taken because the worker was reached, but no trusted TLS connection came about.',
  ],
  [
    [{ ...WORKER, event: 'failed', reason: 'network', system_code: 'ECONNREFUSED' }, bound],
    'The gateway was taken because the worker could not be reached (ECONNREFUSED).',
  ],
  [
    [{ ...WORKER, event: 'failed', reason: 'network' }, bound],
    'The gateway was taken because the worker could not be reached, or its certificate is not trusted here.',
  ],
  [
    [
      { ...WORKER, event: 'failed', reason: 'timeout' },
      { ...OTHER, event: 'failed', reason: 'upgrade_refused', system_code: '502' },
      bound,
    ],
    'The gateway was taken because the worker did not answer in time; the worker refused the connection (HTTP 502).',
  ],
  [
    [{ ...UNKNOWN, event: 'skipped', reason: 'malformed' }, bound],
    'The gateway was taken because a way was offered that this client does not know.',
  ],
  [
    [
      { ...WORKER, event: 'opened', reason: 'ok' },
      { ...WORKER, event: 'bound', reason: 'ok' },
    ],
    'The direct way to the worker was taken: its certificate is trusted here.',
  ],
  [
    [
      { ...WORKER, event: 'opened', reason: 'ok', bundle: 'corp:v2' },
      { ...WORKER, event: 'bound', reason: 'ok' },
    ],
    'The direct way to the worker was taken: its certificate is of corp:v2.',
  ],
  [
    [
      { ...WORKER, event: 'probed', reason: 'certificate_not_checked' },
      { ...WORKER, event: 'chosen', reason: 'preferred' },
    ],
    'The direct way to the worker was taken: its certificate was not checked, as smoke tests may.',
  ],
  [[], 'No way to the desktop was found: none was offered.'],
  [
    [
      { ...WORKER, event: 'failed', reason: 'ERR_BIND_SESSION_ENDED' },
      { ...GATEWAY, event: 'failed', reason: 'constructor' },
    ],
    'No way to the desktop was found: the worker gave ERR_BIND_SESSION_ENDED; the gateway gave constructor.',
  ],
]

t.test('every outcome is told in a sentence or two', async t => {
  for (const [steps, sentence] of SENTENCES) t.equal(traced(steps).explain(), sentence)
})

t.test('every reason for which the rules pass a candidate over has words', async t => {
  const rules = readFileSync(join(import.meta.dirname, '../../candidate-metadata/src/accept.ts'), 'utf8')
  const union = rules.slice(rules.indexOf('export type AcceptReason'), rules.indexOf('/** One decision'))
  const reasons = [...union.matchAll(/'([a-z_]+)'/g)]
    .map(([, reason]) => reason ?? '')
    .filter(name => name !== 'accepted')
  t.ok(reasons.length >= 6)
  for (const reason of reasons) t.ok(EXPLAINED.skipped.includes(reason), reason)
})

t.test('a trace as JSON says which way, why, and every step; as text it is a line a step', async t => {
  const trace = traced([
    { ...WORKER, event: 'trust_bundle', reason: 'held', bundle: 'corp:v2' },
    { ...WORKER, event: 'failed', reason: 'tls', system_code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    bound,
  ])
  t.strictSame(JSON.parse(JSON.stringify(trace)), {
    path: 'gateway',
    explanation: 'The gateway was taken because the worker was reached, but its certificate is for another name.',
    steps: [
      { at_ms: 1, ...WORKER, event: 'trust_bundle', reason: 'held', bundle: 'corp:v2' },
      {
        at_ms: 2,
        detail: 'its certificate is for another name',
        ...WORKER,
        event: 'failed',
        reason: 'tls',
        system_code: 'ERR_TLS_CERT_ALTNAME_INVALID',
      },
      { at_ms: 3, ...GATEWAY, event: 'bound', reason: 'ok' },
    ],
  })
  t.same(String(trace).split('\n'), [
    `+1ms direct_worker_wss ${WORKER.url}: trust_bundle: held (corp:v2)`,
    `+2ms direct_worker_wss ${WORKER.url}: failed: tls (ERR_TLS_CERT_ALTNAME_INVALID): its certificate is for another name`,
    `+3ms backend_gateway ${GATEWAY.url}: bound: ok`,
  ])
  t.strictSame(JSON.parse(JSON.stringify(traced([]))), {
    path: null,
    explanation: 'No way to the desktop was found: none was offered.',
    steps: [],
  })
})
