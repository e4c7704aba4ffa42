import { DEFAULT_LIMITS } from '@rap/session-policy'
import t from 'tap'
import { UnheardLimits } from '../src/transfers/unheard-limits.ts'

t.test('what is left is counted from when it was said, and what is over is not told', async t => {
  const limits = new UnheardLimits()
  limits.keep({ type: 'limit_near', limit: 'idle_seconds', seconds_left: 60 }, 1000)
  limits.keep({ type: 'limit_near', limit: 'idle_seconds', seconds_left: 50 }, 11_000)
  limits.keep({ type: 'limit_near', limit: 'session_seconds', seconds_left: 5 }, 11_000)
  t.same(limits.take(21_500), [{ type: 'limit_near', limit: 'idle_seconds', seconds_left: 40 }])
  t.same(limits.take(21_500), [], 'once')
})

t.test('another policy makes an older warning void', async t => {
  const limits = new UnheardLimits()
  limits.keep({ type: 'limit_near', limit: 'session_seconds', seconds_left: 60 }, 0)
  limits.keep({ type: 'policy', allowed_channels: ['events'], limits: DEFAULT_LIMITS, session_ends_at: null }, 0)
  t.same(limits.take(0), [])
})
