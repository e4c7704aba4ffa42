import t from 'tap'
import { type AuditEvent, createMetrics, RefusalAudit } from '../src/index.ts'
import { capturedLog } from './helper.ts'

const ORGANIZATION = 'f0000000-0000-4000-8000-000000000001'

function refusal(change: Partial<AuditEvent> = {}, address = '192.0.2.1'): AuditEvent {
  return {
    organization_id: null,
    event: 'data_plane_bind_refused',
    actor: { kind: 'worker', id: 'w' },
    outcome: 'refused',
    code: 'ERR_BIND_TOKEN_INVALID',
    ...change,
    details: { client_address: address, ...change.details },
  }
}

function stand() {
  const rows: AuditEvent[] = []
  const log = capturedLog()
  const metrics = createMetrics({ service: 'test' })
  const state = { fails: false }
  const audit = new RefusalAudit<AuditEvent>({
    append: async event => {
      if (state.fails) throw new Error('the database is away')
      rows.push(event)
    },
    logger: log.logger,
    metrics,
  })
  const counted = (of: (row: AuditEvent) => boolean = () => true) =>
    rows.filter(of).reduce((sum, { details }) => sum + 1 + Number(details?.suppressed_count ?? 0), 0)
  return { audit, rows, log, metrics, state, counted }
}

t.test('a flood is a few rows, and the last of them says how many there were', async t => {
  const { audit, rows, metrics } = stand()
  for (let number = 0; number < 20_000; number++) void audit.report(refusal(), 'stranger')
  await audit.close()
  t.equal(rows.length, 5)
  t.match(rows.at(-1), {
    code: 'ERR_BIND_TOKEN_INVALID',
    details: { client_address: '192.0.2.1', suppressed_count: 19_995 },
  })
  t.notOk(rows.slice(0, 4).some(({ details }) => 'suppressed_count' in (details ?? {})))
  t.match(
    await metrics.registry.metrics(),
    /rap_audit_refusals_total\{event="data_plane_bind_refused",standing="stranger",.*\} 20000/,
  )
})

t.test('a row with a count names only what all of its refusals have in common', async t => {
  const { audit, rows, counted } = stand()
  const kinds = [
    refusal({}, '192.0.2.1'),
    refusal({}, '192.0.2.2'),
    refusal({ code: 'ERR_BIND_TOKEN_EXPIRED' }),
    refusal({ organization_id: ORGANIZATION }),
    refusal({ session_id: ORGANIZATION }),
    refusal({ attachment_id: ORGANIZATION }),
    refusal({ user_id: ORGANIZATION }),
    refusal({ actor: { kind: 'worker', id: 'x' } }),
    refusal({ details: { cause: 'ERR_TOKEN_SIGNATURE' } }),
  ]
  for (let number = 0; number < 50; number++) for (const kind of kinds) void audit.report(kind, 'stranger')
  await audit.close()
  for (const kind of kinds) {
    const { suppressed_count: _, ...last } = rows.filter(row => row.details?.suppressed_count !== undefined)[
      kinds.indexOf(kind)
    ]!.details!
    t.strictSame(last, kind.details)
  }
  t.equal(counted(), 50 * kinds.length)
})

t.test('addresses of one /64 are one address', async t => {
  const { audit, rows } = stand()
  for (let host = 0; host < 1000; host++) void audit.report(refusal({}, `2001:db8::${host.toString(16)}`), 'stranger')
  await audit.close()
  t.equal(rows.length, 5)
})

t.test('a crowd of strangers is bounded, named by nobody’s address, and hides no holder of a token', async t => {
  const { audit, rows, counted } = stand()
  for (let host = 0; host < 5000; host++) {
    void audit.report(refusal({ code: 'ERR_BIND_TOKEN_INVALID' }, `198.51.${host >> 8}.${host & 255}`), 'stranger')
    void audit.report(refusal({ code: 'ERR_BIND_TOKEN_EXPIRED', attachment_id: `old-${host}` }), 'claimant')
  }
  const stolen = refusal({ code: 'ERR_BIND_PROOF_INVALID', session_id: ORGANIZATION })
  void audit.report(stolen, 'holder')
  t.strictSame(rows.at(-1), { ...stolen }, 'at once, and by itself')
  await audit.close()
  t.equal(counted(), 10_001)
  t.ok(rows.length <= 2 * (17 * 5) + 1, `${rows.length} rows`)
  const mixed = rows.filter(({ details }) => details?.mixed === true)
  t.equal(mixed.length, 2)
  for (const row of mixed) {
    t.strictSame(Object.keys(row).sort(), ['actor', 'details', 'event', 'organization_id', 'outcome'])
    t.strictSame(row.actor, { kind: 'system', id: 'several' })
    t.strictSame(Object.keys(row.details ?? {}).sort(), ['mixed', 'suppressed_count'])
  }
})

t.test('what could not be written at the end is told to the log with its number, before that it is kept', async t => {
  const { audit, counted, log, state } = stand()
  state.fails = true
  for (let number = 0; number < 10; number++) await audit.report(refusal(), 'stranger')
  t.equal(audit.pending, 10)
  state.fails = false
  await audit.flush()
  t.equal(counted(), 10)
  t.equal(audit.pending, 0)
  state.fails = true
  void audit.report(refusal(), 'stranger')
  await audit.close()
  t.match(log.lines().at(-1), { event: 'audit_refusals_lost', count: 1 })
})
