import { randomBytes } from 'node:crypto'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import { answerOrders, type Group } from './peer.ts'
import { CLIENT, eachPacket } from './rdp-script.ts'
import { Deframer, FrameReader, Tally } from './stream-reader.ts'

// The clients: raw TLS to nginx and to the target, WebSockets to the worker. They read into one buffer and count, so that they cost little beside what is measured.

const DATA_PLANE_PATH = '/data-plane/v1'
const OPEN_TIMEOUT_MS = 30_000

const tally = new Tally()
const sockets: Record<Group, TLSSocket[]> = { worker: [], nginx: [], direct: [], mixed: [] }
const landing = Buffer.allocUnsafeSlow(64 * 1024)
let ca = ''
let frameBytes = 0

answerOrders(async order => {
  switch (order.do) {
    case 'trust':
      ca = order.ca
      frameBytes = order.frameBytes
      return undefined
    case 'open':
      return await open(order.group, order.port, order.bind)
    case 'count':
      tally.start()
      return undefined
    case 'counted':
      return tally.result()
    case 'stall':
      for (const socket of sockets[order.group]) order.stalled ? socket.pause() : socket.resume()
      return undefined
    default:
      throw new Error(`client knows no order ${order.do}`)
  }
})

async function open(group: Group, port: number, bind: string | undefined): Promise<undefined> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('stream did not open in time')), OPEN_TIMEOUT_MS)
    const frames = new FrameReader(tally, frameBytes)
    const onBytes =
      bind === undefined
        ? (size: number) => frames.push(landing, 0, size)
        : webSocketReader({ bind, frames, write: bytes => socket.write(bytes), onActive: resolve, onRefused: reject })
    const onread = {
      buffer: landing,
      callback: (size: number) => {
        onBytes(size)
        return true
      },
    }
    const options: ConnectionOptions & { onread: typeof onread } = {
      host: '127.0.0.1',
      port,
      ca,
      servername: 'localhost',
      onread,
    }
    const socket: TLSSocket = connect(options, () => {
      clearTimeout(timer)
      socket.setNoDelay(true)
      sockets[group].push(socket)
      if (bind === undefined) resolve()
      else socket.write(upgradeRequest())
    })
    socket.on('error', reject)
  })
  return undefined
}

function upgradeRequest(): string {
  const lines = [
    `GET ${DATA_PLANE_PATH} HTTP/1.1`,
    'Host: localhost',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    'Sec-WebSocket-Version: 13',
  ]
  return `${lines.join('\r\n')}\r\n\r\n`
}

interface WebSocketReaderOptions {
  readonly bind: string
  readonly frames: FrameReader
  readonly write: (bytes: Buffer) => void
  readonly onActive: () => void
  readonly onRefused: (error: Error) => void
}

/** Upgrade, bind, connection sequence, frames. */
function webSocketReader({ bind, frames, write, onActive, onRefused }: WebSocketReaderOptions) {
  const deframer = new Deframer()
  let stage: 'upgrade' | 'bind' | 'sequence' | 'frames' = 'upgrade'
  let text = ''
  let buffered: Buffer = Buffer.alloc(0)
  const answers = [CLIENT.erectAndAttach, CLIENT.joinUser, CLIENT.joinIo, CLIENT.clientInfo, undefined]
  const send = (opcode: number, payload: Buffer): void => write(maskedFrame(opcode, payload))

  const onPayload = (opcode: number, from: number, to: number): void => {
    // A client that answers no ping is taken for gone.
    if (opcode === 9) send(10, Buffer.from(landing.subarray(from, to)))
    if (opcode > 2) return
    if (stage === 'frames') {
      frames.push(landing, from, to)
    } else if (stage === 'bind') {
      if (!landing.toString('utf8', from, to).includes('"bound"')) {
        onRefused(new Error(`worker answered ${landing.toString('utf8', from, to)}`))
        return
      }
      stage = 'sequence'
      send(2, CLIENT.connectInitial)
    } else {
      buffered = eachPacket(Buffer.concat([buffered, landing.subarray(from, to)]), () => {
        if (answers.length === 0) {
          stage = 'frames'
          send(2, CLIENT.confirmActive)
          onActive()
          return
        }
        const answer = answers.shift()
        if (answer !== undefined) send(2, answer)
      })
    }
  }

  return (size: number): void => {
    let start = 0
    if (stage === 'upgrade') {
      text += landing.toString('latin1', 0, size)
      if (!text.includes('\r\n\r\n')) return
      if (!text.startsWith('HTTP/1.1 101')) {
        onRefused(new Error('worker did not upgrade'))
        return
      }
      stage = 'bind'
      send(1, Buffer.from(bind))
      start = size
    }
    deframer.push(landing, start, size, onPayload)
  }
}

/** One client message (RFC 6455 §5.3). */
function maskedFrame(opcode: number, payload: Buffer): Buffer {
  const head = payload.length < 126 ? [0x80 | payload.length] : [0xfe, payload.length >> 8, payload.length & 0xff]
  const mask = randomBytes(4)
  const masked = Buffer.from(payload)
  for (let index = 0; index < masked.length; index++)
    masked[index] = (masked[index] as number) ^ (mask[index & 3] as number)
  return Buffer.concat([Buffer.from([0x80 | opcode, ...head]), mask, masked])
}
