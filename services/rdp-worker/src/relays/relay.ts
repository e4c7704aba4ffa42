import type { TLSSocket } from 'node:tls'
import type { CloseReason } from '@rap/data-plane-protocol'
import { type DriveFiles, RdpRelay, type RelayEvent, type RelayPolicy, WireError } from '@rap/rdp'
import type { Channel } from '@rap/session-policy'
import type { ResolvedCredentials } from '../credentials/resolve.ts'
import type { WarmTarget } from '../target/open.ts'
import { type EndWords, wordsOfErrorInfo, wordsOfLicenseError } from './end-words.ts'
import type { Landing } from './landing.ts'
import { readTarget } from './target-reader.ts'

/** Bytes that may wait for a client before the target is paused. A desktop behind a slow line is late by this much at most. */
export const CLIENT_HIGH_WATER_BYTES = 256 * 1024
/**
 * Bytes that may wait for a client at all, beside a clipboard text: answers go to it also while the target is paused, and one that asks on and on
 * and reads nothing is cut off.
 */
export const CLIENT_MAX_WAITING_BYTES = 1024 * 1024
/** Bytes of a client that may wait for a target. Nobody types a megabyte: a client that sends more than its target takes is cut off. */
export const TARGET_MAX_WAITING_BYTES = 1024 * 1024
/** Bytes that may wait for a target before its next read of RAP_Transfers is served. */
const DRIVE_HIGH_WATER_BYTES = 256 * 1024
/** What one read of the drive is at most, with its headers. */
const DRIVE_READ_BYTES = 2 * 1024 * 1024
/**
 * Time from the bind to the Client Info PDU, in milliseconds. A client that binds and then says nothing would keep a logged-on desktop and
 * its credential in memory.
 */
export const HANDSHAKE_TIMEOUT_MS = 30_000

/** The client's end of a relay; one of the runtime transports. */
export interface ClientPort {
  /** Sends RDP bytes, cut anywhere; they are a view that is valid during the call. */
  send(bytes: Uint8Array): void
  /** Bytes that wait for the client. */
  waitingBytes(): number
  /** Closes behind everything that was sent; `words` go with the reason where the transport has room for them. */
  close(reason: CloseReason, words?: EndWords): void
}

export interface RelayOptions {
  readonly target: WarmTarget
  readonly client: ClientPort
  /** Where the target's bytes land; shared by the relays of the process. */
  readonly landing: Landing
  readonly credentials: ResolvedCredentials | undefined
  readonly policy: RelayPolicy
  /** What the target finds in RAP_Transfers, where it may find something. */
  readonly drive: DriveFiles | undefined
  /** What the client asked for in its own X.224 request. */
  readonly clientRequestedProtocols: number
  /** Default HANDSHAKE_TIMEOUT_MS. */
  readonly handshakeTimeoutMs?: number | undefined
  readonly onEvent: (event: RelayEvent) => void
  /** Called once, when the relay is over and both ends are closed. */
  readonly onEnd: (reason: CloseReason | 'client', error?: unknown) => void
}

/** What a relay has done; whole numbers, for metrics and audit. */
export interface RelayStats {
  readonly to_client_bytes: number
  readonly to_target_bytes: number
  readonly paused_count: number
  readonly refused_channels: number
  readonly withheld: number
  readonly clipboard_to_target_count: number
  readonly clipboard_to_target_bytes: number
  readonly clipboard_to_client_count: number
  readonly clipboard_to_client_bytes: number
  readonly drive_read_bytes: number
  readonly duration_ms: number
}

/**
 * One live relay: the target's socket on one side, a transport on the other, and RdpRelay between them.
 *
 * Display bytes go from the TLS read to the WebSocket as views, without a copy. INVARIANT: what waits for a client is bounded: over the
 * high water mark the target is not read. INVARIANT: whatever goes wrong in a relay ends this relay and nothing else.
 */
