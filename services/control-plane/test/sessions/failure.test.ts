import t from 'tap'
import { COORDINATION_UNAVAILABLE, LEASE_LOST, problemOfFailure, START_TIMEOUT } from '../../src/sessions/failure.ts'

t.test('a failure becomes an answer by what it says: in time, ours, or the other side', async t => {
  const status = (code: string) => problemOfFailure({ code, title: 'x' }, 's').status
  t.equal(status('ERR_TARGET_LOGON_FAILED'), 502)
  t.equal(status('ERR_TARGET_CONNECT_TIMEOUT'), 504)
  t.equal(status('ERR_TARGET_TIMED_OUT'), 504)
  t.equal(status(START_TIMEOUT.code), 504)
  t.equal(status(COORDINATION_UNAVAILABLE.code), 503)
  t.equal(status(LEASE_LOST.code), 502)
})

t.test('the answer names the session and the remedy', async t => {
  const problem = problemOfFailure({ code: 'ERR_X', title: 'Title', detail: 'Detail', remedy: 'Remedy' }, 'session')
  t.match(problem, { code: 'ERR_X', title: 'Title', detail: 'Detail' })
  t.same(problem.extras, { session_id: 'session', remedy: 'Remedy' })
})
