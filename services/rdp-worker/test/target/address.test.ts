import t from 'tap'
import { parseTargetAddress, targetPolicyOf } from '../../src/target/address.ts'

t.test('an address is a host, or an address in its own notation, and a port', async t => {
  for (const [address, host, port] of [
    ['desk.corp.example:3389', 'desk.corp.example', 3389],
    ['desk:1', 'desk', 1],
    ['desk.:65535', 'desk.', 65535],
    ['DESK_1.corp:3389', 'DESK_1.corp', 3389],
    ['192.0.2.7:3389', '192.0.2.7', 3389],
    ['[2001:db8::7]:3389', '2001:db8::7', 3389],
    ['[::ffff:192.0.2.7]:3389', '::ffff:192.0.2.7', 3389],
  ] as const) {
    t.same(parseTargetAddress(address), { host, port }, address)
  }
})

t.test('everything else is refused before it is looked up', async t => {
  for (const address of [
    '',
    'desk',
    ':3389',
    'desk:',
    'desk:0',
    'desk:65536',
    'desk:123456',
    'desk:-1',
    'desk: 1',
    'desk:0x10',
    ' desk:3389',
    'desk:3389 ',
    'desk:3389\n',
    'de sk:3389',
    '-desk:3389',
    '.desk:3389',
    'desk..corp:3389',
    `${'a'.repeat(64)}.corp:3389`,
    `${'a.'.repeat(127)}ab:3389`,
    '2001:db8::7:3389',
    '[desk]:3389',
    '[192.0.2.7]:3389',
    '[fe80::1%eth0]:3389',
    '[::1:3389',
    'user@desk:3389',
    'desk/path:3389',
    'rdp://desk:3389',
    'désk:3389',
    'desk\0.corp:3389',
  ]) {
    t.throws(() => parseTargetAddress(address), { code: 'ERR_TARGET_ADDRESS_INVALID' }, JSON.stringify(address))
  }
})

const FORBIDDEN = [
  ['0.0.0.0', 'this machine, on Linux'],
  ['127.0.0.1', 'loopback'],
  ['127.255.255.254', 'loopback'],
  ['169.254.169.254', 'metadata'],
  ['169.254.0.1', 'link-local'],
  ['192.0.0.192', 'metadata of one cloud'],
  ['100.100.100.200', 'metadata of one cloud'],
  ['168.63.129.16', 'host of one cloud'],
  ['224.0.0.251', 'multicast'],
  ['255.255.255.255', 'broadcast'],
  ['::', 'this machine'],
  ['::1', 'loopback'],
  ['0:0:0:0:0:0:0:1', 'loopback, written out'],
  ['::127.0.0.1', 'loopback, the old way'],
  ['::ffff:127.0.0.1', 'loopback, mapped'],
  ['::FFFF:7f00:1', 'loopback, mapped, hexadecimal'],
  ['0:0:0:0:0:ffff:127.0.0.1', 'loopback, mapped, written out'],
  ['::ffff:0:127.0.0.1', 'loopback, translated'],
  ['::ffff:169.254.169.254', 'metadata, mapped'],
  ['64:ff9b::7f00:1', 'loopback, behind a NAT64'],
  ['64:ff9b::169.254.169.254', 'metadata, behind a NAT64'],
  ['64:ff9b:1::a9fe:a9fe', 'metadata, behind a local NAT64'],
  ['2002:7f00:1::', 'loopback, 6to4'],
  ['2001:0:7f00:1::', 'Teredo'],
  ['fe80::1', 'link-local'],
  ['fe80::1%2', 'link-local, as name services answer it'],
  ['fe80::1%eth0', 'link-local, with the name of an interface'],
  ['fec0::1', 'site-local'],
  ['ff02::1', 'multicast'],
  ['fd00:ec2::254', 'metadata of one cloud'],
  ['fd20:ce::254', 'metadata of one cloud'],
  ['not an address', 'no address'],
  ['', 'no address'],
] as const

const PLAIN = ['10.1.2.3', '192.168.0.1', '203.0.113.9', '100.64.0.1', 'fd00::7', '2001:db8::7', '64:ff9b::a01:203']

t.test('an empty list allows every host, and no address of this machine, of its link or of a cloud', async t => {
  const policy = targetPolicyOf([])
  for (const [address, what] of FORBIDDEN) {
    t.equal(policy.allowsAddress(address, false), false, `${address} (${what})`)
  }
  for (const address of PLAIN) t.equal(policy.allowsAddress(address, false), true, address)
})

t.test('outside production an empty list allows this machine, and metadata still not', async t => {
  const policy = targetPolicyOf([], { loopback: true })
  for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', ...PLAIN]) {
    t.equal(policy.allowsAddress(address, false), true, address)
  }
  for (const address of ['169.254.169.254', '0.0.0.0', 'fe80::1', 'ff02::1', 'fd00:ec2::254', '100.100.100.200']) {
    t.equal(policy.allowsAddress(address, false), false, address)
  }
})

t.test('with a list only what is listed is allowed, on this machine too', async t => {
  const policy = targetPolicyOf(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32'], { loopback: true })
  for (const [address, allowed] of [
    ['10.255.0.1', true],
    ['::ffff:10.0.0.1', true],
    ['11.0.0.1', false],
    ['192.0.2.7', true],
    ['192.0.2.8', false],
    ['2001:db8:ffff::1', true],
    ['2001:db9::1', false],
    ['127.0.0.1', false],
  ] as const) {
    t.equal(policy.allowsAddress(address, false), allowed, address)
  }
})

t.test('a listed name is allowed wherever it leads, but for the forbidden networks', async t => {
  const policy = targetPolicyOf(['*.corp.example', 'jump', '127.0.0.1/32'])
  for (const [host, allowed] of [
    ['desk.corp.example', true],
    ['a.b.corp.example', true],
    ['DESK.Corp.Example.', true],
    ['corp.example', false],
    ['xcorp.example', false],
    ['desk.corp.example.evil', false],
    ['deskXcorpYexample', false],
    ['jump', true],
    ['jump.evil', false],
    ['.corp.example', false],
  ] as const) {
    t.equal(policy.allowsName(host), allowed, host)
  }
  t.equal(policy.allowsAddress('10.0.0.1', true), true)
  t.equal(policy.allowsAddress('10.0.0.1', false), false, 'by address it is not listed')
  t.equal(policy.allowsAddress('169.254.169.254', true), false, 'a name can be made to lead there')
  t.equal(policy.allowsAddress('::1', true), false)
  t.equal(policy.allowsAddress('127.0.0.1', true), true, 'listed as an address')
})

t.test('a list of all IPv6 allows no IPv4, nor the other way', async t => {
  t.equal(targetPolicyOf(['::/0']).allowsAddress('10.0.0.1', false), false)
  t.equal(targetPolicyOf(['::/0']).allowsAddress('::ffff:127.0.0.1', false), false)
  t.equal(targetPolicyOf(['0.0.0.0/0']).allowsAddress('2001:db8::1', false), false)
})

t.test('an entry out of form is refused, and never read as more than was meant', async t => {
  for (const entry of [
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/0x8',
    '10.0.0.0/8/9',
    '10.0.0.0/ 8',
    '10.0.0.0/8.0',
    '::1/129',
    '10.0.0',
    '10.0.0.256',
    '10.0.0.0-10.0.0.9',
    '*',
    '*.',
    '*corp',
    'a.*.b',
    '**.corp',
    'corp..example',
    'http://corp',
    '(a+)+$',
    '',
  ]) {
    t.throws(() => targetPolicyOf([entry]), TypeError, JSON.stringify(entry))
  }
})