export class Relay {
  readonly #options: RelayOptions
  readonly #client: ClientPort
  readonly #socket: TLSSocket
  readonly #rdp: RdpRelay
  readonly #startedAt = performance.now()
  #handshakeTimer: NodeJS.Timeout | undefined
  /** The longest clipboard text that a policy of this relay has allowed, in bytes: it may be on its way still. */
  #longestText: number
  #words: EndWords | undefined
  #toClient = 0
  #toTarget = 0
  #pauses = 0
  #paused = false
  #over = false

  constructor(options: RelayOptions) {
    const { target, client, credentials, policy, drive } = options
    this.#options = options
    this.#longestText = policy.clipboardBytes
    this.#client = client
    this.#socket = target.socket
    this.#rdp = new RdpRelay(
      {
        targetSelectedProtocol: target.selectedProtocol,
        targetRequestedProtocols: target.requestedProtocols,
        clientRequestedProtocols: options.clientRequestedProtocols,
        credentials,
        policy,
        drive: drive && this.#paced(drive),
      },
      {
        toClient: bytes => {
          this.#toClient += bytes.length
          client.send(bytes)
        },
        toServer: bytes => this.#writeToTarget(bytes),
        event: event => this.#onEvent(event),
      },
    )
  }

  /** Lets the bytes flow; once, when both ends are in place. */
  start(): void {
    if (this.#over) return
    const socket = this.#socket
    const { handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS } = this.#options
    this.#handshakeTimer = setTimeout(() => this.end('ERR_RELAY_CLIENT_PROTOCOL'), handshakeTimeoutMs)
    socket.once('end', () => this.end('ERR_RELAY_TARGET_CLOSED'))
    socket.once('error', () => this.end('ERR_RELAY_TARGET_LOST'))
    socket.once('close', () => this.end('ERR_RELAY_TARGET_LOST'))
    readTarget(socket, this.#options.landing.zone, bytes => this.#fromTarget(bytes))
  }

  get stats(): RelayStats {
    const { counters } = this.#rdp
    return {
      to_client_bytes: this.#toClient,
      to_target_bytes: this.#toTarget,
      paused_count: this.#pauses,
      refused_channels: counters.refusedChannels,
      withheld: counters.withheld,
      clipboard_to_target_count: counters.clipboardToServer,
      clipboard_to_target_bytes: counters.clipboardToServerBytes,
      clipboard_to_client_count: counters.clipboardToClient,
      clipboard_to_client_bytes: counters.clipboardToClientBytes,
      drive_read_bytes: counters.driveReadBytes,
      duration_ms: Math.round(performance.now() - this.#startedAt),
    }
  }

  /** True while the target is not read because its client is behind. */
  get paused(): boolean {
    return this.#paused
  }

  /** The channels that this relay was made with. */
  get channels(): RelayPolicy['channels'] {
    return this.#options.policy.channels
  }

  /** Grows with whatever the person does. */
  get activity(): number {
    return this.#rdp.activity
  }

  /** Puts a narrower policy in force. */
  setPolicy(policy: RelayPolicy): void {
    this.#longestText = Math.max(this.#longestText, policy.clipboardBytes)
    this.#guard(() => this.#rdp.setPolicy(policy))
  }

  /** The files of RAP_Transfers are others now. */
  driveChanged(): void {
    this.#guard(() => this.#rdp.driveChanged())
  }

  /** Takes RDP bytes of the client, cut anywhere; a view that is valid during the call. */
  fromClient(bytes: Uint8Array): void {
    if (this.#over) return
    try {
      this.#rdp.fromClient(bytes)
    } catch (error) {
      this.#fail(error, 'ERR_RELAY_CLIENT_PROTOCOL')
      return
    }
    this.clientAnswered(this.#client.waitingBytes())
  }

  /** Something was sent to the client because it asked, and so many bytes wait for it now: the relay ends where that is too much. */
  clientAnswered(waitingBytes: number): void {
    if (waitingBytes > this.#maxForClient) this.end('ERR_RELAY_MEMORY_LIMIT')
  }

  /** The client has taken what waited for it. */
  clientDrained(): void {
    if (!this.#paused || this.#over || this.#client.waitingBytes() > CLIENT_HIGH_WATER_BYTES / 2) return
    this.#paused = false
    this.#socket.resume()
  }

  /** Ends the relay: both ends are closed, what is left of the credential is zeroed. Safe to call twice. */
  end(reason: CloseReason | 'client', error?: unknown): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#handshakeTimer)
    this.#options.credentials?.destroy()
    this.#socket.removeAllListeners('data')
    this.#socket.destroy()
    if (reason !== 'client') this.#client.close(reason, reason === 'ERR_RELAY_TARGET_CLOSED' ? this.#words : undefined)
    this.#options.onEnd(reason, error)
  }

  #fromTarget(bytes: Uint8Array): void {
    if (this.#over) return
    try {
      this.#rdp.fromServer(bytes)
    } catch (error) {
      this.#fail(error, 'ERR_RELAY_TARGET_PROTOCOL')
      return
    }
    if (!this.#paused && this.#client.waitingBytes() > CLIENT_HIGH_WATER_BYTES) {
      this.#paused = true
      this.#pauses++
      this.#socket.pause()
    }
  }

  #writeToTarget(bytes: Uint8Array): void {
    if (this.#over) return
    this.#toTarget += bytes.length
    // The view is gone after this turn, and the socket may write later; input is small.
    const copy = Buffer.from(bytes)
    // Before the desktop is up one of these is the Client Info PDU with the credential.
    if (this.#rdp.phase === 'active') this.#socket.write(copy)
    else this.#socket.write(copy, () => copy.fill(0))
    if (this.#socket.writableLength > this.#maxWaiting) queueMicrotask(() => this.end('ERR_RELAY_MEMORY_LIMIT'))
  }

  /** Beside what a person types, a clipboard text and a read of the drive may be on their way. */
  get #maxWaiting(): number {
    const { drive } = this.#options
    return (
      TARGET_MAX_WAITING_BYTES + this.#clipboardBytes('clipboard_client_to_server') + (drive ? DRIVE_READ_BYTES : 0)
    )
  }

  get #maxForClient(): number {
    return CLIENT_MAX_WAITING_BYTES + this.#clipboardBytes('clipboard_server_to_client')
  }

  /** Room for a clipboard text with its headers, in base64 if need be. */
  #clipboardBytes(channel: Channel): number {
    return this.channels.has(channel) ? 2 * this.#longestText : 0
  }

  /** The drive at the speed of the target: a read is served once the last one has left. */
  #paced(drive: DriveFiles): DriveFiles {
    return {
      list: () => drive.list(),
      read: (file, offset, length, done) => {
        const read = () => drive.read(file, offset, length, bytes => this.#guard(() => done(bytes)))
        if (this.#socket.writableLength <= DRIVE_HIGH_WATER_BYTES) read()
        else this.#socket.once('drain', read)
      },
    }
  }

  /** Does what comes from neither side; it ends this relay where it fails, and is nothing once the relay is over. */
  #guard(work: () => void): void {
    if (this.#over) return
    try {
      work()
    } catch (error) {
      this.#fail(error, 'ERR_RELAY_TARGET_PROTOCOL')
    }
  }

  #onEvent(event: RelayEvent): void {
    switch (event.type) {
      case 'credentials_used':
        event.packet.fill(0)
        this.#options.credentials?.destroy()
        clearTimeout(this.#handshakeTimer)
        break
      case 'set_error_info':
        this.#words = wordsOfErrorInfo(event.errorInfo) ?? this.#words
        break
      case 'license':
        if (event.errorCode !== undefined) this.#words = wordsOfLicenseError(event.errorCode) ?? this.#words
        break
      case 'active':
        clearTimeout(this.#handshakeTimer)
        break
    }
    this.#options.onEvent(event)
  }

  #fail(error: unknown, reason: CloseReason): void {
    if (!(error instanceof WireError)) {
      this.end('ERR_INTERNAL', error)
      return
    }
    const redirected = error.code === 'ERR_WIRE_REFUSED' && error.facts.structure === 'RDP_SERVER_REDIRECTION_PACKET'
    this.end(redirected ? 'ERR_RELAY_SERVER_REDIRECTION' : reason, error)
  }
}
