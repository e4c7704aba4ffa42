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
