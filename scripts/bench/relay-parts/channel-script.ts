/**
 * A connection sequence with the channels cliprdr and drdynvc of a client and rdpdr of the relay, and what a target does on them while it is
 * used: it reads a file from RAP_Transfers and gives texts. Fixed packets, made with the encoders of packages/rdp.
 */

const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(/\s/g, ''), 'hex')

/** Channels as `CHANNEL_RESPONSE` gives them, in the order in which the relay asks. */
export const CLIPRDR = 1004
export const DRDYNVC = 1005
export const RDPDR = 1006
const CLIENT_USER = 1007
const SERVER_USER = 1002

/** MCS Connect Initial that asks for cliprdr and drdynvc. */
export const CHANNEL_INITIAL = bytes(
  '0300019402f0807f658201880401010401010101ff301a020122020102020100020101020100020101020300ffff020102301a020122' +
    '020102020100020101020100020101020300ffff020102301a020122020102020100020101020100020101020300ffff020102048201' +
    '27000500147c0001811e000800100001c00044756361811001c0d8000c0008000005200301ca03aa09040000614a' +
    `${'00'.repeat(34)}04000000000000000c${'00'.repeat(67)}01ca010000000000100007000101${'00'.repeat(64)}060001` +
    '00000004c00c001f0000000700000002c00c001b0000000200000003c0200002000000636c69707264720000000080647264796e7663' +
    '0000000080',
)

/** MCS Connect Response with four channels, of which the last is the rdpsnd that the relay asks for beside its rdpdr. */
export const CHANNEL_RESPONSE = bytes(
  '0300007002f0807f66660a0100020100301a020122020102020100020101020100020101020300ffff0201020442000500147c00013a14' +
    '760a01010001c0004d63446e2c010c10000c0008000100000000000000030c1000eb030400ec03ed03ee03f003020c0c00000000000000' +
    '0000',
)

/** Whether a Connect Initial asks for the relay's drive, and so for `CHANNEL_RESPONSE`. */
export const asksForDrive = (packet: Buffer): boolean => packet.includes('rdpdr\0')

export function joinRequest(channelId: number): Buffer {
  const packet = bytes('0300000c02f08038 0006 0000')
  packet.writeUInt16BE(channelId, 10)
  return packet
}

/** The confirm of a join: result, initiator, requested and given channel. */
export function joinConfirm(request: Buffer): Buffer {
  return Buffer.concat([bytes('0300000f02f0803e00'), request.subarray(8, 12), request.subarray(10, 12)])
}

const CHUNK_BYTES = 1600
const FIRST = 1
const LAST = 2

/** One message on a channel as the packets of one side. Spec: [MS-RDPBCGR] §2.2.6.1. */
function packets(domainPdu: number, user: number, channelId: number, message: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at === 0 || at < message.length; at += CHUNK_BYTES) {
    const data = message.subarray(at, at + CHUNK_BYTES)
    const head = Buffer.alloc(23)
    head.set(bytes('0300 0000 02f080'))
    head.writeUInt16BE(head.length + data.length, 2)
    head[7] = domainPdu
    head.writeUInt16BE(user - 1001, 8)
    head.writeUInt16BE(channelId, 10)
    head[12] = 0x70
    head.writeUInt16BE(0x8000 | (8 + data.length), 13)
    head.writeUInt32LE(message.length, 15)
    head.writeUInt32LE((at === 0 ? FIRST : 0) | (at + data.length >= message.length ? LAST : 0), 19)
    parts.push(head, data)
  }
  return Buffer.concat(parts)
}

const fromServer = (channelId: number, message: Buffer): Buffer => packets(0x68, SERVER_USER, channelId, message)
const fromClient = (channelId: number, message: Buffer): Buffer => packets(0x64, CLIENT_USER, channelId, message)

const CAPABILITIES = bytes('0700 0000 10000000 0100 0000 0100 0c00 02000000 02000000')
const TEXT_LIST = bytes('0200 0000 06000000 0d000000 0000')

/** Size of each text that the target gives, in bytes of UTF-16LE. */
export const TEXT_BYTES = 65_536
/** Size of each read of the drive. */
export const READ_BYTES = 65_536

/** The client's side of the clipboard: its capabilities, and the question for a text. */
export const CLIENT_CLIPBOARD = {
  capabilities: fromClient(CLIPRDR, CAPABILITIES),
  request: fromClient(CLIPRDR, bytes('0400 0000 04000000 0d000000')),
} as const

const text = Buffer.alloc(8 + TEXT_BYTES + 2)
text.set(bytes('0500 0100'))
text.writeUInt32LE(TEXT_BYTES + 2, 4)
text.fill(bytes('6100'), 8, 8 + TEXT_BYTES)

const io = (completionId: number, fileId: number, majorFunction: number, body: Buffer): Buffer => {
  const header = bytes('72445249 01000000 00000000 00000000 00000000 00000000')
  header.writeUInt32LE(fileId, 8)
  header.writeUInt32LE(completionId, 12)
  header.writeUInt32LE(majorFunction, 16)
  return fromServer(RDPDR, Buffer.concat([header, body]))
}
const path = Buffer.from('\\bench.bin\0', 'utf16le')
const create = Buffer.alloc(32)
create.writeUInt32LE(0x00100081, 0) // DesiredAccess
create.writeUInt32LE(7, 16) // SharedAccess
create.writeUInt32LE(1, 20) // FILE_OPEN
create.writeUInt32LE(path.length, 28)
const read = Buffer.alloc(32)
read.writeUInt32LE(READ_BYTES, 0)

/** The target's side: how its channels begin, and one step of their use. Spec: [MS-RDPEFS] §4, [MS-RDPECLIP] §4. */
export const TARGET_CHANNELS = {
  begin: Buffer.concat([
    fromServer(CLIPRDR, CAPABILITIES),
    fromServer(CLIPRDR, bytes('0100 0000 00000000')),
    ...[
      '72446e49 0100 0c00 01000000',
      '72445053 0200 0000 0100 2c00 02000000 02000000 00000000 0100 0c00 ffff0000 00000000 07000000 00000000 00000000 02000000 0400 0800 02000000',
      '72444343 0100 0c00 01000000',
      '72444c55',
      '72447264 01000000 00000000',
    ].map(message => fromServer(RDPDR, bytes(message))),
    io(1, 0, 0, Buffer.concat([create, path])),
  ]),
  /** Said once the client has told its capabilities, which decide how a list is written. */
  list: fromServer(CLIPRDR, TEXT_LIST),
  read: io(2, 1, 3, read),
  text: fromServer(CLIPRDR, text),
} as const

/** Whether a packet of the relay is on this channel. */
export const isOn = (packet: Buffer, channelId: number): boolean =>
  packet[7] === 0x64 && packet.readUInt16BE(10) === channelId
/** CHANNEL_PDU_HEADER and what follows; the length in front of it (PER) has one byte or two. */
export const chunkOf = (packet: Buffer): Buffer => packet.subarray(((packet[13] ?? 0) & 0x80) === 0 ? 14 : 15)
/** Whether it ends a message. */
export const endsMessage = (packet: Buffer): boolean => ((chunkOf(packet)[4] ?? 0) & LAST) !== 0
/** msgType of a clipboard message, in its first chunk. */
export const messageType = (packet: Buffer): number => chunkOf(packet)[8] ?? 0
/** PacketId of a drive message, in its first chunk. */
export const packetId = (packet: Buffer): number => chunkOf(packet).readUInt16LE(10)
