import t from 'tap'
import { decodeMcsPdu, encodeMcsPdu, encodeSendData, type McsPdu } from '../../src/mcs/domain.ts'
import { decodeX224Message, encodeX224Data, type X224Message } from '../../src/x224.ts'
import { concat, hex, refuses, refusesPrefixes, vector } from '../helper.ts'

const VECTORS: readonly (readonly [name: string, pdu: McsPdu])[] = [
  ['mcs-attach-user-request', { type: 'attach_user_request' }],
  ['mcs-attach-user-confirm', { type: 'attach_user_confirm', result: 0, initiator: 1007 }],
  ['mcs-channel-join-request', { type: 'channel_join_request', initiator: 1007, channelId: 1007 }],
  [
    'mcs-channel-join-confirm',
    { type: 'channel_join_confirm', result: 0, initiator: 1007, requested: 1007, channelId: 1007 },
  ],
  ['mcs-disconnect-provider-ultimatum', { type: 'disconnect_provider_ultimatum', reason: 3 }],
]

for (const [name, pdu] of VECTORS) {
  t.test(`${name} of the specification is read, round-trips, and is refused when cut or longer`, async t => {
    const { userData } = decodeX224Message(vector(name)) as X224Message & { type: 'data' }
    t.same(decodeMcsPdu(userData), pdu)
    t.same(encodeX224Data(encodeMcsPdu(pdu)), vector(name))
    refusesPrefixes(t, userData, decodeMcsPdu)
    refuses(t, () => decodeMcsPdu(concat(userData, Uint8Array.of(0))), 'ERR_WIRE_TRAILING_BYTES')
  })
}

t.test('refused attaches and joins carry no id', async t => {
  for (const pdu of [
    { type: 'attach_user_confirm', result: 4 },
    { type: 'channel_join_confirm', result: 4, initiator: 1002, requested: 1004 },
  ] as const) {
    t.same(decodeMcsPdu(encodeMcsPdu(pdu)), pdu)
  }
})

t.test('send data round-trips around each limit of its length', async t => {
  for (const size of [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 0x7fff]) {
    for (const type of ['send_data_request', 'send_data_indication'] as const) {
      const pdu = { type, initiator: 1007, channelId: 1003, userData: new Uint8Array(size).fill(7) }
      t.same(decodeMcsPdu(encodeMcsPdu(pdu)), pdu, `${type} ${size}`)
      const packet = encodeSendData(type, pdu, pdu.userData.subarray(0, size >> 1), pdu.userData.subarray(size >> 1))
      t.same(packet, encodeX224Data(encodeMcsPdu(pdu)))
    }
  }
  const large = new Uint8Array(0x8000)
  refuses(
    t,
    () => encodeSendData('send_data_request', { initiator: 1007, channelId: 1003 }, large),
    'ERR_WIRE_TOO_LARGE',
  )
})

t.test('send data whose length differs from the bytes that are there is refused', async t => {
  refuses(t, () => decodeMcsPdu(hex('64 00 06 03 eb 70 03 01 02')), 'ERR_WIRE_TRUNCATED')
  refuses(t, () => decodeMcsPdu(hex('64 00 06 03 eb 70 01 01 02')), 'ERR_WIRE_TRAILING_BYTES')
})

t.test('other domain PDUs are refused', async t => {
  for (const choice of [0, 2, 7, 9, 12, 13, 16, 24, 27, 42, 63]) {
    refuses(t, () => decodeMcsPdu(Uint8Array.of(choice << 2, 0, 0, 0, 0, 0, 0)), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  }
})

t.test('a user id above 65535 is refused', async t => {
  t.same(decodeMcsPdu(hex('38 fc 16 03 eb')), { type: 'channel_join_request', initiator: 65535, channelId: 1003 })
  refuses(t, () => decodeMcsPdu(hex('38 fc 17 03 eb')), 'ERR_WIRE_INVALID_FIELD')
})

t.test(
  'the numbers of the erect domain request are not read; rdesktop 1.9 writes them without length bytes',
  async t => {
    const { userData } = decodeX224Message(vector('mcs-erect-domain-request')) as X224Message & { type: 'data' }
    for (const bytes of [userData, hex('04')]) t.same(decodeMcsPdu(bytes), { type: 'erect_domain_request' })
    const rdesktop = { type: 'erect_domain_request', bareNumbers: true } as const
    t.same(decodeMcsPdu(hex('04 00 01 00 01')), rdesktop)
    t.same(encodeMcsPdu(rdesktop), userData)
  },
)
