import { randomBytes } from 'node:crypto'
import { RdpRelay } from '@rap/rdp'
import t from 'tap'
import {
  asksForDrive,
  CHANNEL_INITIAL,
  CHANNEL_RESPONSE,
  CLIENT_CLIPBOARD,
  CLIPRDR,
  DRDYNVC,
  endsMessage,
  isOn,
  joinConfirm,
  joinRequest,
  messageType,
  packetId,
  RDPDR,
  READ_BYTES,
  TARGET_CHANNELS,
  TEXT_BYTES,
} from '../relay-parts/channel-script.ts'
import { tableOfFirewall } from '../relay-parts/firewall.ts'
import {
  CLIENT,
  CONNECTION_CONFIRM,
  eachPacket,
  nowMicros,
  SERVER,
  STAMP_OFFSET,
  screenFrame,
} from '../relay-parts/rdp-script.ts'
import { median, tableOf } from '../relay-parts/report.ts'
import { Deframer, FrameReader, Tally } from '../relay-parts/stream-reader.ts'

t.test('the fixed packets are whole, and take a relay to its active phase', async t => {
  const packets = Object.entries({ ...CLIENT, ...SERVER, CONNECTION_CONFIRM })
  for (const [name, bytes] of packets) {
    t.equal(eachPacket(bytes, () => {}).length, 0, name)
  }
  const relay = new RdpRelay(
    {
      targetSelectedProtocol: 1,
      targetRequestedProtocols: 1,
      clientRequestedProtocols: 1,
      credentials: undefined,
      policy: { channels: new Set(['display', 'input']), clipboardBytes: 0, renderQualityProfile: 'balanced' },
    },
    { toClient: () => {}, toServer: () => {}, event: () => {} },
  )
  relay.fromClient(CLIENT.connectInitial)
  relay.fromServer(SERVER.connectResponse)
  relay.fromClient(CLIENT.erectAndAttach)
  relay.fromServer(SERVER.attachConfirm)
  relay.fromClient(CLIENT.joinUser)
  relay.fromServer(SERVER.joinConfirmUser)
  relay.fromClient(CLIENT.joinIo)
  relay.fromServer(SERVER.joinConfirmIo)
  relay.fromClient(CLIENT.clientInfo)
  relay.fromServer(Buffer.concat([SERVER.license, SERVER.demandActive]))
  relay.fromClient(CLIENT.confirmActive)
  t.equal(relay.phase, 'active')
})

t.test('the packets with channels take a relay to a clipboard and a drive that are in use', async t => {
  const toClient: Buffer[] = []
  const toServer: Buffer[] = []
  const events: string[] = []
  const relay = new RdpRelay(
    {
      targetSelectedProtocol: 1,
      targetRequestedProtocols: 1,
      clientRequestedProtocols: 1,
      credentials: undefined,
      policy: {
        channels: new Set(['display', 'input', 'clipboard_server_to_client', 'file_upload']),
        clipboardBytes: TEXT_BYTES,
        renderQualityProfile: 'balanced',
      },
      drive: {
        list: () => [{ id: '1', name: 'bench.bin', size: READ_BYTES, modifiedAt: 0 }],
        read: (_file, _offset, length, done) => done(new Uint8Array(length)),
      },
    },
    {
      toClient: bytes => toClient.push(Buffer.from(bytes)),
      toServer: bytes => toServer.push(Buffer.from(bytes)),
      event: ({ type }) => events.push(type),
    },
  )
  const confirmJoins = () => {
    const packets: Buffer[] = []
    eachPacket(Buffer.concat(toServer.splice(0)), packet => packets.push(packet))
    for (const packet of packets) if (packet[7] === 0x38) relay.fromServer(joinConfirm(packet))
  }
  relay.fromClient(CHANNEL_INITIAL)
  t.ok(asksForDrive(Buffer.concat(toServer)))
  relay.fromServer(CHANNEL_RESPONSE)
  relay.fromClient(CLIENT.erectAndAttach)
  relay.fromServer(SERVER.attachConfirm)
  for (const join of [CLIENT.joinUser, CLIENT.joinIo, joinRequest(CLIPRDR), joinRequest(DRDYNVC)]) {
    relay.fromClient(join)
    confirmJoins()
  }
  relay.fromClient(CLIENT.clientInfo)
  relay.fromServer(Buffer.concat([SERVER.license, SERVER.demandActive]))
  relay.fromClient(CLIENT.confirmActive)
  t.equal(relay.phase, 'active')
  toServer.length = 0
  relay.fromServer(TARGET_CHANNELS.begin)
  const answers: Buffer[] = []
  eachPacket(Buffer.concat(toServer), packet => answers.push(packet))
  t.ok(answers.length > 3 && answers.every(packet => isOn(packet, RDPDR) && endsMessage(packet)))
  t.equal(packetId(answers.at(-1) as Buffer), 0x4943, 'the file is open')
  relay.fromClient(CLIENT_CLIPBOARD.capabilities)
  t.equal(messageType(toServer.at(-1) as Buffer), 7, 'capabilities of the client')
  relay.fromServer(TARGET_CHANNELS.list)
  relay.fromClient(CLIENT_CLIPBOARD.request)
  relay.fromServer(TARGET_CHANNELS.text)
  relay.fromServer(TARGET_CHANNELS.read)
  t.ok(events.includes('drive'), 'the drive is mounted')
  t.equal(relay.counters.clipboardToClientBytes, TEXT_BYTES)
  t.equal(relay.counters.driveReadBytes, READ_BYTES)
  const last: Buffer[] = []
  eachPacket(Buffer.concat(toServer), packet => last.push(packet))
  t.ok(isOn(last.at(-1) as Buffer, RDPDR) && endsMessage(last.at(-1) as Buffer))
})

