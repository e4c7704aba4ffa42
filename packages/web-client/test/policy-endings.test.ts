import t from 'tap'
import { endingByPolicy } from '../src/desktop/policy-endings.ts'

const LOST = { code: 'ERR_CONNECTION_LOST', failed: true }
const DETACHED = { code: 'ERR_SESSION_DETACHED', failed: false }
const of = (state: string, endReason: string | null, reason: string | null = null, id = 'ours') =>
  ({ state, end_reason: endReason, attachment: { id, reason } }) as never

t.test(
  'an end by policy is told by the server, and by the worker where the server has not heard of it yet',
  async t => {
    const cases: [string, typeof LOST, never | undefined, string | undefined, string | undefined][] = [
      [
        'the server is quicker',
        DETACHED,
        of('detached', 'ERR_SESSION_IDLE_LIMIT'),
        undefined,
        'ERR_SESSION_IDLE_LIMIT',
      ],
      ['the page is quicker', LOST, of('active', null), 'ERR_SESSION_TIME_LIMIT', 'ERR_SESSION_TIME_LIMIT'],
      ['no server answers', LOST, undefined, 'ERR_SESSION_POLICY', 'ERR_SESSION_POLICY'],
      ['a disconnect after it', DETACHED, of('detached', 'ERR_SESSION_DETACHED'), 'ERR_SESSION_POLICY', undefined],
      ['of another attachment', DETACHED, of('active', null, null, 'theirs'), 'ERR_SESSION_POLICY', undefined],
      ['a failure besides', { code: 'ERR_X', failed: true }, of('failed', null), 'ERR_SESSION_POLICY', undefined],
      ['ended by hand', DETACHED, of('terminated', 'ERR_SESSION_TERMINATED'), 'ERR_SESSION_IDLE_LIMIT', undefined],
      ['a network that is cut', LOST, of('active', null), undefined, undefined],
    ]
    for (const [name, ending, record, heard, code] of cases) {
      const found = endingByPolicy(ending, { record, attachmentId: 'ours', heard })
      t.equal(found?.code, code, name)
      if (found !== undefined) t.equal(found.failed, false, name)
    }
  },
)
