import t from 'tap'
import { commonProblems, defineProblems, ProblemError, problemDocument } from '../src/index.ts'

t.test('a table becomes typed factories whose errors carry code, status and title', async t => {
  const problems = defineProblems({
    ERR_SESSION_ATTACHED: { status: 409, title: 'The session is attached', detail: 'Take it over.' },
  })
  const cause = new Error('inner')
  const error = problems.ERR_SESSION_ATTACHED({ facts: { attachment_id: 'a-1' }, cause })
  t.ok(error instanceof ProblemError)
  t.match(error, {
    code: 'ERR_SESSION_ATTACHED',
    status: 409,
    detail: 'Take it over.',
    facts: { attachment_id: 'a-1' },
  })
  t.equal(error.cause, cause)
  t.equal(problems.ERR_SESSION_ATTACHED({ detail: 'Other words.' }).detail, 'Other words.')
})

t.test('codes and statuses out of form are refused when the table is made', async t => {
  t.throws(() => defineProblems({ err_x: { status: 400, title: 'x' } }), TypeError)
  t.throws(() => defineProblems({ ERR_: { status: 400, title: 'x' } }), TypeError)
  t.throws(() => defineProblems({ ERR_X: { status: 200, title: 'x' } }), TypeError)
})

t.test('the document holds the public half only', async t => {
  const error = commonProblems.ERR_CONFLICT({
    facts: { internal: 'host-7' },
    cause: new Error('relation "users"'),
    extras: { remedy: 'Try again.', code: 'ERR_FORGED', request_id: 'forged' },
  })
  const document = problemDocument(error, 'r-1')
  t.same(document, {
    type: 'urn:rap:problem:ERR_CONFLICT',
    title: 'The request conflicts with the current state',
    status: 409,
    code: 'ERR_CONFLICT',
    request_id: 'r-1',
    remedy: 'Try again.',
  })
})
