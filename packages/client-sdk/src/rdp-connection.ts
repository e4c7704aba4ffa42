import type { BoundMessage, ClosingMessage } from '@rap/data-plane-protocol'
import { isSideChannel } from '@rap/session-policy'
import { decodeBase64, encodeBase64 } from './base64.ts'
import { type BoundSocket, type CloseInfo, closeInfoOf, errorOfClose, serverMessageOf } from './bind.ts'
import type { PathName } from './candidates.ts'
import { RapError } from './errors.ts'
import type { Trace } from './trace.ts'

/** Most RDP bytes in one message; in base64 it stays well below the bound of a message. */
const MAX_CHUNK_BYTES = 256 * 1024
/** How long the other side may take to answer our close, in milliseconds. */
const CLOSE_TIMEOUT_MS = 3000

/** A bound data-plane connection. */
export interface RdpConnection {
  /**
   * The RDP byte stream, from MCS Connect Initial on (MS-RDPBCGR §2.2.1.3); chunks are bytes, not PDUs.
   * A slow reader holds the target back where `holdsBack` is true; a writer waits while the network is slow.
   * `readable` ends after an orderly close and errors with a RapError after any other.
   */
  readonly stream: { readonly readable: ReadableStream<Uint8Array>; readonly writable: WritableStream<Uint8Array> }
  readonly path: PathName
  readonly url: string
  readonly bound: BoundMessage
  readonly trace: Trace
  readonly holdsBack: boolean
  /** Resolves once, when the connection has ended, whoever ended it. */
  readonly closed: Promise<CloseInfo>
  /** Ends the connection in order; the session itself goes on as detached. */
  close(): Promise<CloseInfo>
}

export interface RdpConnectionOptions {
  readonly path: PathName
  readonly url: string
  readonly trace: Trace
}

/** Wraps a bound socket of json_v1 or binary_v1. */
export function rdpConnectionOf(boundSocket: BoundSocket, options: RdpConnectionOptions): RdpConnection {
  const { socket, bound, reader, writer } = boundSocket
  let closingMessage: ClosingMessage | undefined
  let closing: Promise<CloseInfo> | undefined
  // What is said on them is for `Transfers`, which has a connection of its own.
  const hasSideChannels = bound.allowed_channels.some(isSideChannel)
  const closed = socket.closed.then(close => {
    const info = closeInfoOf(close, closingMessage)
    // The worker's own word for an end that the client asked for.
    const isAskedFor = closing !== undefined && info.reason === 'ERR_SESSION_DETACHED'
    return isAskedFor ? { ...info, orderly: true } : info
  })

  /** The next RDP bytes, or undefined when the stream has ended in order. */
  const nextBytes = async (): Promise<Uint8Array | undefined> => {
    for (;;) {
      const step = await reader.read().catch((cause: unknown) => {
        throw new RapError('ERR_DATA_PLANE_OVERRUN', 'messages were not read in time', {}, { cause })
      })
      if (step.done) {
        const info = await closed
        if (info.orderly) return undefined
        throw errorOfClose(info, bound.session_id)
      }
      const message = typeof step.value === 'string' ? serverMessageOf(step.value) : step.value
      if (message instanceof Uint8Array && bound.runtime_transport === 'binary_v1') return message
      if (message instanceof Uint8Array || message.type === 'bound') throw outOfPlace()
      if (message.type === 'closing') closingMessage = message
      else if (message.type !== 'rdp' && hasSideChannels) continue
      else if (message.type === 'rdp' && bound.runtime_transport === 'json_v1') return decodeBase64(message.data)
      else throw outOfPlace()
    }
  }

  const close = () => {
    closing ??= closeInOrder(boundSocket, closed)
    return closing
  }

  const readable = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const bytes = await nextBytes().catch((error: unknown) => {
          socket.abort()
          throw error
        })
        if (bytes === undefined) controller.close()
        else controller.enqueue(bytes)
      },
      async cancel() {
        await close()
      },
    },
    // Nothing is read ahead: whoever reads slowly holds the network back.
    { highWaterMark: 0 },
  )
  const writable = new WritableStream<Uint8Array>({
    async write(chunk) {
      for (let at = 0; at < chunk.length; at += MAX_CHUNK_BYTES) {
        const part = chunk.subarray(at, at + MAX_CHUNK_BYTES)
        const message = bound.runtime_transport === 'binary_v1' ? part : rdpMessageOf(part)
        await writer.write(message).catch(async () => {
          throw errorOfClose(await closed, bound.session_id)
        })
      }
    },
    async close() {
      await close()
    },
    async abort() {
      await close()
    },
  })
  return { stream: { readable, writable }, ...options, bound, holdsBack: socket.holdsBack, closed, close }
}

function outOfPlace(): RapError {
  return new RapError('ERR_DATA_PLANE_PROTOCOL', 'server sent a message that does not belong here')
}

function rdpMessageOf(bytes: Uint8Array): string {
  return JSON.stringify({ type: 'rdp', data: encodeBase64(bytes) })
}

async function closeInOrder({ socket, writer, reader }: BoundSocket, closed: Promise<CloseInfo>): Promise<CloseInfo> {
  const timer = setTimeout(() => socket.abort(), CLOSE_TIMEOUT_MS)
  writer.write(JSON.stringify({ type: 'close' })).catch(() => {})
  socket.close(1000)
  // What is still unread is dropped, so that the peer's close frame behind it is seen.
  reader.cancel().catch(() => {})
  const info = await closed
  clearTimeout(timer)
  return info
}
