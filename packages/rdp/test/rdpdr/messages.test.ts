import fc from 'fast-check'
import t from 'tap'
import type { Reader } from '../../src/cursor.ts'
import { WireError } from '../../src/errors.ts'
import {
  encodeClientAnnounceReply,
  encodeClientCapabilities,
  encodeClientName,
  encodeDeviceListAnnounce,
  encodeDeviceListRemove,
} from '../../src/rdpdr/client-messages.ts'
import { type IoRequest, IRP_MJ, readIoRequest } from '../../src/rdpdr/io-request.ts'
import { decodeRdpdrServerMessage } from '../../src/rdpdr/server-messages.ts'
import { changed, concat, hex, refuses, refusesPrefixes } from '../helper.ts'
import {
  CAPABILITY_REQUEST,
  CLIENT_ID_CONFIRM,
  createBody,
  DEVICE_ACCEPTED,
  directoryBody,
  ioRequest,
  SERVER_ANNOUNCE,
  USER_LOGGED_ON,
} from './target.ts'

/** Requests of [MS-RDPEFS] §4.12 to §4.34; §4.12 has a path of no bytes, and ends with its length. */
const REQUESTS: Record<string, readonly [bytes: string, request: IoRequest]> = {
  '§4.12 create': [
    `72445249 03000000 00000000 01000000 00000000 00000000 80000000 00000000 00000000 00000000 07000000 01000000
     01000000 00000000`,
    { type: 'create', desiredAccess: 0x80, createDisposition: 1, createOptions: 1, path: '' },
  ],
  '§4.14 close': [`72445249 02000000 01000000 01000000 02000000 00000000 ${'00'.repeat(32)}`, { type: 'close' }],
  '§4.16 read': [
    `72445249 01000000 32000000 03000000 03000000 00000000 00060000 002c0000 00000000 ${'00'.repeat(20)}`,
    { type: 'read', length: 0x600, offset: 0x2c00n },
  ],
  '§4.18 write': [
    `72445249 01000000 23020000 06000000 04000000 00000000 09000000 00000000 00000000 ${'00'.repeat(20)}
     736664647361667361`,
    { type: 'write' },
  ],
  '§4.20 control': [
    `72445249 01000000 f8010000 08000000 0e000000 00000000 00400000 00000000 a8000900 ${'00'.repeat(20)}`,
    { type: 'control' },
  ],
  '§4.22 query volume': [
    `72445249 01000000 fa010000 08000000 0a000000 00000000 05000000 00000000 ${'00'.repeat(24)}`,
    { type: 'query_volume', informationClass: 5 },
  ],
  '§4.24 set volume': [
    `72445249 02000000 06000000 02000000 0b000000 00000000 02000000 1c000000 ${'00'.repeat(24)}
     16000000 5400650073007400200056006f006c0075006d0065000000`,
    { type: 'set_volume', length: 0x1c },
  ],
  '§4.26 query information': [
    `72445249 02000000 01000000 01000000 05000000 00000000 04000000 00000000 ${'00'.repeat(24)}`,
    { type: 'query_information', informationClass: 4 },
  ],
  '§4.28 set information': [
    `72445249 01000000 0c020000 08000000 06000000 00000000 04000000 24000000 ${'00'.repeat(56)} a0000000`,
    { type: 'set_information', length: 0x24 },
  ],
  '§4.30 query directory': [
    `72445249 01000000 02000000 01000000 0c000000 01000000 03000000 01 06000000 ${'00'.repeat(23)} 5c002a000000`,
    { type: 'query_directory', informationClass: 3, isInitial: true, path: '\\*' },
  ],
  '§4.32 notify': [
    `72445249 01000000 03000000 02000000 0c000000 02000000 00 17000000 ${'00'.repeat(27)}`,
    { type: 'notify' },
  ],
  '§4.34 lock': [
    `72445249 0c000000 52000000 02000000 11000000 00000000 03000000 00000000 01000000 ${'55'.repeat(20)}
     6400000000000000 c800000000000000`,
    { type: 'lock' },
  ],
}

