/**
 * The shortest RDP connection sequence that RdpRelay takes for one ([MS-RDPBCGR] §1.3.1.1), as fixed packets: no channels, no
 * licensing beyond "valid client", one capability set. Made with the encoders of packages/rdp.
 */

const packet = (hex: string): Buffer => Buffer.from(hex, 'hex')

/** What the client says; each step is the answer to one packet of the server. */
export const CLIENT = {
  connectInitial: packet(
    '0300017c02f0807f658201700401010401010101ff301a020122020102020100020101020100020101020300ffff020102301a020122' +
      '020102020100020101020100020101020300ffff020102301a020122020102020100020101020100020101020300ffff020102048201' +
      '0f000500147c00018106000800100001c0004475636180f801c0d8000c0008000005200301ca03aa09040000614a' +
      `${'00'.repeat(34)}04000000000000000c${'00'.repeat(67)}01ca010000000000100007000101${'00'.repeat(64)}06000100` +
      '000004c00c001f0000000700000002c00c001b0000000200000003c0080000000000',
  ),
  erectAndAttach: packet('0300000c02f08004010001000300000802f08028'),
  joinUser: packet('0300000c02f08038000603ef'),
  joinIo: packet('0300000c02f08038000603eb'),
  clientInfo: packet(
    '0300017d02f08064000603eb70816e400000000904090499a1340208000e000a001e000e004500560049004c0000006d0061006c006c' +
      '006f0072007900000067007500650073007300000063006d0064002e0065007800650020002f0063002000630061006c006300000043' +
      '003a005c006500760069006c000000020014003100390032002e0030002e0032002e00370000000e0043003a005c0064006900720000' +
      `00${'09'.repeat(172)}05000000ff0100001c00${'c7'.repeat(28)}0000000000000000`,
  ),
  confirmActive: packet(
    '0300003a02f08064000603eb702c2c001300ef03ea030100ea03060016004d53545343000200000014000c00030000004006000099000600abcd',
  ),
} as const

/** What the server says. */
export const SERVER = {
  connectResponse: packet(
    '0300006802f0807f665e0a0100020100301a020122020102020100020101020100020101020300ffff020102043a000500147c000132147' +
      '60a01010001c0004d63446e24010c10000c0008000100000000000000030c0800eb030000020c0c000000000000000000',
  ),
  attachConfirm: packet('0300000b02f0802e000006'),
  joinConfirmUser: packet('0300000f02f0803e00000603ef03ef'),
  joinConfirmIo: packet('0300000f02f0803e00000603eb03eb'),
  license: packet('0300002202f08068000103eb701480000000ff031000070000000200000004000000'),
  demandActive: packet(
    '0300003a02f08068000103eb702c2c001100ea03ea03010004001600524450000200000014000c00030000004006000099000600abcd00000000',
  ),
} as const

/** X.224 Connection Confirm that selects TLS. */
export const CONNECTION_CONFIRM = packet('030000130ed000000000000200080001000000')

/** Where a frame carries the time of its write: microseconds of the machine's monotonic clock, a double. */
export const STAMP_OFFSET = 8

/** A fast-path update PDU of `size` bytes (at most 32767) whose content is noise to everybody. */
export function screenFrame(size: number): Buffer {
  const frame = Buffer.alloc(size, 0x5a)
  frame[0] = 0
  frame[1] = 0x80 | (size >> 8)
  frame[2] = size & 0xff
  return frame
}

/** Microseconds of the machine's monotonic clock, the same in every process. */
export function nowMicros(): number {
  return Number(process.hrtime.bigint()) / 1000
}

/** Cuts TPKT packets (RFC 1006) off a stream and gives each to `take`; answers what is left. */
export function eachPacket(buffered: Buffer, take: (packet: Buffer) => void): Buffer {
  let rest = buffered
  while (rest.length >= 4 && rest.length >= rest.readUInt16BE(2)) {
    const size = rest.readUInt16BE(2)
    take(rest.subarray(0, size))
    rest = rest.subarray(size)
  }
  return rest
}
