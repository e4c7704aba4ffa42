import type { WebSocket } from 'uWebSockets.js'
import {
  BIND_TIMEOUT_MS,
  CLOSE_REASONS,
  type CloseReason,
  MAX_BIND_BYTES,
  publicReason,
  type RuntimeTransport,
} from '@rap/data-plane-protocol'
import type { Admission, Logger } from '@rap/service-kit'
import type { EndWords } from '../relays/end-words.ts'
import type { Landing } from '../relays/landing.ts'
import { RecordWriter } from '../relays/record-writer.ts'
import type { ClientPort } from '../relays/relay.ts'
import type { Binder } from './bind.ts'
import { BindRefusal } from './refusal.ts'

/** What every connection of the data plane shares. */
export interface ConnectionContext {
  readonly binder: Binder
  readonly logger: Logger
  /** The chain of the data plane's own certificate, DER, leaf first. */
  readonly certificateChain: () => readonly Uint8Array[]
  readonly landing: Landing
  /** Binds by what the first message is: text or binary. Rejects with BindRefusal; undefined where the client is gone. */
  readonly bindBy: (connection: Connection, first: Buffer, isBinary: boolean) => Promise<Transport | undefined>
  /** Default BIND_TIMEOUT_MS, the protocol's own. */
  readonly bindTimeoutMs?: number | undefined
}

/** How a bound transport reads and writes. */
export interface Transport {
  readonly name: RuntimeTransport
  /** The connection is bound: bytes may flow. */
  start(): void
  /** A message of the bound client. Throws ProtocolError. */
  onMessage(message: ArrayBuffer, isBinary: boolean): void
  /** The client has taken what waited for it. */
  onDrain(): void
  /** Ends what the connection carries, and so the connection; with `client` the client is gone already. */
  end(reason: CloseReason | 'client'): void
}

/** Longest text message that tells why a connection closes. */
type ClosingText = (reason: CloseReason, words: EndWords) => string | Uint8Array | undefined

const decoder = new TextDecoder('utf-8', { fatal: true })
/** Most RDP bytes in one text message; in base64 it stays below the bound of a message. */
const TEXT_PIECE_BYTES = 256 * 1024
/** What `send` of uWebSockets.js answers when all has left; 0 is waiting, 2 dropped. */
const SENT = 1

/**
 * One WebSocket of the data plane: unbound, binding, bound, closed.
 *
 * The first message decides the transport. INVARIANT: nothing of an unbound client is parsed beyond MAX_BIND_BYTES, and it has BIND_TIMEOUT_MS.
 */
export class Connection {
  readonly address: string
  readonly context: ConnectionContext
  readonly #ws: WebSocket<SocketData>
  readonly #admission: Admission
  readonly #bindTimer: NodeJS.Timeout
  #state: 'unbound' | 'binding' | 'bound' | 'closed' = 'unbound'
  #transport: Transport | undefined
  /** Set by a transport that has words for a client before the close frame. */
  closingText: ClosingText | undefined

  constructor(ws: WebSocket<SocketData>, admission: Admission, context: ConnectionContext) {
    this.#ws = ws
    this.#admission = admission
    this.context = context
    this.address = decoder.decode(ws.getRemoteAddressAsText())
    this.#bindTimer = setTimeout(() => this.close('ERR_BIND_TIMEOUT'), context.bindTimeoutMs ?? BIND_TIMEOUT_MS)
  }

  get closed(): boolean {
    return this.#state === 'closed'
  }

  onMessage(message: ArrayBuffer, isBinary: boolean): void {
    if (this.#state === 'bound') {
      try {
        this.#transport?.onMessage(message, isBinary)
      } catch {
        this.#end('ERR_RELAY_MALFORMED_MESSAGE')
      }
      return
    }
    // A client that talks while its bind is decided does not speak the protocol.
    if (this.#state === 'binding' || message.byteLength > MAX_BIND_BYTES) {
      this.close('ERR_BIND_MALFORMED')
      return
    }
    if (this.#state !== 'unbound') return
    this.#state = 'binding'
    // The bytes are gone after this turn.
    const first = Buffer.from(new Uint8Array(message))
    void this.context
      .bindBy(this, first, isBinary)
      .then(transport => this.#bound(transport))
      .catch(error => this.#refused(error))
  }

  onDrain(): void {
    this.#transport?.onDrain()
  }

  onClose(): void {
    if (this.#state !== 'closed') this.#forget()
    this.#transport?.end('client')
  }

  /** Sends one message; a connection that is closed drops it. */
  send(message: string | Uint8Array, isBinary: boolean): void {
    if (this.#state !== 'closed') this.#ws.send(message, isBinary, false)
  }

  /** The client's end of a relay whose RDP bytes are binary messages. */
  binaryPort(): ClientPort {
    const ws = this.#ws
    // What `send` says is enough to know that nothing waits; asking for the amount is another call into uWebSockets.js.
    let isBehind = false
    const writer = new RecordWriter(this.context.landing, message => {
      if (this.#state !== 'closed') isBehind = ws.send(message, true, false) !== SENT
    })
    return {
      send: bytes => writer.write(bytes),
      waitingBytes: () => (isBehind ? this.waitingBytes() : 0),
      close: (reason, words) => {
        writer.flush()
        this.close(reason, words)
      },
    }
  }

  /** The client's end of a relay whose RDP bytes are text messages, as `encode` writes them. */
  textPort(encode: (bytes: Uint8Array) => string): ClientPort {
    return {
      send: bytes => {
        // A clipboard text may come in one piece that is longer than a message may be.
        for (let at = 0; at < bytes.length; at += TEXT_PIECE_BYTES) {
          this.send(encode(bytes.subarray(at, at + TEXT_PIECE_BYTES)), false)
        }
      },
      waitingBytes: () => this.waitingBytes(),
      close: (reason, words) => this.close(reason, words),
    }
  }

  /** Bytes that wait for the client; 0 for one that is gone. */
  waitingBytes(): number {
    return this.#state === 'closed' ? 0 : this.#ws.getBufferedAmount()
  }

  /** Says why, and closes. Safe to call twice. */
  close(reason: CloseReason, words?: EndWords): void {
    if (this.#state === 'closed') return
    const { code, detail } = CLOSE_REASONS[reason]
    const last = this.closingText?.(reason, words ?? { detail })
    this.#forget()
    const ws = this.#ws
    ws.cork(() => {
      if (last !== undefined) ws.send(last, typeof last !== 'string', false)
      ws.end(code, reason)
    })
  }

  #bound(transport: Transport | undefined): void {
    if (transport === undefined) {
      this.close('ERR_BIND_UNAVAILABLE')
      return
    }
    if (this.#state === 'closed') {
      transport.end('client')
      return
    }
    clearTimeout(this.#bindTimer)
    this.#admission.bound()
    this.#state = 'bound'
    this.#transport = transport
    transport.start()
  }

  #refused(error: unknown): void {
    if (error instanceof BindRefusal) {
      this.close(publicReason(error.reason, error.verified))
      return
    }
    this.context.logger.error({ event: 'bind_failed', err: error }, 'bind failed')
    this.close('ERR_INTERNAL')
  }

  #end(reason: CloseReason): void {
    if (this.#transport === undefined) this.close(reason)
    else this.#transport.end(reason)
  }

  #forget(): void {
    this.#state = 'closed'
    clearTimeout(this.#bindTimer)
    this.#admission.release()
  }
}

/** What uWebSockets.js keeps with a socket. */
export interface SocketData {
  connection: Connection | undefined
}
