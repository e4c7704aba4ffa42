import t from 'tap'
import { addressKey } from '../../src/auth/client-address.ts'

t.test('an IPv4 address counts by itself, in both of its forms', async t => {
  t.equal(addressKey('192.0.2.1'), '192.0.2.1')
  t.equal(addressKey('::ffff:192.0.2.1'), '192.0.2.1')
  t.not(addressKey('192.0.2.1'), addressKey('192.0.2.2'))
})

t.test('an IPv6 address counts by its /64, in every spelling', async t => {
  const same = ['2001:db8::1', '2001:0db8:0000:0000:ffff::', '2001:db8:0:0:1:2:3:4', '2001:DB8::2%eth0']
  t.equal(new Set(same.map(addressKey)).size, 1)
  t.not(addressKey('2001:db8::1'), addressKey('2001:db8:0:1::1'))
  t.equal(addressKey('::1'), '0:0:0:0::/64')
})

t.test('anything else is a bounded key', async t => {
  t.equal(addressKey('x'.repeat(1000)).length, 64)
})
