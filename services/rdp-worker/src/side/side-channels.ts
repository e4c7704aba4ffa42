import {
  ProtocolError,
  type SideMessage,
  UPLOAD_REFUSALS,
  UPLOAD_WINDOW_BYTES,
  UPLOAD_WINDOW_CHUNKS,
  type UploadRefusal,
  type UploadRequest,
} from '@rap/data-plane-protocol'
import type { WithheldCode } from '@rap/rdp'
import { type Channel, isSideChannel } from '@rap/session-policy'
import type { RuntimePolicy } from '../sessions/runtime-policy.ts'
import { UploadError } from '../uploads/errors.ts'
import type { SessionUploads } from '../uploads/session-uploads.ts'
import { WITHHELD_WORDS } from './withheld-words.ts'

/** Time in which the same thing is told once, in milliseconds. */
const WITHHELD_PAUSE_MS = 10_000

/** Pause in which changes of the list are gathered, in milliseconds; a list of a thousand is told at a fifth of this pace. */
const TELL_PAUSE_MS = 25
const ITEMS_PER_MORE_MS = 10
/** Bytes that may wait for a client before its next list does. */
const LIST_WAITS_BYTES = 64 * 1024

/** A connection's end for messages beside RDP. */
export interface SidePort {
  send(message: SideMessage): void
  /** Bytes that wait for the client. */
  waitingBytes(): number
  /** The channels are bound by a newer connection, or taken away: a connection that has nothing else closes. */
  released(why: 'bound_again' | 'policy'): void
}

/** How an upload ended; undefined stands for a file that is in RAP_Transfers. */
export interface UploadOutcome {
  readonly code: UploadRefusal | undefined
  readonly size: number
}

export interface SideChannelsOptions {
  readonly uploads: SessionUploads
  readonly policy: RuntimePolicy
  /** Bytes of a file have come: the person is there. */
  readonly onActivity: () => void
  /** What is to be said of limits that are near, to whoever begins to listen. */
  readonly nearLimits: () => readonly SideMessage[]
  /** An upload is over. */
  readonly onUpload: (outcome: UploadOutcome) => void
  readonly onError: (error: unknown) => void
}

/** What one connection has under way. */
interface Bound {
  readonly channels: Set<Channel>
  bytes: number
  chunks: number
  /** The list has changed since the client had it, and waits for the client. */
  isListStale: boolean
}

interface Piece {
  readonly port: SidePort
  readonly bound: Bound
  readonly size: number
  readonly uploadId: string
}

/**
 * The channels `file_upload` and `events` of one attachment, whichever connections carry them.
 *
 * INVARIANT: at most one connection has each of them, the newest. INVARIANT: what a connection has under way is bounded; one that sends more breaks
 * the protocol.
 */
export class SideChannels {
  readonly #options: SideChannelsOptions
  readonly #ports = new Map<SidePort, Bound>()
  readonly #stopListening: readonly (() => void)[]
  #policy: RuntimePolicy
  #mounted = false
  #telling: NodeJS.Timeout | undefined
  readonly #withheldAt = new Map<string, number>()

