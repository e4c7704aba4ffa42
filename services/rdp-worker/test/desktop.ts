import type { TLSSocket } from 'node:tls'
import type { IssuedCertificate } from '@rap/pki'
import { PROTOCOL, pduSize } from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import { encodeFastPath } from '../../../packages/rdp/src/fast-path.ts'
import { CS, decodeUserDataBlocks } from '../../../packages/rdp/src/gcc/blocks.ts'
import { decodeClientNetworkData } from '../../../packages/rdp/src/gcc/client-blocks.ts'
import { decodeConferenceCreateRequest } from '../../../packages/rdp/src/gcc/conference.ts'
import { decodeMcsConnectInitial } from '../../../packages/rdp/src/mcs/connect.ts'
import { decodeMcsPdu } from '../../../packages/rdp/src/mcs/domain.ts'
import { decodeX224Message } from '../../../packages/rdp/src/x224.ts'
import * as rdp from '../../../packages/rdp/test/relay/harness.ts'
import type { Teardown } from './peer.ts'
import { certificate, confirm, startTarget, type Target } from './target/server.ts'

/** Whole PDUs of a byte stream, cut anywhere. */
export class PduReader {
  #buffered: Uint8Array = new Uint8Array(0)

  push(bytes: Uint8Array): Uint8Array[] {
    this.#buffered = Buffer.concat([this.#buffered, bytes])
    const pdus: Uint8Array[] = []
    for (;;) {
      const size = this.#buffered.length === 0 ? 0 : pduSize(this.#buffered, 0, this.#buffered.length)
      if (size === 0 || size > this.#buffered.length) return pdus
      pdus.push(this.#buffered.subarray(0, size))
      this.#buffered = this.#buffered.subarray(size)
    }
  }
}

/** A screen update with this many bytes of content. */
export function update(body: Uint8Array): Uint8Array {
  return encodeFastPath({ numEvents: 0, flags: 0, body })
}

/** Key presses of this many bytes. */
export function input(body: Uint8Array): Uint8Array {
  return encodeFastPath({ numEvents: 1, flags: 0, body })
}

/** Channel ids from here on, in the order of the request. */
const OTHER_CHANNELS = 1020

/** The static channels that the worker asks for. */
function channelsOf(connectInitial: Uint8Array): string[] {
  const { userData } = decodeMcsConnectInitial(connectInitial.subarray(7))
  const net = decodeUserDataBlocks(decodeConferenceCreateRequest(userData)).find(({ type }) => type === CS.NET)
  return net === undefined ? [] : decodeClientNetworkData(net.data).channels.map(({ name }) => name)
}

/** One connection of a desktop, from TLS on. */
export class DesktopSession {
  readonly socket: TLSSocket
  /** PDUs of the client in the order they came. */
  readonly pdus: Uint8Array[] = []
  /** What came once the desktop was up. */
  readonly received: Uint8Array[] = []
  isActive = false
  #hasInfo = false
  /** Answers no more, as a server that hangs. */
  isSilent = false

  constructor(socket: TLSSocket) {
    this.socket = socket
    const reader = new PduReader()
    socket.on('data', bytes => {
      for (const pdu of reader.push(bytes)) this.#take(pdu)
    })
    socket.on('error', () => {})
  }

  send(bytes: Uint8Array): boolean {
    return this.socket.write(bytes)
  }

  /** Bytes that came once the desktop was up. */
  receivedBytes(): Buffer {
    return Buffer.concat(this.received)
  }

  /** The Client Info PDU, with the account that the worker put in. */
  get info(): Buffer {
    return Buffer.concat(this.pdus.filter(pdu => Buffer.from(pdu).includes(Buffer.from('svc', 'utf16le'))))
  }

  #take(pdu: Uint8Array): void {
    this.pdus.push(pdu)
    if (this.isActive) {
      this.received.push(pdu)
      return
    }
    if (this.isSilent) return
    if (this.pdus.length === 1) {
      // What the worker asks for where the resource says `auto`.
      const channelIds = channelsOf(pdu).map((name, index) =>
        name === 'drdynvc' ? rdp.DRDYNVC : OTHER_CHANNELS + index,
      )
      const clientRequestedProtocols = PROTOCOL.SSL | PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX
      this.send(rdp.connectResponse({ clientRequestedProtocols, channelIds }))
      return
    }
    const message = decodeX224Message(pdu)
    if (message.type !== 'data') return
    const mcs = decodeMcsPdu(message.userData)
    if (mcs.type === 'attach_user_request') {
      this.send(rdp.mcs({ type: 'attach_user_confirm', result: 0, initiator: rdp.USER }))
    } else if (mcs.type === 'channel_join_request') {
      this.send(rdp.joinConfirm(mcs.channelId))
    } else if (mcs.type === 'send_data_request' && !this.#hasInfo) {
      this.#hasInfo = true
      this.send(Buffer.concat([rdp.license(), rdp.demandActive()]))
    } else if (mcs.type === 'send_data_request') {
      this.isActive = true
    }
  }
}

export interface Desktop extends Target {
  readonly sessions: DesktopSession[]
  /** Waits for the n-th connection that has done TLS. */
  session(index?: number): Promise<DesktopSession>
}

const shown = await certificate()

/** A desktop over real TCP and TLS that speaks just enough RDP to come up, and then whatever a test says. */
export async function startDesktop(
  t: Teardown,
  { tls = shown }: { readonly tls?: IssuedCertificate } = {},
): Promise<Desktop> {
  const sessions: DesktopSession[] = []
  const target = await startTarget(t, {
    answer: confirm(PROTOCOL.SSL),
    certificate: tls,
    onSecure: secure => sessions.push(new DesktopSession(secure)),
  })
  return Object.assign(target, {
    sessions,
    session: async (index = 0) => await waitFor(() => sessions[index], { what: `connection ${index} of the desktop` }),
  })
}

/** The client's side of the connection sequence, over whatever carries its bytes. */
export class RdpWire {
  readonly #send: (bytes: Uint8Array) => void
  readonly #reader = new PduReader()
  readonly #pdus: Uint8Array[] = []
  /** All bytes of the server, as they came. */
  readonly chunks: Uint8Array[] = []
  #bytes = 0

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send
  }

  get receivedBytes(): number {
    return this.#bytes
  }

  push(bytes: Uint8Array): void {
    this.chunks.push(bytes)
    this.#bytes += bytes.length
    this.#pdus.push(...this.#reader.push(bytes))
  }

  send(...pdus: readonly Uint8Array[]): void {
    for (const pdu of pdus) this.#send(pdu)
  }

  async next(): Promise<Uint8Array> {
    await waitFor(() => this.#pdus.length > 0, { what: 'a PDU of the server', intervalMs: 2 })
    return this.#pdus.shift() as Uint8Array
  }

  /** Up to the moment when the desktop is there. */
  async toActive(): Promise<this> {
    this.send(rdp.connectInitial())
    await this.next()
    this.send(rdp.mcs({ type: 'erect_domain_request' }), rdp.mcs({ type: 'attach_user_request' }))
    await this.next()
    for (const channelId of [rdp.USER, rdp.IO, rdp.MESSAGE, rdp.REFUSED, rdp.DRDYNVC, rdp.REFUSED_2]) {
      this.send(rdp.mcs({ type: 'channel_join_request', initiator: rdp.USER, channelId }))
      await this.next()
    }
    this.send(rdp.clientInfo())
    await this.next()
    await this.next()
    this.send(rdp.confirmActive())
    this.chunks.length = 0
    this.#bytes = 0
    return this
  }
}
