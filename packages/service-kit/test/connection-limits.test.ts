import t from 'tap'
import { addressKey, ConnectionLimits } from '../src/index.ts'

const LIMITS = { maxConnections: 3, maxUnbound: 2, maxPerAddress: 2 }

t.test('each limit holds at its value and not below it', async t => {
  const limits = new ConnectionLimits(LIMITS)
  t.ok(limits.admit('192.0.2.1'))
  const second = limits.admit('192.0.2.1')
  t.notOk(limits.admit('192.0.2.2'), 'unbound')
  second?.bound()
  t.notOk(limits.admit('192.0.2.1'), 'address')
  t.ok(limits.admit('192.0.2.2'))
  t.same([limits.connections, limits.unbound], [3, 2])
  t.notOk(limits.admit('192.0.2.3'), 'all')
})

t.test('a release and a bind count once, in whatever order they come', async t => {
  const limits = new ConnectionLimits(LIMITS)
  const admission = limits.admit('192.0.2.1')
  admission?.release()
  admission?.release()
  admission?.bound()
  t.same([limits.connections, limits.unbound], [0, 0])
  const other = limits.admit('192.0.2.1')
  other?.bound()
  other?.bound()
  t.same([limits.connections, limits.unbound], [1, 0])
  other?.release()
  t.same([limits.connections, limits.unbound], [0, 0])
})

t.test('an address with many bound connections may make more where only its unbound ones are limited', async t => {
  const limits = new ConnectionLimits({ maxConnections: 100, maxUnbound: 10, maxUnboundPerAddress: 2 })
  const bound = Array.from({ length: 50 }, () => limits.admit('192.0.2.1'))
  t.equal(bound.filter(admission => admission !== undefined).length, 2, 'none has bound')
  for (let session = 0; session < 50; session++) {
    limits.admit('192.0.2.9')?.bound()
  }
  t.equal(limits.connections, 52)
  t.ok(limits.admit('192.0.2.9'))
  t.ok(limits.admit('192.0.2.9'))
  t.notOk(limits.admit('192.0.2.9'), 'two of it wait')
  t.ok(limits.admit('192.0.2.2'), 'another address is not concerned')
})

t.test('a place that a connection gives up is free again for its address', async t => {
  const limits = new ConnectionLimits({ maxConnections: 9, maxUnbound: 9, maxPerAddress: 2, maxUnboundPerAddress: 1 })
  const first = limits.admit('192.0.2.1')
  t.notOk(limits.admit('192.0.2.1'))
  first?.bound()
  const second = limits.admit('192.0.2.1')
  second?.bound()
  t.notOk(limits.admit('192.0.2.1'), 'bound ones count for the other limit')
  first?.release()
  const third = limits.admit('192.0.2.1')
  t.ok(third)
  third?.release()
  t.ok(limits.admit('192.0.2.1'))
})

t.test('an IPv6 customer counts as one network, an IPv4 address as itself', async t => {
  for (const [address, key] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2:ffff::1', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ] as const) {
    t.equal(addressKey(address), key, address)
  }
})
