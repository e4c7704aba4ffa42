import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { connect as connectTls, createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { RdpRelay, type RelayPolicy } from '@rap/rdp'
import { CHANNEL_INITIAL, CLIENT_CLIPBOARD, CLIPRDR, DRDYNVC, joinRequest, READ_BYTES } from './channel-script.ts'
import { answerOrders } from './peer.ts'
import { CLIENT, eachPacket } from './rdp-script.ts'

// Two relays from TLS to TLS in one process, alike to the end of the connection sequence. From then on they differ in nothing but this: one has an
// RdpRelay between its sockets, the other hands on what it reads without looking.

const POLICY: RelayPolicy = {
  channels: new Set(['display', 'input', 'clipboard_client_to_server', 'clipboard_server_to_client', 'file_upload']),
  renderQualityProfile: 'balanced',
  clipboardBytes: 1_048_576,
}
/** How often the client of a mixed stream asks for the text of the target's clipboard, in milliseconds. */
const TEXT_EVERY_MS = 100
const CONTENT = Buffer.alloc(READ_BYTES, 0x61)
const FILE = { id: '1', name: 'bench.bin', size: READ_BYTES, modifiedAt: 0 }

interface Targets {
  readonly ca: string
  readonly port: number
}

let context: SecureContext
/** The relay whose clipboard and drive are in use. */
let mixed: RdpRelay | undefined

answerOrders(async order => {
  if (order.do === 'counters') return { ...mixed?.counters }
  if (order.do !== 'relay') throw new Error(`relay knows no order ${order.do}`)
  context = createSecureContext({ cert: order.cert, key: order.key })
  return {
    on: await listen(socket => relayTo(socket, { ca: order.ca, port: order.ports.worker }, 'on')),
    off: await listen(socket => relayTo(socket, { ca: order.ca, port: order.ports.off }, 'off')),
    mixed: await listen(socket => relayTo(socket, { ca: order.ca, port: order.ports.mixed }, 'mixed')),
  }
})

async function listen(onClient: (client: TLSSocket) => void): Promise<number> {
  const server = createServer({ noDelay: true }, socket => {
    const client = new TLSSocket(socket, { isServer: true, secureContext: context })
    client.on('error', () => socket.destroy())
    onClient(client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as { port: number }).port
}

function secured(socket: Socket, { ca }: Targets): TLSSocket {
  socket.setNoDelay(true)
  const target = connectTls({ socket, ca, servername: 'localhost' })
  target.on('error', () => socket.destroy())
  return target
}

/** Writes to the client, and lets the target wait for it. */
function forwarder(client: TLSSocket, target: TLSSocket): (bytes: Uint8Array) => void {
  client.on('drain', () => target.resume())
  return bytes => {
    if (!client.write(bytes)) target.pause()
  }
}

/** The client of this relay takes bytes alone: what an RDP client says is said here. */
async function relayTo(client: TLSSocket, targets: Targets, rules: 'on' | 'off' | 'mixed'): Promise<void> {
  const socket = connect(targets.port, '127.0.0.1')
  // X.224 Connection Request for TLS; the synthetic target answers whatever comes.
  socket.write(Buffer.from('030000130ee000000000000100080001000000', 'hex'))
  await once(socket, 'data')
  const target = secured(socket, targets)
  const forward = forwarder(client, target)
  const answers = [
    CLIENT.erectAndAttach,
    ...[CLIENT.joinUser, CLIENT.joinIo, joinRequest(CLIPRDR), joinRequest(DRDYNVC), CLIENT.clientInfo],
    undefined,
    CLIENT.confirmActive,
  ]
  // Licensing is over with one packet of the server, and the next asks for the Confirm Active.
  let buffered: Buffer = Buffer.alloc(0)
  let isUp = false
  const relay = new RdpRelay(
    {
      targetSelectedProtocol: 1,
      targetRequestedProtocols: 1,
      clientRequestedProtocols: 1,
      credentials: undefined,
      policy: POLICY,
      drive: {
        list: () => [FILE],
        read: (_file, offset, length, done) => done(CONTENT.subarray(offset, offset + length)),
      },
    },
    {
      toClient: bytes => {
        if (isUp) forward(bytes)
        else buffered = Buffer.concat([buffered, bytes])
      },
      toServer: bytes => target.write(Buffer.from(bytes)),
      event: () => undefined,
    },
  )
  const untilUp = (bytes: Buffer): void => {
    relay.fromServer(bytes)
    converse()
  }
  target.on('data', untilUp)
  relay.fromClient(CHANNEL_INITIAL)

  function converse(): void {
    const seen: Buffer[] = []
    buffered = eachPacket(buffered, packet => seen.push(packet))
    for (const _ of seen) {
      const answer = answers.shift()
      if (answer !== undefined) relay.fromClient(answer)
    }
    if (relay.phase !== 'active') return
    isUp = true
    target.off('data', untilUp)
    target.on('data', rules === 'off' ? forward : bytes => relay.fromServer(bytes))
    client.on('data', rules === 'off' ? bytes => target.write(bytes) : bytes => relay.fromClient(bytes))
    if (rules !== 'mixed') return
    mixed = relay
    relay.fromClient(CLIENT_CLIPBOARD.capabilities)
    const timer = setInterval(() => relay.fromClient(CLIENT_CLIPBOARD.request), TEXT_EVERY_MS)
    client.on('close', () => clearInterval(timer))
  }
}
