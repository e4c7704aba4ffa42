import t from 'tap'
import {
  MAX_BIND_BYTES,
  ProtocolError,
  parseBindMessage,
  parseClientMessage,
  parseServerMessage,
} from '../src/index.ts'

const bind = {
  type: 'bind',
  protocol_version: 1,
  runtime_transport: 'json_v1',
  token: 'a.b.c',
  proof: 'd.e.f',
  channels: ['display'],
}

t.test('a bind message is read as it was written', async t => {
  t.same(parseBindMessage(JSON.stringify(bind)), bind)
})

t.test('a bind message cut at any character is refused', async t => {
  const text = JSON.stringify(bind)
  for (let size = 0; size < text.length; size++) {
    t.throws(() => parseBindMessage(text.slice(0, size)), { code: 'ERR_MESSAGE_MALFORMED' })
  }
})

t.test('each bent bind is refused for its own reason', async t => {
  const cases: [string, unknown, string][] = [
    ['unknown field', { ...bind, admin: true }, 'ERR_MESSAGE_MALFORMED'],
    ['other version', { ...bind, protocol_version: 2 }, 'ERR_MESSAGE_MALFORMED'],
    ['RDCleanPath is not bound by JSON', { ...bind, runtime_transport: 'rdcleanpath_v1' }, 'ERR_MESSAGE_MALFORMED'],
    ['no channels', { ...bind, channels: [] }, 'ERR_MESSAGE_MALFORMED'],
    ['doubled channels', { ...bind, channels: ['display', 'display'] }, 'ERR_MESSAGE_MALFORMED'],
    ['unknown type', { ...bind, type: 'hello' }, 'ERR_MESSAGE_UNKNOWN'],
    ['a type that every object has', { type: 'constructor' }, 'ERR_MESSAGE_UNKNOWN'],
    ['a type that is the prototype', { type: '__proto__' }, 'ERR_MESSAGE_UNKNOWN'],
    ['no object', 7, 'ERR_MESSAGE_UNKNOWN'],
    ['null', null, 'ERR_MESSAGE_UNKNOWN'],
  ]
  for (const [name, value, code] of cases) t.throws(() => parseBindMessage(JSON.stringify(value)), { code }, name)
})

t.test('a first message over its bound is refused before it is parsed', async t => {
  t.throws(() => parseBindMessage(' '.repeat(MAX_BIND_BYTES + 1)), { code: 'ERR_MESSAGE_TOO_LARGE' })
})

t.test('rdp data is standard base64 and nothing else', async t => {
  t.same(parseClientMessage('{"type":"rdp","data":"AAEC"}'), { type: 'rdp', data: 'AAEC' })
  for (const data of ['', '====', 'a b', 'AA-_', 'AA=A']) {
    t.throws(() => parseClientMessage(JSON.stringify({ type: 'rdp', data })), { code: 'ERR_MESSAGE_MALFORMED' }, data)
  }
})

t.test('a bound client cannot bind again, and a server message is no client message', async t => {
  t.throws(() => parseClientMessage(JSON.stringify(bind)), { code: 'ERR_MESSAGE_UNKNOWN' })
  t.throws(() => parseClientMessage('{"type":"closing","code":4000,"reason":"x"}'), { code: 'ERR_MESSAGE_UNKNOWN' })
  t.same(parseServerMessage('{"type":"closing","code":4000,"reason":"x"}'), {
    type: 'closing',
    code: 4000,
    reason: 'x',
  })
})

t.test('a refusal never repeats what was received', async t => {
  try {
    parseBindMessage(JSON.stringify({ ...bind, token: 'canary', proof: 9 }))
    t.fail('accepted')
  } catch (error) {
    t.ok(error instanceof ProtocolError)
    t.notMatch(JSON.stringify(error) + String(error), 'canary')
  }
})
