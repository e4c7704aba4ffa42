import { formatProxyAuth, type RuntimeTransport } from '@rap/data-plane-protocol'
import {
  decodeRdCleanPathAnswer,
  encodeRdCleanPathRequest,
  encodeX224ConnectionRequest,
  PROTOCOL,
  type RdCleanPathAnswer,
} from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import { type ClientOptions, WebSocket } from 'ws'
import { RdpWire } from './desktop.ts'
import type { Teardown } from './peer.ts'

export interface Closed {
  readonly code: number
  readonly reason: string
}

export interface Credentials {
  readonly token: string
  readonly proof: string
}

export interface BindMessage extends Credentials {
  readonly transport?: 'json_v1' | 'binary_v1'
  readonly channels?: readonly string[]
}

/** A JSON bind as docs/protocols/data-plane.md §4 has it. */
export function jsonBind({
  token,
  proof,
  transport = 'binary_v1',
  channels = ['display', 'input'],
}: BindMessage): string {
  return JSON.stringify({ type: 'bind', protocol_version: 1, runtime_transport: transport, token, proof, channels })
}

/** An RDCleanPath request as IronRDP sends it. */
export function rdCleanPathRequest({
  token,
  proof,
  destination,
  requestedProtocols = PROTOCOL.SSL,
}: Credentials & { readonly destination: string; readonly requestedProtocols?: number }): Uint8Array {
  return encodeRdCleanPathRequest({
    destination,
    proxyAuth: formatProxyAuth(token, proof),
    x224ConnectionPdu: encodeX224ConnectionRequest({ negotiation: { flags: 0, requestedProtocols } }),
  })
}

/** A client of the data plane: a WebSocket, its messages, its end, and RDP over it once it is bound. */
export class DataPlaneClient {
  readonly socket: WebSocket
  // biome-ignore lint/suspicious/noExplicitAny: messages of the protocol, as their tests read them.
  readonly texts: any[] = []
  readonly binaries: Buffer[] = []
  readonly closed: Promise<Closed>
  end: Closed | undefined
  rdp: RdpWire | undefined
  #transport: RuntimeTransport | undefined

  private constructor(socket: WebSocket) {
    this.socket = socket
    this.closed = new Promise(resolve =>
      socket.once('close', (code, reason) => {
        this.end = { code, reason: reason.toString() }
        resolve(this.end)
      }),
    )
    socket.on('error', () => {})
    socket.on('message', (data, isBinary) => this.#onMessage(data as Buffer, isBinary))
  }

  /** Rejects where the server refuses the upgrade. */
  static async connect(t: Teardown, url: string, options: ClientOptions = {}): Promise<DataPlaneClient> {
    const socket = new WebSocket(url, { perMessageDeflate: false, ...options })
    const client = new DataPlaneClient(socket)
    t.teardown(() => socket.terminate())
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('error', reject)
    })
    return client
  }

  /** Sends a bind and answers `bound`, also where it was closed a moment later, or how the connection was closed. */
  async bind(message: BindMessage): Promise<'bound' | Closed> {
    this.#transport = message.transport ?? 'binary_v1'
    this.socket.send(jsonBind(message))
    this.rdp = new RdpWire(bytes => this.sendRdp(bytes))
    const isBound = () => this.texts.some(({ type }) => type === 'bound')
    await waitFor(() => this.end !== undefined || isBound(), { what: 'the answer to a bind', intervalMs: 5 })
    return isBound() || this.end === undefined ? 'bound' : this.end
  }

  /** The same through RDCleanPath; the answer's bytes come first. */
  async bindRdCleanPath(request: Uint8Array): Promise<RdCleanPathAnswer> {
    this.socket.send(request)
    await waitFor(() => this.end !== undefined || this.binaries.length > 0, { what: 'the answer', intervalMs: 5 })
    const first = this.binaries.shift()
    if (first === undefined) throw new Error(`closed with ${this.end?.reason}`)
    const answer = decodeRdCleanPathAnswer(first)
    if (answer.type === 'response') {
      this.#transport = 'rdcleanpath_v1'
      this.rdp = new RdpWire(bytes => this.sendRdp(bytes))
      for (const bytes of this.binaries.splice(0)) this.rdp.push(bytes)
    }
    return answer
  }

  sendRdp(bytes: Uint8Array): void {
    if (this.#transport === 'json_v1') {
      this.socket.send(JSON.stringify({ type: 'rdp', data: Buffer.from(bytes).toString('base64') }))
    } else this.socket.send(bytes)
  }

  #onMessage(data: Buffer, isBinary: boolean): void {
    if (isBinary) {
      if (this.#transport === 'binary_v1' || this.#transport === 'rdcleanpath_v1') this.rdp?.push(data)
      else this.binaries.push(data)
      return
    }
    const message = JSON.parse(data.toString())
    if (message.type === 'rdp') this.rdp?.push(Buffer.from(message.data, 'base64'))
    else this.texts.push(message)
  }
}
