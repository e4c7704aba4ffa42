import t from 'tap'
import { destinationOf, formatProxyAuth, isDestinationOf, parseProxyAuth } from '../src/index.ts'

t.test('token and proof come back as they were joined', async t => {
  t.same(parseProxyAuth(formatProxyAuth('a.b.c', 'd.e.f')), { token: 'a.b.c', proof: 'd.e.f' })
})

t.test('anything but exactly two compact tokens is refused', async t => {
  for (const value of [
    '',
    'a.b.c',
    'a.b.c~',
    '~d.e.f',
    'a.b.c~d.e.f~g.h.i',
    'a.b~d.e.f',
    'a.b.c~d.e.f\n',
    'a..c~d.e.f',
  ]) {
    t.throws(() => parseProxyAuth(value), { code: 'ERR_MESSAGE_MALFORMED' }, JSON.stringify(value))
  }
  t.throws(() => parseProxyAuth('a'.repeat(16_385)), { code: 'ERR_MESSAGE_TOO_LARGE' })
})

t.test('a destination names exactly its resource', async t => {
  t.ok(isDestinationOf(destinationOf('r1'), 'r1'))
  t.ok(isDestinationOf('r1', 'r1'))
  t.notOk(isDestinationOf(destinationOf('r10'), 'r1'))
  t.notOk(isDestinationOf('10.0.0.1:3389', 'r1'))
})