/** Bytes of each request that are read; what stands behind may be missing. */
const READ_BYTES: Record<IoRequest['type'], number> = {
  create: 56,
  close: 24,
  read: 36,
  write: 24,
  query_information: 28,
  set_information: 32,
  query_volume: 28,
  set_volume: 32,
  query_directory: 62,
  notify: 24,
  lock: 28,
  control: 24,
}

function decodeRequest(bytes: Uint8Array): IoRequest {
  const message = decodeRdpdrServerMessage(bytes)
  if (message.type !== 'io_request') throw new Error('no request')
  return readIoRequest(message.reader, message.header)
}

for (const [name, [bytes, request]] of Object.entries(REQUESTS)) {
  t.test(`${name} is read`, async t => {
    t.same(decodeRequest(hex(bytes)), request)
    refusesPrefixes(t, hex(bytes).subarray(0, READ_BYTES[request.type]), decodeRequest)
  })
}

t.test('the messages of the sequence are read', async t => {
  t.same(decodeRdpdrServerMessage(SERVER_ANNOUNCE), { type: 'server_announce', versionMinor: 12, clientId: 1 })
  t.same(decodeRdpdrServerMessage(CLIENT_ID_CONFIRM), { type: 'client_id_confirm', clientId: 1 })
  t.same(decodeRdpdrServerMessage(CAPABILITY_REQUEST), { type: 'capability_request', extendedPdu: 7 })
  t.same(decodeRdpdrServerMessage(USER_LOGGED_ON), { type: 'user_logged_on' })
  t.same(decodeRdpdrServerMessage(DEVICE_ACCEPTED), { type: 'device_reply', deviceId: 1, resultCode: 0 })
  for (const bytes of [SERVER_ANNOUNCE, CLIENT_ID_CONFIRM, CAPABILITY_REQUEST, USER_LOGGED_ON, DEVICE_ACCEPTED]) {
    refusesPrefixes(t, bytes, decodeRdpdrServerMessage)
    t.ok(decodeRdpdrServerMessage(concat(bytes, hex('00'))), 'padding is not looked at')
  }
})

t.test('a server without a general set has no extended PDUs', async t => {
  t.same(decodeRdpdrServerMessage(hex('72445053 0100 0000 0400 0800 02000000')), {
    type: 'capability_request',
    extendedPdu: 0,
  })
})

t.test('what is not of the core, not known or out of its range is refused', async t => {
  const request = (major: number, body: Uint8Array, minor = 0) =>
    decodeRequest(ioRequest({ majorFunction: major, minorFunction: minor, fileId: 1, completionId: 1 }, body))
  refuses(t, () => decodeRdpdrServerMessage(hex('5052 4350 00000000')), 'ERR_WIRE_UNEXPECTED_MESSAGE', 'a printer')
  refuses(t, () => decodeRdpdrServerMessage(hex('7244 4e43')), 'ERR_WIRE_UNEXPECTED_MESSAGE', 'a message of clients')
  refuses(t, () => decodeRdpdrServerMessage(changed(CAPABILITY_REQUEST, 4, 33)), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => decodeRdpdrServerMessage(changed(CAPABILITY_REQUEST, 10, 7)), 'ERR_WIRE_INVALID_FIELD')
  for (const major of [1, 7, 8, 9, 0x0d, 0x14, 0x15, 0xffffffff]) {
    refuses(t, () => request(major, new Uint8Array(64)), 'ERR_WIRE_UNEXPECTED_MESSAGE', `major function ${major}`)
  }
  for (const minor of [0, 3]) {
    refuses(t, () => request(IRP_MJ.DIRECTORY_CONTROL, new Uint8Array(64), minor), 'ERR_WIRE_UNEXPECTED_MESSAGE')
  }
  for (const operation of [0, 1, 6]) {
    refuses(t, () => request(IRP_MJ.LOCK_CONTROL, hex(`0${operation}000000`)), 'ERR_WIRE_INVALID_FIELD', 'a lock')
  }
  const open = createBody({ desiredAccess: 1, createDisposition: 1, createOptions: 0, path: 'a' })
  refuses(t, () => request(IRP_MJ.CREATE, changed(open, 28, 3)), 'ERR_WIRE_INVALID_FIELD', 'half a character')
  refuses(t, () => request(IRP_MJ.CREATE, changed(open, 28, 6)), 'ERR_WIRE_TRUNCATED')
})

