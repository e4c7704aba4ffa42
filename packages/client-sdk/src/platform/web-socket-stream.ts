import { type DataSocket, type OpenSocketOptions, type SocketClose, SocketOpenError } from './types.ts'

/** The part of the WebSocketStream interface (WHATWG proposal, shipped by Chromium 124) that is used here. */
interface WebSocketStream {
  readonly opened: Promise<{
    readable: ReadableStream<string | ArrayBuffer | Uint8Array>
    writable: WritableStream<string | Uint8Array>
  }>
  readonly closed: Promise<{ closeCode?: number; reason?: string }>
  close(info?: { closeCode?: number; reason?: string }): void
}
type WebSocketStreamClass = new (url: string, options: { signal: AbortSignal }) => WebSocketStream

/** The browser's WebSocketStream, where it has one: the only WebSocket of a browser that holds a fast sender back. */
export function webSocketStreamClass(): WebSocketStreamClass | undefined {
  return (globalThis as { WebSocketStream?: WebSocketStreamClass }).WebSocketStream
}

/** Opens a socket with WebSocketStream; rejects with SocketOpenError. */
export async function openSocketStream(
  WebSocketStream: WebSocketStreamClass,
  url: string,
  { timeoutMs, maxMessageBytes, signal }: OpenSocketOptions,
): Promise<DataSocket> {
  const timeout = AbortSignal.timeout(timeoutMs)
  const stream = new WebSocketStream(url, {
    signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
  })
  const closed = stream.closed.then(closeOf, closeOf)
  try {
    const { readable, writable } = await stream.opened
    const close = (code?: number, reason?: string) =>
      stream.close(code === undefined ? {} : { closeCode: code, ...(reason !== undefined && { reason }) })
    return {
      holdsBack: true,
      closed,
      readable: readable.pipeThrough(boundedMessages(maxMessageBytes)),
      writable,
      close,
      abort: () => close(),
    }
  } catch {
    throw new SocketOpenError(signal?.aborted ? 'aborted' : timeout.aborted ? 'timeout' : 'network')
  }
}

/** An orderly close resolves with these members; a torn one rejects with a WebSocketError that has none or the same. */
function closeOf(end: unknown): SocketClose {
  const { closeCode, reason } = (end ?? {}) as { closeCode?: unknown; reason?: unknown }
  return {
    code: typeof closeCode === 'number' ? closeCode : 1006,
    reason: typeof reason === 'string' ? reason : '',
  }
}

function boundedMessages(
  maxMessageBytes: number,
): TransformStream<string | ArrayBuffer | Uint8Array, string | Uint8Array> {
  return new TransformStream({
    transform(chunk, controller) {
      const message = chunk instanceof ArrayBuffer ? new Uint8Array(chunk) : chunk
      if (message.length > maxMessageBytes) throw new RangeError('message is over the bound')
      controller.enqueue(message)
    },
  })
}
