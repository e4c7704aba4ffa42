import t from 'tap'
import { type AuditEvent, checkedAuditEvent } from '../src/index.ts'

const event: AuditEvent = {
  organization_id: '6f1f7b5c-6d55-4f2b-8e35-0f3a3a1c9f10',
  event: 'resource_secret_accessed',
  actor: { kind: 'worker', id: 'worker-1' },
  outcome: 'ok',
}

t.test('an event keeps its ids and drops what is undefined', async t => {
  t.same(
    checkedAuditEvent({ ...event, session_id: 's-1', code: undefined, details: { bytes: 4, ok: true, why: null } }),
    { ...event, session_id: 's-1', details: { bytes: 4, ok: true, why: null } },
  )
})

t.test('text from outside is cut, so that a long value cannot keep the event out of the audit', async t => {
  const checked = checkedAuditEvent({
    ...event,
    actor: { kind: 'user', id: 'x'.repeat(10_000) },
    request_id: 'y'.repeat(10_000),
    details: { client_address: 'z'.repeat(10_000) },
  })
  t.ok(JSON.stringify(checked).length < 1500)
})

t.test('a detail under the name of a credential is a mistake of its author', async t => {
  for (const name of [
    'password',
    'token',
    'access_token',
    'client_secret',
    'username',
    'domain',
    'private_key',
    'cookie',
  ]) {
    t.throws(() => checkedAuditEvent({ ...event, details: { [name]: 'x' } }), TypeError, name)
  }
  t.doesNotThrow(() => checkedAuditEvent({ ...event, details: { token_kind: 'lease', secret_version: 3 } }))
})

t.test('names out of form, nested values and too many details are refused', async t => {
  const refused = (changes: Partial<AuditEvent>) =>
    t.throws(() => checkedAuditEvent({ ...event, ...changes }), TypeError)
  refused({ event: 'Session Started' })
  refused({ event: '' })
  refused({ details: { 'Bad-Key': 1 } })
  refused({ details: { __proto__x: 1 } as never })
  refused({ details: { nested: { a: 1 } } as never })
  refused({ details: { not_finite: Number.NaN } })
  refused({ details: Object.fromEntries(Array.from({ length: 25 }, (_, index) => [`k${index}`, index])) })
})
