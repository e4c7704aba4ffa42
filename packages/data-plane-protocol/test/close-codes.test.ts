import t from 'tap'
import { CLOSE_REASONS, type CloseReason, isCloseReason, publicReason } from '../src/index.ts'

t.test('every reason fits a close frame and has a code of the private range', async t => {
  for (const [reason, { code }] of Object.entries(CLOSE_REASONS)) {
    t.ok(4000 <= code && code <= 4999, reason)
    t.ok(Buffer.byteLength(reason) <= 123, reason)
    t.match(reason, /^ERR_(BIND|RELAY|SESSION|WORKER|GATEWAY|INTERNAL)/)
  }
})

t.test('a stranger is told ERR_BIND_REFUSED for every refusal that depends on what is stored', async t => {
  for (const reason of Object.keys(CLOSE_REASONS) as CloseReason[]) {
    if (!CLOSE_REASONS[reason].open) t.equal(publicReason(reason, false), 'ERR_BIND_REFUSED', reason)
  }
})

t.test('a verified client is told by name only what tells it what to do next', async t => {
  t.equal(publicReason('ERR_BIND_TOKEN_EXPIRED', true), 'ERR_BIND_TOKEN_EXPIRED')
  t.equal(publicReason('ERR_BIND_WRONG_USER', true), 'ERR_BIND_REFUSED')
  t.equal(publicReason('ERR_BIND_TOKEN_REPLAYED', true), 'ERR_BIND_REFUSED')
})

t.test('a reason is known by its own name alone', async t => {
  t.ok(isCloseReason('ERR_INTERNAL'))
  t.notOk(isCloseReason('constructor'))
})
