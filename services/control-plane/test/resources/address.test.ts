import t from 'tap'
import { parseAddress } from '../../src/resources/address.ts'

t.test('an address gets its one spelling', async t => {
  const cases: [string, string][] = [
    ['host:3389', 'host:3389'],
    ['host', 'host:3389'],
    ['Host.Example.COM:3390', 'host.example.com:3390'],
    ['win_srv-1.corp.example:1', 'win_srv-1.corp.example:1'],
    ['192.0.2.10:65535', '192.0.2.10:65535'],
    ['[2001:DB8:0:0::1]:3389', '[2001:db8::1]:3389'],
    ['[::1]', '[::1]:3389'],
    ['[::ffff:192.0.2.1]:3389', '[::ffff:c000:201]:3389'],
    ['1.example:3389', '1.example:3389'],
    [`${'a'.repeat(63)}.example:3389`, `${'a'.repeat(63)}.example:3389`],
  ]
  for (const [given, expected] of cases) t.equal(parseAddress(given), expected, given)
})

t.test('what could be read in two ways is refused', async t => {
  const refused = [
    '',
    ':3389',
    'host:',
    'host:0',
    'host:65536',
    'host:03389',
    'host:+3389',
    'host:3389:3389',
    'host:rdp',
    ' host:3389',
    'host :3389',
    'host:3389\n',
    'ho\u0000st:3389',
    'user@host:3389',
    'rdp://host:3389',
    'host/path:3389',
    'höst:3389',
    '-host:3389',
    'host-:3389',
    'a..b:3389',
    '.host:3389',
    'host.:3389',
    `${'a'.repeat(64)}:3389`,
    `${'a.'.repeat(130)}b:3389`,
    '::1',
    '2001:db8::1',
    '2001:db8::1:3389',
    '[::1',
    '[::1]3389',
    '[fe80::1%eth0]:3389',
    '[host]:3389',
    '[192.0.2.1]:3389',
    // Other spellings of 127.0.0.1.
    '127.1:3389',
    '2130706433:3389',
    '0x7f000001:3389',
    '0x7f.0.0.1:3389',
    '127.0.0.01:3389',
    '0177.0.0.1:3389',
    '127.0.0.0x1:3389',
    '1.2.3.4.5:3389',
    '256.1.1.1:3389',
  ]
  for (const given of refused) t.equal(parseAddress(given), undefined, given)
})
