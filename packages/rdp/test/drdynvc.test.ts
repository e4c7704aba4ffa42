import t from 'tap'
import { type DynvcPdu, type DynvcSender, decodeDynvcPdu, encodeDynvcPdu } from '../src/drdynvc.ts'
import { concat, hex, refuses, refusesPrefixes } from './helper.ts'

/** Examples after [MS-RDPEDYC] §4; `optional` lists prefixes that are shorter messages of their own. */
const VECTORS: readonly {
  readonly sender: DynvcSender
  readonly bytes: string
  readonly pdu: DynvcPdu
  readonly optional?: readonly number[]
  readonly openEnd?: true
}[] = [
  { sender: 'server', bytes: '50 00 01 00', pdu: { type: 'capabilities', version: 1, priorityCharges: [] } },
  {
    sender: 'server',
    bytes: '50 00 02 00 33 33 11 11 3d 0a a7 04',
    pdu: { type: 'capabilities', version: 2, priorityCharges: [0x3333, 0x1111, 0x0a3d, 0x04a7] },
  },
  { sender: 'client', bytes: '50 00 03 00', pdu: { type: 'capabilities', version: 3, priorityCharges: [] } },
  {
    sender: 'server',
    bytes: '10 03 74 65 73 74 64 76 63 00',
    pdu: { type: 'create_request', channelId: 3, priority: 0, channelName: 'testdvc' },
  },
  {
    sender: 'client',
    bytes: '10 03 00 00 00 00',
    pdu: { type: 'create_response', channelId: 3, creationStatus: 0 },
  },
  {
    sender: 'client',
    bytes: '10 03 01 00 00 c0',
    pdu: { type: 'create_response', channelId: 3, creationStatus: 0xc0000001 | 0 },
  },
  {
    sender: 'server',
    bytes: '24 03 7b 0c 71 71 71',
    pdu: { type: 'data_first', channelId: 3, length: 0xc7b, compressed: false, data: hex('71 71 71') },
    optional: [4, 5, 6],
    openEnd: true,
  },
  {
    sender: 'client',
    bytes: '30 03 71 71',
    pdu: { type: 'data', channelId: 3, compressed: false, data: hex('71 71') },
    optional: [2, 3],
    openEnd: true,
  },
  {
    sender: 'server',
    bytes: '62 00 00 01 00 05 e0',
    pdu: { type: 'data_first', channelId: 0x10000, length: 5, compressed: true, data: hex('e0') },
    optional: [6],
    openEnd: true,
  },
  {
    sender: 'server',
    bytes: '71 03 03 e0',
    pdu: { type: 'data', channelId: 0x303, compressed: true, data: hex('e0') },
    optional: [3],
    openEnd: true,
  },
  { sender: 'client', bytes: '41 03 03', pdu: { type: 'close', channelId: 0x303 } },
  {
    sender: 'server',
    bytes: '80 00 12 00 00 00 03 00',
    pdu: { type: 'soft_sync_request', body: hex('00 12 00 00 00 03 00') },
    optional: [1, 2, 3, 4, 5, 6, 7],
    openEnd: true,
  },
  {
    sender: 'client',
    bytes: '90 00 01 00 00 00',
    pdu: { type: 'soft_sync_response', body: hex('00 01 00 00 00') },
    optional: [1, 2, 3, 4, 5],
    openEnd: true,
  },
]

for (const { sender, bytes, pdu, optional = [], openEnd } of VECTORS) {
  t.test(`${pdu.type} ${bytes} of the ${sender} is read and round-trips to the byte`, async t => {
    t.same(decodeDynvcPdu(hex(bytes), sender), pdu)
    t.same(encodeDynvcPdu(pdu), hex(bytes))
    refusesPrefixes(t, hex(bytes), prefix => decodeDynvcPdu(prefix, sender), optional)
    const longer = concat(hex(bytes), hex('00'))
    if (openEnd) t.ok(decodeDynvcPdu(longer, sender))
    else refuses(t, () => decodeDynvcPdu(longer, sender), 'ERR_WIRE_TRAILING_BYTES')
  })
}

t.test('an unknown command and a width code of 3 are refused', async t => {
  for (const cmd of [0, 0xa, 0xf]) {
    refuses(t, () => decodeDynvcPdu(Uint8Array.of(cmd << 4, 0, 0, 0), 'server'), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  }
  for (const first of [0x13, 0x23, 0x2c, 0x33, 0x43]) {
    refuses(t, () => decodeDynvcPdu(Uint8Array.of(first, 0, 0, 0, 0, 0), 'server'), 'ERR_WIRE_INVALID_FIELD')
  }
})

t.test('a name is bounded, and only printable ASCII survives', async t => {
  const request = (name: Uint8Array) => decodeDynvcPdu(concat(hex('10 03'), name, hex('00')), 'server')
  t.match(request(hex('0a 1b 41 ff')), { channelName: '??A?' })
  for (const size of [254, 255]) t.match(request(new Uint8Array(size).fill(0x41)), { channelName: 'A'.repeat(size) })
  refuses(t, () => request(new Uint8Array(256).fill(0x41)), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => request(hex('41 00 42')), 'ERR_WIRE_TRAILING_BYTES', 'text behind the zero')
})

t.test('channel ids and lengths round-trip around each width', async t => {
  for (const id of [0, 0xff, 0x100, 0xffff, 0x10000, 0xffffffff]) {
    const pdu = { type: 'data_first', channelId: id, length: id, compressed: false, data: hex('01') } as const
    t.same(decodeDynvcPdu(encodeDynvcPdu(pdu), 'client'), pdu)
  }
})
