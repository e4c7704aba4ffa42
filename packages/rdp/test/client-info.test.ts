import t from 'tap'
import { decodeInfoPacket, encodeInfoPacket, INFO, MAX_INFO_TEXT_BYTES } from '../src/client-info.ts'
import { changed, contains, hex, refuses, refusesPrefixes, utf16le, vector } from './helper.ts'

const UNICODE = vector('client-info-unicode')
const ANSI = vector('client-info-ansi')
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf16le')

t.test('the info packet of [MS-RDPBCGR] §4.1.10 is read and round-trips to the byte', async t => {
  const packet = decodeInfoPacket(UNICODE)
  t.equal(packet.codePage, 0x04090409)
  t.equal(
    packet.flags,
    INFO.MOUSE | INFO.DISABLECTRLALTDEL | INFO.UNICODE | INFO.MAXIMIZESHELL | INFO.COMPRESSION | 0x300 | 0x4000,
  )
  t.equal(text(packet.domain), 'NTDEV')
  t.equal(text(packet.userName), 'eltons')
  t.same(
    [packet.password, packet.alternateShell, packet.workingDir].map(({ length }) => length),
    [0, 0, 0],
  )
  t.equal(text(packet.extraInfo?.clientAddress ?? hex('')), '157.59.242.156\0')
  t.same(encodeInfoPacket(packet), UNICODE)
})

t.test('an ANSI packet is read and round-trips to the byte', async t => {
  const packet = decodeInfoPacket(ANSI)
  t.equal(Buffer.from(packet.userName).toString(), 'eltons')
  t.equal(packet.flags & INFO.UNICODE, 0)
  t.same(encodeInfoPacket(packet), ANSI)
})

t.test('every prefix that does not end in front of an optional field is refused', async t => {
  // The extended info begins at 50, its time zone at 146; session id, flags and cookie follow.
  const { extraInfo, ...bare } = decodeInfoPacket(UNICODE)
  const start = encodeInfoPacket(bare).length
  const zone = start + 6 + (extraInfo?.clientAddress.length ?? 0) + (extraInfo?.clientDir.length ?? 0)
  refusesPrefixes(t, UNICODE, decodeInfoPacket, [start, zone, zone + 172, zone + 176, zone + 180, zone + 182])
})

t.test('a packet without extended info is read', async t => {
  const { extraInfo, ...bare } = decodeInfoPacket(UNICODE)
  t.ok(extraInfo)
  t.notOk(decodeInfoPacket(encodeInfoPacket(bare)).extraInfo)
})

t.test('each text is bounded by 512 bytes with its terminator', async t => {
  const base = decodeInfoPacket(UNICODE)
  const longest = new Uint8Array(MAX_INFO_TEXT_BYTES).fill(0x41)
  for (const field of ['domain', 'userName', 'password', 'alternateShell', 'workingDir'] as const) {
    const packet = { ...base, [field]: longest }
    t.same(decodeInfoPacket(encodeInfoPacket(packet))[field], longest, field)
    t.throws(() => encodeInfoPacket({ ...base, [field]: new Uint8Array(MAX_INFO_TEXT_BYTES + 2) }), TypeError)
  }
  // cbPassword stands at 12.
  refuses(t, () => decodeInfoPacket(changed(UNICODE, 12, 0x01, 0x02)), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => decodeInfoPacket(changed(UNICODE, 12, 0xff, 0xff)), 'ERR_WIRE_TOO_LARGE')
  refuses(t, () => decodeInfoPacket(changed(UNICODE, 12, 0x03, 0x00)), 'ERR_WIRE_INVALID_FIELD')
})

t.test('the encoded packet is one buffer, so that zeroing it leaves no copy of the password', async t => {
  const password = utf16le('correct horse')
  const encoded = encodeInfoPacket({ ...decodeInfoPacket(UNICODE), password })
  t.equal(encoded.buffer.byteLength, encoded.length)
  t.ok(contains(encoded, password))
})
