import {
  type BindMessage,
  type BoundMessage,
  CLOSE_REASONS,
  type ClosingMessage,
  isCloseReason,
  ProtocolError,
  parseServerMessage,
  type ServerMessage,
} from '@rap/data-plane-protocol'
import { RapError } from './errors.ts'
import type { DataSocket, SocketClose } from './platform/types.ts'

/** How a data-plane connection ended. */
export interface CloseInfo {
  /** WebSocket close code; 1000 is an orderly end, 1006 a lost connection. */
  readonly code: number
  /** Stable reason, such as `ERR_SESSION_TAKEN_OVER`; empty where the other side gave none. */
  readonly reason: string
  /** A sentence for a person. */
  readonly detail: string
  readonly remedy: string | undefined
  /** True where nothing went wrong. */
  readonly orderly: boolean
}

/** A socket that is bound; reader and writer are locked by its owner from here on. */
export interface BoundSocket {
  readonly socket: DataSocket
  readonly bound: BoundMessage
  readonly reader: ReadableStreamDefaultReader<string | Uint8Array>
  readonly writer: WritableStreamDefaultWriter<string | Uint8Array>
}

/** The bind did not come to an answer, so another path may be tried with a fresh token. */
export class BindLostError extends Error {
  override readonly name = 'BindLostError'
  readonly reason: 'timeout' | 'network'

  constructor(reason: 'timeout' | 'network') {
    super(`bind was lost: ${reason}`)
    this.reason = reason
  }
}

/** Joins the close frame with the words that came right before it. */
export function closeInfoOf(close: SocketClose, closing: ClosingMessage | undefined): CloseInfo {
  const said = closing !== undefined && (close.code === closing.code || close.code === 1006) ? closing : undefined
  const reason = said?.reason ?? close.reason.slice(0, 123)
  const known = isCloseReason(reason) ? CLOSE_REASONS[reason].detail : undefined
  const fallback = close.code === 1000 ? 'The connection was closed.' : 'The connection was lost.'
  return {
    code: said?.code ?? close.code,
    reason,
    detail: said?.detail ?? known ?? fallback,
    remedy: said?.remedy,
    orderly: close.code === 1000 || close.code === 1005,
  }
}

/** An end as an error: its code is the stable reason, or ERR_DATA_PLANE_CLOSED where there is none. */
export function errorOfClose({ code, reason, detail, remedy }: CloseInfo, sessionId?: string): RapError {
  const stable = /^ERR_[A-Z0-9_]{1,100}$/.test(reason) ? reason : 'ERR_DATA_PLANE_CLOSED'
  return new RapError(stable, 'data-plane connection was closed', { detail, remedy, sessionId, closeCode: code })
}

/** Parses a text message of the server. Throws RapError ERR_DATA_PLANE_PROTOCOL. */
export function serverMessageOf(text: string): ServerMessage {
  try {
    return parseServerMessage(text)
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause
    throw new RapError('ERR_DATA_PLANE_PROTOCOL', 'server sent a message that is not of the protocol', {}, { cause })
  }
}

/**
 * Binds an open socket; the socket is given up on every failure.
 *
 * Throws RapError with the refusal's reason, RapError ERR_DATA_PLANE_PROTOCOL, or BindLostError where no answer came.
 */
export async function bindSocket(
  socket: DataSocket,
  message: BindMessage,
  options: { timeoutMs: number; signal?: AbortSignal | undefined },
): Promise<BoundSocket> {
  const reader = socket.readable.getReader()
  const writer = socket.writable.getWriter()
  // A writer whose socket ends rejects `closed`; the reading side tells the reason.
  writer.closed.catch(() => {})
  const limit = Promise.withResolvers<never>()
  const timer = setTimeout(() => limit.reject(new BindLostError('timeout')), options.timeoutMs)
  const onAbort = () => limit.reject(new RapError('ERR_ABORTED', 'binding was aborted'))
  options.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    if (options.signal?.aborted) onAbort()
    const bound = await Promise.race([exchange(socket, { reader, writer }, message), limit.promise])
    return { socket, bound, reader, writer }
  } catch (error) {
    socket.abort()
    throw error
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', onAbort)
  }
}

async function exchange(
  socket: DataSocket,
  { reader, writer }: Pick<BoundSocket, 'reader' | 'writer'>,
  message: BindMessage,
): Promise<BoundMessage> {
  await writer.write(JSON.stringify(message)).catch(() => {
    // The socket has ended; the read below tells how.
  })
  let closing: ClosingMessage | undefined
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true as const, value: undefined }))
    if (done) throw await refusalOf(socket, closing)
    const answer = typeof value === 'string' ? serverMessageOf(value) : undefined
    if (answer?.type === 'closing') closing = answer
    else if (answer?.type === 'bound' && answer.runtime_transport === message.runtime_transport) return answer
    else throw new RapError('ERR_DATA_PLANE_PROTOCOL', 'server did not answer the bind')
  }
}

/** An end with a stable reason is an answer; one without is a lost connection. */
async function refusalOf(socket: DataSocket, closing: ClosingMessage | undefined): Promise<Error> {
  const info = closeInfoOf(await socket.closed, closing)
  return info.reason === '' ? new BindLostError('network') : errorOfClose(info)
}