  constructor(options: SideChannelsOptions) {
    this.#options = options
    this.#policy = options.policy
    this.#stopListening = [
      options.uploads.onChange(() => this.#tellTransfersSoon()),
      options.uploads.onDamaged(uploadId => this.#damaged(uploadId)),
    ]
  }

  /**
   * Gives a connection its channels, and takes them from an older one. A channel that the policy in force has not got any more is not given:
   * the policy may have become narrower while the bind was decided.
   */
  bind(port: SidePort, channels: readonly Channel[]): void {
    const mine = new Set(channels.filter(channel => isSideChannel(channel) && this.#policy.channels.includes(channel)))
    if (mine.size === 0) {
      port.released('policy')
      return
    }
    for (const [older, bound] of this.#ports) {
      for (const channel of mine) bound.channels.delete(channel)
      if (bound.channels.size === 0) this.#release(older, 'bound_again')
    }
    this.#ports.set(port, { channels: mine, bytes: 0, chunks: 0, isListStale: false })
    if (mine.has('events')) for (const message of this.#standing()) port.send(message)
    if (mine.has('file_upload')) port.send(this.#transfers())
  }

  unbind(port: SidePort): void {
    this.#ports.delete(port)
  }

  /** The client has taken what waited for it. */
  drained(port: SidePort): void {
    const bound = this.#ports.get(port)
    if (bound?.isListStale && bound.channels.has('file_upload')) this.#tellList(port, bound, this.#transfers())
  }

  /** The attachment is over. */
  close(): void {
    for (const stop of this.#stopListening) stop()
    clearTimeout(this.#telling)
    this.#ports.clear()
  }

  /** Takes a message of a client. Throws ProtocolError where the client breaks the protocol. */
  request(port: SidePort, request: UploadRequest): void {
    if (request.type === 'upload_chunk') {
      this.chunk(port, request.upload_id, request.offset, Buffer.from(request.data, 'base64'))
      return
    }
    const bound = this.#uploading(port, request.upload_id)
    if (bound === undefined) return
    this.#take({ port, bound, size: 0, uploadId: request.upload_id }, async () => {
      const { uploads } = this.#options
      const { upload_id } = request
      switch (request.type) {
        case 'upload_begin': {
          const { name, size } = request
          const { offset } = await uploads.begin({ uploadId: upload_id, name, size }, this.#policy.limits, port)
          port.send({ type: 'upload_progress', upload_id, offset })
          break
        }
        case 'upload_end': {
          const { name, size, isNew } = await uploads.end(upload_id, request.sha256, port)
          port.send({ type: 'upload_done', upload_id, name })
          if (isNew) this.#options.onUpload({ code: undefined, size })
          break
        }
        default:
          await uploads.cancel(upload_id)
          throw new UploadError('ERR_UPLOAD_CANCELLED')
      }
    })
  }

  /** Takes bytes of a file at once, as a view that is valid during the call. Throws ProtocolError. */
  chunk(port: SidePort, uploadId: string, offset: number, data: Uint8Array): void {
    const bound = this.#uploading(port, uploadId)
    if (bound === undefined) return
    this.#options.onActivity()
    this.#take({ port, bound, size: data.length, uploadId }, async () => {
      const written = await this.#options.uploads.write(uploadId, offset, data, port)
      port.send({ type: 'upload_progress', upload_id: uploadId, offset: written.offset })
    })
  }

  /** A policy that is narrower, or has other limits. */
  setPolicy(policy: RuntimePolicy): void {
    this.#policy = policy
    this.#options.uploads.setLimits(policy.limits)
    for (const [port, bound] of this.#ports) {
      if (bound.channels.has('events')) port.send(this.#policyMessage())
      for (const channel of bound.channels) if (!policy.channels.includes(channel)) bound.channels.delete(channel)
      if (bound.channels.size === 0) this.#release(port, 'policy')
    }
  }

  /** The target has taken the drive, or lost it. */
  setMounted(mounted: boolean): void {
    if (this.#mounted === mounted) return
    this.#mounted = mounted
    this.#tellTransfersSoon()
  }

  /** Tells whoever listens on `events`. */
  notify(message: SideMessage): void {
    for (const [port, { channels }] of this.#ports) if (channels.has('events')) port.send(message)
  }

  /** Tells that something was held back, each thing once in a while: whoever sends floods fills nobody's screen. */
  withheld(channel: string, code: WithheldCode): void {
    const detail = WITHHELD_WORDS[code]
    const key = `${channel} ${code}`
    const now = performance.now()
    if (detail === undefined || now - (this.#withheldAt.get(key) ?? Number.NEGATIVE_INFINITY) < WITHHELD_PAUSE_MS)
      return
    this.#withheldAt.set(key, now)
    this.notify({ type: 'withheld', channel, code, detail })
  }

  #release(port: SidePort, why: 'bound_again' | 'policy'): void {
    this.#ports.delete(port)
    port.released(why)
  }

  /** What the connection has under way; undefined where it may not upload, which it is told. */
  #uploading(port: SidePort, uploadId: string): Bound | undefined {
    const bound = this.#ports.get(port)
    if (bound?.channels.has('file_upload')) return bound
    port.send(refusal(uploadId, 'ERR_UPLOAD_NOT_ALLOWED'))
    return undefined
  }

  /** Does one piece of work, which counts as under way until it is done. */
  #take(piece: Piece, work: () => Promise<void>): void {
    const { bound, size } = piece
    bound.bytes += size
    bound.chunks++
    if (bound.bytes > UPLOAD_WINDOW_BYTES || bound.chunks > UPLOAD_WINDOW_CHUNKS) {
      throw new ProtocolError('ERR_MESSAGE_TOO_LARGE', 'more is under way than the window allows')
    }
    void this.#run(piece, work)
  }

  async #run({ port, bound, size, uploadId }: Piece, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const code = error instanceof UploadError ? error.code : 'ERR_UPLOAD_FAILED'
      if (!(error instanceof UploadError)) this.#options.onError(error)
      port.send(refusal(uploadId, code))
      this.#options.onUpload({ code, size: 0 })
    } finally {
      bound.bytes -= size
      bound.chunks--
    }
  }

  /** Soon, and once for many changes: a list may be long, and whoever begins and cancels in a loop is not to fill the worker's time. */
  #tellTransfersSoon(): void {
    const pause = TELL_PAUSE_MS + this.#options.uploads.count / ITEMS_PER_MORE_MS
    this.#telling ??= setTimeout(() => this.#tellTransfers(), pause)
  }

  #tellTransfers(): void {
    this.#telling = undefined
    const message = this.#transfers()
    for (const [port, bound] of this.#ports) if (bound.channels.has('file_upload')) this.#tellList(port, bound, message)
  }

  /** Whoever reads slowly gets the list as it is then, and not each one that there was. */
  #tellList(port: SidePort, bound: Bound, list: SideMessage): void {
    bound.isListStale = port.waitingBytes() > LIST_WAITS_BYTES
    if (!bound.isListStale) port.send(list)
  }

  /** A file that was ready is no more: the one refusal that nobody has asked for. */
  #damaged(uploadId: string): void {
    const code = 'ERR_UPLOAD_DAMAGED'
    for (const [port, { channels }] of this.#ports) if (channels.has('file_upload')) port.send(refusal(uploadId, code))
    this.#options.onUpload({ code, size: 0 })
  }

  #transfers(): SideMessage {
    return { type: 'transfers', drive_mounted: this.#mounted, items: this.#options.uploads.transfers() }
  }

  /** What holds now of what is told on `events`. */
  #standing(): SideMessage[] {
    return [this.#policyMessage(), ...this.#options.nearLimits()]
  }

  #policyMessage(): SideMessage {
    const { channels, limits, endsAt } = this.#policy
    return { type: 'policy', allowed_channels: [...channels], limits, session_ends_at: endsAt?.at ?? null }
  }
}

function refusal(uploadId: string, code: UploadRefusal): SideMessage {
  const { detail, remedy } = UPLOAD_REFUSALS[code]
  return { type: 'upload_refused', upload_id: uploadId, code, detail, ...(remedy !== undefined && { remedy }) }
}
