import t from 'tap'
import { CAPSTYPE_VIRTUALCHANNEL, capabilitySets, withoutChannelCompression } from '../src/capabilities.ts'
import { decodeMcsPdu, type McsPdu } from '../src/mcs/domain.ts'
import { PDUTYPE, splitSharePdus } from '../src/share.ts'
import { changed, concat, hex, recording, refuses, refusesPrefixes } from './helper.ts'

type SendData = McsPdu & { userData: Uint8Array }

/** Demand Active and Confirm Active of a recording. */
function activation(name: 'recorded-shadow' | 'recorded-xrdp', type: number): Uint8Array {
  for (const { bytes } of recording(name)) {
    if (bytes[7] !== 0x64 && bytes[7] !== 0x68) continue
    const { userData } = decodeMcsPdu(bytes.subarray(7)) as SendData
    if ((userData[2] ?? 0) === (0x10 | type)) return splitSharePdus(userData)[0]?.bytes ?? new Uint8Array()
  }
  throw new Error('recording has no such PDU')
}

for (const name of ['recorded-shadow', 'recorded-xrdp'] as const) {
  t.test(`the capability sets of ${name} are found`, async t => {
    const demand = capabilitySets(activation(name, PDUTYPE.DEMANDACTIVE))
    const confirm = capabilitySets(activation(name, PDUTYPE.CONFIRMACTIVE))
    t.ok(demand.length > 8)
    t.ok(confirm.length > 12)
    t.ok(demand.some(({ type }) => type === 1))
    t.ok(confirm.some(({ type }) => type === CAPSTYPE_VIRTUALCHANNEL))
  })

  t.test(`channel compression is taken out of ${name}, and nothing else changes`, async t => {
    const confirm = activation(name, PDUTYPE.CONFIRMACTIVE)
    const set = capabilitySets(confirm).find(({ type }) => type === CAPSTYPE_VIRTUALCHANNEL)
    const at = (set?.data.byteOffset ?? 0) - confirm.byteOffset
    const compressing = changed(confirm, at, 3, 0, 0, 0)
    t.same(withoutChannelCompression(compressing), changed(confirm, at, 0, 0, 0, 0))
    t.equal(compressing[at], 3, 'the original is left alone')
  })
}

t.test('the original is left alone also when it is a Buffer, whose slice() is a view', async t => {
  const confirm = Buffer.from(activation('recorded-xrdp', PDUTYPE.CONFIRMACTIVE))
  const before = Buffer.from(Uint8Array.from(confirm))
  withoutChannelCompression(confirm).fill(0xff)
  t.same(confirm, before)
})

t.test('every prefix that ends inside the capability sets is refused', async t => {
  refusesPrefixes(t, activation('recorded-xrdp', PDUTYPE.CONFIRMACTIVE), capabilitySets)
})

t.test('a set shorter than its header, too many sets, and other PDUs are refused', async t => {
  const confirm = (sets: string, count = '01 00') => {
    const combined = hex(`${count} 00 00 ${sets}`)
    return concat(hex('13 00 13 00 ea 03 01 00 00 00 ea 03 00 00'), Uint8Array.of(combined.length, 0), combined)
  }
  t.same(capabilitySets(confirm('14 00 04 00')), [{ type: 0x14, data: hex('') }])
  t.same(capabilitySets(confirm('99 00 05 00 aa')), [{ type: 0x99, data: hex('aa') }], 'unknown sets are kept')
  refuses(t, () => capabilitySets(confirm('14 00 03 00')), 'ERR_WIRE_INVALID_FIELD')
  refuses(t, () => capabilitySets(confirm('14 00 05 00')), 'ERR_WIRE_TRUNCATED')
  t.equal(capabilitySets(confirm('14 00 04 00', '80 00')).length, 1, 'a count of 128 is a bound, not a promise')
  refuses(t, () => capabilitySets(confirm('14 00 04 00', '81 00')), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => capabilitySets(hex('06 00 17 00 ea 03')), 'ERR_WIRE_UNEXPECTED_MESSAGE')
})