t.test('a path is bounded, with and without its zero', async t => {
  const path = (text: string) =>
    decodeRequest(
      ioRequest(
        { majorFunction: IRP_MJ.CREATE, fileId: 0, completionId: 1 },
        createBody({ desiredAccess: 1, createDisposition: 1, createOptions: 0, path: text }),
      ),
    )
  t.match(path('\\Größe.txt'), { path: '\\Größe.txt' })
  t.match(path('a'.repeat(519)), { path: 'a'.repeat(519) })
  t.match(path('a'.repeat(520)), { path: undefined })
  t.match(path('a'.repeat(30_000)), { path: undefined })
  const query = (body: Uint8Array) =>
    decodeRequest(
      ioRequest({ majorFunction: IRP_MJ.DIRECTORY_CONTROL, minorFunction: 1, fileId: 1, completionId: 1 }, body),
    )
  t.match(query(directoryBody(1, '\\*')), { isInitial: true, path: '\\*' })
  t.match(query(directoryBody(1, undefined)), { isInitial: false, path: undefined })
})

t.test('the client says the least, and nothing of its machine', async t => {
  t.same(encodeClientAnnounceReply(1), hex('72444343 0100 0c00 01000000'), '§4.4')
  t.same(
    encodeClientName('TSDEV-SELFHOST'),
    hex(`72444e43 01000000 00000000 1e000000
    54005300440045005600 2d00 530045004c00460048004f0053005400 0000`),
    '§4.5',
  )
  t.same(encodeDeviceListRemove(1), hex('72444d44 01000000 01000000'), '§4.11')
  t.same(
    encodeClientCapabilities(),
    hex(`72445043 0200 0000 0100 2c00 02000000 00000000 00000000 0100 0c00 ff3f0000 00000000 07000000 00000000 00000000
      00000000 0400 0800 02000000`),
  )
  t.same(
    encodeDeviceListAnnounce(1, 'RAP_Transfers'),
    hex(`72444144 01000000 08000000 01000000 5241505f54726100 0e000000 5241505f5472616e736665727300`),
  )
  t.same(encodeDeviceListAnnounce(2, 'C:').subarray(16, 24), hex('433a000000000000'), 'a short name is whole')
})

t.test('any bytes are read or refused with WireError', async t => {
  const seeds = [...Object.values(REQUESTS).map(([bytes]) => hex(bytes)), CAPABILITY_REQUEST, DEVICE_ACCEPTED]
  const mutated = fc
    .tuple(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat({ max: 100 }), fc.nat({ max: 255 })), { maxLength: 6 }))
    .map(([seed, changes]) => {
      const bytes = Uint8Array.from(seed)
      for (const [at, value] of changes) bytes[at % bytes.length] = value
      return bytes
    })
  fc.assert(
    fc.property(fc.oneof(mutated, fc.uint8Array({ maxLength: 100 })), bytes => {
      try {
        const message = decodeRdpdrServerMessage(bytes)
        if (message.type === 'io_request') readIoRequest(message.reader as Reader, message.header)
      } catch (error) {
        if (!(error instanceof WireError)) throw error
      }
    }),
    { numRuns: 3_000 },
  )
  t.pass()
})
