import { createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import {
  asksForDrive,
  CHANNEL_RESPONSE,
  CLIPRDR,
  endsMessage,
  isOn,
  joinConfirm,
  messageType,
  packetId,
  RDPDR,
  TARGET_CHANNELS,
} from './channel-script.ts'
import { answerOrders, type Group, type TargetPorts } from './peer.ts'
import { CONNECTION_CONFIRM, eachPacket, nowMicros, SERVER, STAMP_OFFSET, screenFrame } from './rdp-script.ts'

// A synthetic RDP server: the connection sequence, and then frames as fast as it is told. nginx and direct clients get the same frames over plain TLS.

/** A stream that is this far behind misses a frame, in bytes. */
const MAX_WAITING_BYTES = 2 * 1024 * 1024
const ARRIVAL_TIMEOUT_MS = 5000
/** Between the reads of a drive that is in use, in milliseconds: some 6 MB a second. */
const READ_EVERY_MS = 10
/** PacketId of DR_DEVICE_IOCOMPLETION. Spec: [MS-RDPEFS] §2.2.1.1. */
const IO_COMPLETION = 0x4943

interface Stream {
  readonly socket: TLSSocket
  nextAt: number
}

let context: SecureContext | undefined
let template: Buffer = Buffer.alloc(0)
const streams: Record<Group, Stream[]> = { worker: [], nginx: [], direct: [], mixed: [] }
let ticker: NodeJS.Timeout | undefined
let flooding = false
const sent = { frames: 0, bytes: 0, skipped: 0 }

answerOrders(async order => {
  switch (order.do) {
    case 'listen': {
      context = createSecureContext({ cert: order.cert, key: order.key })
      template = screenFrame(order.frameBytes)
      const ports: TargetPorts = {
        worker: await listen(socket => negotiate('worker', socket)),
        nginx: await listen(socket => add('nginx', secured(socket))),
        direct: await listen(socket => add('direct', secured(socket))),
        mixed: await listen(socket => negotiate('mixed', socket)),
        off: await listen(socket => negotiate('nginx', socket)),
      }
      return ports
    }
    case 'emit':
      await arrived(order.group, order.streams)
      Object.assign(sent, { frames: 0, bytes: 0, skipped: 0 })
      return order.fps === 'full' ? flood(order.group, order.streams) : pace(order.group, order.streams, order.fps)
    case 'quiet':
      clearInterval(ticker)
      flooding = false
      return undefined
    case 'sent':
      return { ...sent }
    default:
      throw new Error(`target knows no order ${order.do}`)
  }
})

async function listen(onSocket: (socket: Socket) => void): Promise<number> {
  const server: Server = createServer({ noDelay: true }, onSocket)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

/** X.224, then TLS, then MCS to the end of the connection sequence. */
function negotiate(group: Exclude<Group, 'direct'>, socket: Socket): void {
  socket.on('error', () => undefined)
  socket.once('data', () => {
    socket.write(CONNECTION_CONFIRM)
    const secure = secured(socket)
    let buffered = Buffer.alloc(0)
    let dataPackets = 0
    let takeMore: ((packet: Buffer) => void) | undefined
    const onData = (chunk: Buffer): void => {
      buffered = eachPacket(Buffer.concat([buffered, chunk]), packet => {
        if (takeMore !== undefined) {
          takeMore(packet)
          return
        }
        const pdu = packet[7]
        if (pdu === 0x7f) secure.write(asksForDrive(packet) ? CHANNEL_RESPONSE : SERVER.connectResponse)
        else if (pdu === 0x28) secure.write(SERVER.attachConfirm)
        else if (pdu === 0x38) secure.write(joinConfirm(packet))
        else if (pdu === 0x64 && ++dataPackets === 1) secure.write(Buffer.concat([SERVER.license, SERVER.demandActive]))
        else if (pdu === 0x64 && dataPackets === 2) {
          if (group === 'mixed') takeMore = useChannels(secure)
          else secure.off('data', onData)
          add(group, secure)
        }
      }) as Buffer<ArrayBuffer>
    }
    secure.on('data', onData)
  })
}

/** Reads a file of the drive again as soon as it has come, and gives a text whenever the client asks for one; answers who takes the packets. */
function useChannels(secure: TLSSocket): (packet: Buffer) => void {
  secure.write(TARGET_CHANNELS.begin)
  let isOpen = false
  return packet => {
    if (isOn(packet, CLIPRDR) && messageType(packet) === 7) secure.write(TARGET_CHANNELS.list)
    if (isOn(packet, CLIPRDR) && messageType(packet) === 4) secure.write(TARGET_CHANNELS.text)
    if (!isOn(packet, RDPDR) || !endsMessage(packet)) return
    // Answers to the announcement come first; the one to the open is the first I/O completion.
    if (!isOpen && packetId(packet) !== IO_COMPLETION) return
    isOpen = true
    setTimeout(() => secure.write(TARGET_CHANNELS.read), READ_EVERY_MS)
  }
}

function secured(socket: Socket): TLSSocket {
  const secure = new TLSSocket(socket, { isServer: true, secureContext: context as SecureContext })
  secure.on('error', () => undefined)
  return secure
}

function add(group: Group, socket: TLSSocket): void {
  const stream: Stream = { socket, nextAt: 0 }
  streams[group].push(stream)
  socket.resume()
  socket.on('drain', () => flooding && fill(stream))
  socket.on('close', () => {
    streams[group] = streams[group].filter(other => other !== stream)
  })
}

/** The last packet of a connection sequence may still be on its way. */
async function arrived(group: Group, count: number): Promise<void> {
  const until = performance.now() + ARRIVAL_TIMEOUT_MS
  while (streams[group].length < count) {
    if (performance.now() > until) throw new Error(`target has ${streams[group].length} of ${count} ${group} streams`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** 60 a second and the like: every stream has its own beat, spread over the period. */
function pace(group: Group, count: number, fps: number): void {
  const periodMs = 1000 / fps
  const chosen = streams[group].slice(0, count)
  const start = performance.now()
  for (const [index, stream] of chosen.entries()) stream.nextAt = start + (index / count) * periodMs
  ticker = setInterval(() => {
    const now = performance.now()
    for (const stream of chosen) {
      if (now < stream.nextAt) continue
      stream.nextAt = Math.max(stream.nextAt + periodMs, now)
      if (stream.socket.writableLength > MAX_WAITING_BYTES) sent.skipped++
      else writeFrame(stream)
    }
  }, 1)
}

function flood(group: Group, count: number): void {
  flooding = true
  for (const stream of streams[group].slice(0, count)) fill(stream)
}

function fill(stream: Stream): void {
  while (flooding && writeFrame(stream));
}

function writeFrame({ socket }: Stream): boolean {
  // A frame of its own: a socket that is behind reads it later.
  const frame = Buffer.from(template)
  frame.writeDoubleLE(nowMicros(), STAMP_OFFSET)
  sent.frames++
  sent.bytes += frame.length
  return socket.write(frame)
}