t.test('a firewall report says what was promised and whether it was reached', async t => {
  const row = {
    measure: 'CPU',
    on: 1.05,
    off: 1,
    unit: 's',
    ratio: 1.05,
    quartiles: [1.04, 1.06] as const,
    mustReach: '≤ 1.03',
    reached: false,
  }
  const table = tableOfFirewall({ machine: 'a test', rows: [row], used: { texts: 3, driveMegabytes: 7 } })
  t.match(table, '| CPU | 1.05 s | 1.00 | 1.050 | 1.040 to 1.060 | ≤ 1.03 | NO |')
  t.match(table, '3 texts and 7 MB')
})

/** A server message with the shortest header that fits (RFC 6455 §5.2). */
function message(opcode: number, payload: Buffer): Buffer {
  const { length } = payload
  if (length < 126) return Buffer.concat([Buffer.from([0x80 | opcode, length]), payload])
  if (length < 65_536) return Buffer.concat([Buffer.from([0x80 | opcode, 126, length >> 8, length & 0xff]), payload])
  const size = Buffer.alloc(8)
  size.writeBigUInt64BE(BigInt(length))
  return Buffer.concat([Buffer.from([0x80 | opcode, 127]), size, payload])
}

t.test('messages are taken apart wherever they are cut, and pings are seen', async t => {
  const payloads = [1, 125, 126, 16_379, 65_535, 65_536].map(size => randomBytes(size))
  const stream = Buffer.concat([...payloads.map(payload => message(2, payload)), message(9, Buffer.alloc(0))])
  for (const step of [1, 7, 1000, stream.length]) {
    const deframer = new Deframer()
    const seen: Buffer[] = []
    let pings = 0
    for (let at = 0; at < stream.length; at += step) {
      deframer.push(stream, at, Math.min(at + step, stream.length), (opcode, from, to) => {
        if (opcode === 9) pings++
        else seen.push(stream.subarray(from, to))
      })
    }
    t.ok(Buffer.concat(seen).equals(Buffer.concat(payloads)), `in steps of ${step}`)
    t.equal(pings, 1)
  }
})

t.test('frames are counted and timed wherever the stream is cut', async t => {
  const size = 1000
  const stream = Buffer.concat(
    Array.from({ length: 50 }, () => {
      const frame = screenFrame(size)
      frame.writeDoubleLE(nowMicros() - 5000, STAMP_OFFSET)
      return frame
    }),
  )
  for (const step of [1, 9, 999, 1001, stream.length]) {
    const tally = new Tally()
    tally.start()
    const reader = new FrameReader(tally, size)
    for (let at = 0; at < stream.length; at += step) reader.push(stream, at, Math.min(at + step, stream.length))
    const { frames, bytes, p50Micros } = tally.result()
    t.equal(frames, 50)
    t.equal(bytes, stream.length)
    t.ok(5000 <= p50Micros && p50Micros < 5_000_000, `${p50Micros} µs`)
  }
})

t.test('a report says what was promised and whether it was reached', async t => {
  t.equal(median([3, 1, 2]), 2)
  t.equal(median([4, 1, 2, 3]), 2)
  const row = { measure: 'CPU', worker: 1.5, anchor: 1, unit: 's', ratio: 1.5, mustReach: '≤ 1', reached: false }
  const stall = { growthMiB: 0, targetBytesAtEnd: 0, takenBytes: 1e6, recoveredBytesPerSecond: 1e8 }
  const table = tableOf({ machine: 'a test', rows: [row], stall, notes: ['note'] })
  t.match(table, '| CPU | 1.50 s | 1.00 | 1.50 | ≤ 1 | NO |')
  t.match(table, 'then sent nothing')
})
