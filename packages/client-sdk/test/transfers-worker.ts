import { createHash, type Hash } from 'node:crypto'
import {
  CHUNK_HEADER_BYTES,
  decodeBinaryChunk,
  parseClientMessage,
  type SideMessage,
  UPLOAD_REFUSALS,
  UPLOAD_WINDOW_BYTES,
  UPLOAD_WINDOW_CHUNKS,
  type UploadRefusal,
  type UploadRequest,
} from '@rap/data-plane-protocol'
import { DEFAULT_LIMITS } from '@rap/session-policy'
import type { WebSocket } from 'ws'
import { binds } from './helper.ts'

interface Stored {
  readonly name: string
  readonly size: number
  readonly chunks: Buffer[]
  readonly hash: Hash
  offset: number
  isReady: boolean
}

/** The worker's end of the side channels as docs/protocols/uploads.md has it, with levers for what can happen on the way. */
export class TransfersWorker {
  readonly uploads = new Map<string, Stored>()
  readonly requests: UploadRequest[] = []
  /** Upload ids of the chunks, in the order in which they came. */
  readonly chunkOrder: string[] = []
  readonly sockets: WebSocket[] = []
  readonly binds: { token: string; channels: string[] }[] = []
  /** Most bytes and messages that a connection had under way. */
  mostUnderWay = { bytes: 0, messages: 0 }
  /** Bytes of chunks, over all connections. */
  received = 0
  /** Called when a chunk is stored, before it is acknowledged; true: it never is. */
  onChunk: (socket: WebSocket) => boolean | Promise<boolean> = () => false
  /** Refuses a begin. */
  refuse: (begin: { name: string; size: number }) => UploadRefusal | undefined = () => undefined
  /** What the worker does not say. */
  silent: ReadonlySet<SideMessage['type']> = new Set()
  /** Limits that are near at the bind. */
  near: readonly Extract<SideMessage, { type: 'limit_near' }>[] = []

  /** For `dataPlane`. */
  readonly script = binds((socket, { token, channels }) => {
    this.sockets.push(socket)
    this.binds.push({ token, channels })
    if (channels.includes('events')) this.tellPolicy(socket, channels)
    for (const message of this.near) this.say(socket, message)
    if (channels.includes('file_upload')) this.tellTransfers(socket)
    const underWay = { bytes: 0, messages: 0 }
    socket.on('message', async (message: Buffer, isBinary) => {
      const bytes = isBinary ? message.length - CHUNK_HEADER_BYTES : 0
      underWay.bytes += bytes
      underWay.messages += 1
      this.mostUnderWay.bytes = Math.max(this.mostUnderWay.bytes, underWay.bytes)
      this.mostUnderWay.messages = Math.max(this.mostUnderWay.messages, underWay.messages)
      if (underWay.bytes > UPLOAD_WINDOW_BYTES || underWay.messages > UPLOAD_WINDOW_CHUNKS) {
        socket.close(4413, 'ERR_RELAY_MESSAGE_TOO_LARGE')
      }
      await (isBinary ? this.#chunk(socket, message) : this.#text(socket, message))
      underWay.bytes -= bytes
      underWay.messages -= 1
    })
  })

  content(uploadId: string): Buffer {
    return Buffer.concat(this.uploads.get(uploadId)?.chunks ?? [])
  }

  say(socket: WebSocket, message: SideMessage): void {
    if (!this.silent.has(message.type)) socket.send(JSON.stringify(message))
  }

  tellPolicy(socket: WebSocket, channels: readonly string[]): void {
    this.say(socket, {
      type: 'policy',
      allowed_channels: channels as never,
      limits: DEFAULT_LIMITS,
      session_ends_at: null,
    })
  }

  tellTransfers(socket: WebSocket): void {
    const items = [...this.uploads].map(([id, { name, size, offset, isReady }]) => ({
      upload_id: id,
      name,
      size,
      offset,
      state: isReady ? ('ready' as const) : ('receiving' as const),
    }))
    this.say(socket, { type: 'transfers', drive_mounted: false, items })
  }

  refused(socket: WebSocket, uploadId: string, code: UploadRefusal): void {
    this.say(socket, { type: 'upload_refused', upload_id: uploadId, code, ...UPLOAD_REFUSALS[code] } as SideMessage)
  }

  async #chunk(socket: WebSocket, message: Buffer): Promise<void> {
    const { uploadId, offset, data } = decodeBinaryChunk(message)
    this.chunkOrder.push(uploadId)
    const upload = this.uploads.get(uploadId)
    if (upload === undefined) return this.refused(socket, uploadId, 'ERR_UPLOAD_UNKNOWN')
    if (offset !== upload.offset) return this.refused(socket, uploadId, 'ERR_UPLOAD_OFFSET')
    upload.offset += data.length
    upload.hash.update(data)
    upload.chunks.push(Buffer.from(data))
    this.received += data.length
    if (await this.onChunk(socket)) return
    this.say(socket, { type: 'upload_progress', upload_id: uploadId, offset: offset + data.length })
  }

  async #text(socket: WebSocket, message: Buffer): Promise<void> {
    const request = parseClientMessage(message.toString('utf8'))
    if (request.type === 'rdp' || request.type === 'close' || request.type === 'upload_chunk') return
    this.requests.push(request)
    const { upload_id: id } = request
    const upload = this.uploads.get(id)
    if (request.type === 'upload_begin') {
      const { name, size } = request
      const refusal = this.refuse(request)
      if (refusal !== undefined) return this.refused(socket, id, refusal)
      if (upload !== undefined && (upload.name !== name || upload.size !== size)) {
        return this.refused(socket, id, 'ERR_UPLOAD_CONFLICT')
      }
      const offset = upload?.offset ?? 0
      if (upload === undefined) {
        this.uploads.set(id, { name, size, offset, chunks: [], hash: createHash('sha256'), isReady: false })
        this.tellTransfers(socket)
      }
      this.say(socket, { type: 'upload_progress', upload_id: id, offset })
    } else if (upload === undefined) this.refused(socket, id, 'ERR_UPLOAD_UNKNOWN')
    else if (request.type === 'upload_cancel') {
      this.uploads.delete(id)
      this.tellTransfers(socket)
      this.refused(socket, id, 'ERR_UPLOAD_CANCELLED')
    } else if (upload.hash.copy().digest('hex') !== request.sha256 || upload.offset !== upload.size) {
      this.uploads.delete(id)
      this.refused(socket, id, 'ERR_UPLOAD_HASH_MISMATCH')
    } else {
      upload.isReady = true
      this.tellTransfers(socket)
      this.say(socket, { type: 'upload_done', upload_id: id, name: upload.name })
    }
  }
}
