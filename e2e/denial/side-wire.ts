import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { encodeChunkHeader, MAX_CHUNK_BYTES, type ServerMessage } from '@rap/data-plane-protocol'
import { waitFor } from '@rap/testkit'
import type { WebSocket } from 'ws'

/** How an upload ended: the name of the file, or the code that it was refused with. */
export type UploadOutcome = { readonly name: string } | { readonly refused: string }

/** A bound connection with the messages that it got. */
export interface BoundWire {
  readonly socket: WebSocket
  readonly messages: readonly ServerMessage[]
}

/** The channels beside RDP on a bound connection, as docs/protocols/data-plane.md says and no more. */
export class SideWire {
  readonly #socket: WebSocket
  readonly #binaryChunks: boolean
  /** All that the server said as text beside RDP. */
  readonly messages: readonly ServerMessage[]
  closeReason: string | undefined

  /** `binaryChunks`: a binary_v1 connection without RDP channels. */
  constructor({ socket, messages }: BoundWire, { binaryChunks }: { readonly binaryChunks: boolean }) {
    this.#socket = socket
    this.#binaryChunks = binaryChunks
    this.messages = messages
    socket.once('close', (_code, reason) => {
      this.closeReason = reason.toString()
    })
  }

  /** Sends one small file. */
  async upload(name: string, content: Buffer): Promise<UploadOutcome> {
    const upload_id = randomUUID()
    this.#say({ type: 'upload_begin', upload_id, name, size: content.length })
    if ((await this.#progress(upload_id, 0)) !== undefined) {
      for (let offset = 0; offset < content.length; offset += MAX_CHUNK_BYTES) {
        const data = content.subarray(offset, offset + MAX_CHUNK_BYTES)
        if (this.#binaryChunks) this.#socket.send(Buffer.concat([encodeChunkHeader(upload_id, offset), data]))
        else this.#say({ type: 'upload_chunk', upload_id, offset, data: data.toString('base64') })
        if ((await this.#progress(upload_id, offset + data.length)) === undefined) break
      }
      const sha256 = createHash('sha256').update(content).digest('hex')
      this.#say({ type: 'upload_end', upload_id, sha256 })
    }
    const end = await waitFor(
      () =>
        this.closeReason !== undefined ||
        this.messages.find(
          message =>
            (message.type === 'upload_done' || message.type === 'upload_refused') && message.upload_id === upload_id,
        ),
      { what: `the end of the upload of ${name}`, intervalMs: 5 },
    )
    if (end === true) return { refused: this.closeReason ?? '' }
    return end.type === 'upload_done' ? { name: end.name } : { refused: end.type === 'upload_refused' ? end.code : '' }
  }

  async close(): Promise<void> {
    this.#socket.close()
    if (this.#socket.readyState !== this.#socket.CLOSED) await once(this.#socket, 'close')
  }

  /** Waits until the server has everything up to `offset`; undefined where it will not have it. */
  async #progress(uploadId: string, offset: number): Promise<number | undefined> {
    const told = await waitFor(
      () =>
        this.closeReason !== undefined ||
        this.messages.find(
          message =>
            (message.type === 'upload_refused' && message.upload_id === uploadId) ||
            (message.type === 'upload_progress' && message.upload_id === uploadId && message.offset >= offset),
        ),
      { what: `the upload up to ${offset}`, intervalMs: 5 },
    )
    return told === true || told.type === 'upload_refused' ? undefined : offset
  }

  #say(message: unknown): void {
    this.#socket.send(JSON.stringify(message))
  }
}
