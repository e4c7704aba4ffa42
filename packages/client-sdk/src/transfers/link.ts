import {
  type BoundMessage,
  type ClosingMessage,
  encodeChunkHeader,
  type SideMessage,
  type UploadRequest,
} from '@rap/data-plane-protocol'
import { type BoundSocket, type CloseInfo, closeInfoOf, serverMessageOf } from '../bind.ts'
import { RapError } from '../errors.ts'
import { Ending } from './ending.ts'
import { SendWindow } from './send-window.ts'

/** How often that is looked at, in milliseconds. */
const LOOK_MS = 2_000
/** How long the other side may take to answer our close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 3000

/** The link ended while something was under way on it; the next one takes over. */
export class LinkLostError extends Error {
  override readonly name = 'LinkLostError'
}

/** One bound connection of the side channels. */
export class Link {
  readonly bound: BoundMessage
  /** Resolves once, when the link is of no use any more; it never waits for the peer. */
  readonly over: Promise<CloseInfo>
  readonly #socket: BoundSocket
  readonly #silenceMs: number
  readonly #end = Promise.withResolvers<CloseInfo>()
  readonly #lost = new Ending<LinkLostError>()
  readonly #window = new SendWindow()
  #heardAtMs = performance.now()
  #debts = 0
  #watch: ReturnType<typeof setInterval> | undefined

  constructor(socket: BoundSocket, onMessage: (message: SideMessage) => void, silenceMs: number) {
    this.bound = socket.bound
    this.over = this.#end.promise
    this.#socket = socket
    this.#silenceMs = silenceMs
    void this.#read(onMessage)
  }

  get isOver(): boolean {
    return this.#lost.error !== undefined
  }

  async send(message: UploadRequest): Promise<void> {
    await this.#write(JSON.stringify(message))
  }

  /** The worker has said where an upload goes on. */
  beginChunks(uploadId: string, offset: number): void {
    this.#window.begin(uploadId, offset)
  }

  /** Resolves when that many bytes of an upload may be sent, which the worker owes. */
  room(uploadId: string, bytes: number): Promise<void> {
    return this.#window.room(uploadId, bytes)
  }

  /** Sends bytes of an upload for which there is room; waits while the network is slow. Throws LinkLostError. */
  async sendChunk(uploadId: string, offset: number, data: Uint8Array): Promise<void> {
    const header = encodeChunkHeader(uploadId, offset)
    const message = new Uint8Array(header.length + data.length)
    message.set(header)
    message.set(data, header.length)
    await this.#write(message)
  }

  /** Waits for what the worker owes: a silence that lasts ends the link. Throws LinkLostError when it ends. */
  async owed<T>(answer: Promise<T>): Promise<T> {
    if (this.#debts++ === 0) {
      this.#heardAtMs = performance.now()
      this.#watch = setInterval(() => this.#look(), Math.min(LOOK_MS, this.#silenceMs / 2))
    }
    try {
      return await this.#lost.or(answer)
    } finally {
      if (--this.#debts === 0) clearInterval(this.#watch)
    }
  }

  /** Gives the link up as lost. */
  lose(reason: '' | 'ERR_DATA_PLANE_PROTOCOL' = ''): void {
    this.#finish(closeInfoOf({ code: 1006, reason }, undefined))
    this.#socket.socket.abort()
  }

  /** Ends the connection in order. */
  async close(): Promise<CloseInfo> {
    const { socket, reader, writer } = this.#socket
    writer.write(JSON.stringify({ type: 'close' })).catch(() => {})
    socket.close(1000)
    this.#finish(closeInfoOf({ code: 1000, reason: '' }, undefined))
    const timer = setTimeout(() => socket.abort(), CLOSE_TIMEOUT_MS)
    reader.cancel().catch(() => {})
    await socket.closed
    clearTimeout(timer)
    return await this.over
  }

  async #read(onMessage: (message: SideMessage) => void): Promise<void> {
    let closing: ClosingMessage | undefined
    try {
      for (;;) {
        const { done, value } = await this.#socket.reader.read()
        if (done || this.isOver) break
        this.#heardAtMs = performance.now()
        const message = typeof value === 'string' ? serverMessageOf(value) : undefined
        if (message === undefined || message.type === 'bound' || message.type === 'rdp') {
          return this.lose('ERR_DATA_PLANE_PROTOCOL')
        }
        if (message.type === 'closing') closing = message
        else if (this.#isAcceptable(message)) onMessage(message)
        else return this.lose('ERR_DATA_PLANE_PROTOCOL')
      }
    } catch (error) {
      return this.lose(error instanceof RapError ? 'ERR_DATA_PLANE_PROTOCOL' : '')
    }
    this.#finish(closeInfoOf(await this.#socket.socket.closed, closing))
  }

  /** Keeps the window; an acknowledgement of what was never sent is of no worker. */
  #isAcceptable(message: SideMessage): boolean {
    if (message.type === 'upload_progress') return this.#window.acknowledge(message.upload_id, message.offset)
    if (message.type === 'upload_done' || message.type === 'upload_refused') this.#window.end(message.upload_id)
    return true
  }

  async #write(message: string | Uint8Array): Promise<void> {
    const written = this.#socket.writer.write(message).catch(async () => {
      // The reading side is about to say how it ended.
      await this.over
      throw new LinkLostError('link is over')
    })
    // A network that takes no more bytes is a silent one.
    await this.owed(written)
  }

  #look(): void {
    if (performance.now() - this.#heardAtMs > this.#silenceMs) this.lose()
  }

  #finish(info: CloseInfo): void {
    if (this.isOver) return
    clearInterval(this.#watch)
    this.#end.resolve(info)
    this.#lost.fail(new LinkLostError('link is over'))
  }
}
