import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import { type DataSocket, type OpenSocketOptions, type Platform, type SocketClose, SocketOpenError } from './types.ts'
import { openSocketStream, webSocketStreamClass } from './web-socket-stream.ts'

/** Bytes that may wait unread where the browser gives no back-pressure; beyond it the connection is given up. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024
/** Bytes that may wait unsent before a writer is held back. */
const HIGH_WATER_BYTES = 256 * 1024
/** How often a held-back writer looks at `bufferedAmount`, in milliseconds: there is no event for it. */
const DRAIN_POLL_MS = 20

async function openSocket(url: string, options: OpenSocketOptions): Promise<DataSocket> {
  if (options.signal?.aborted) throw new SocketOpenError('aborted')
  // Chromium's WebSocketStream takes its page down when the network is cut under a write, and files have a window of their own anyway.
  const WebSocketStream = options.sendsFiles ? undefined : webSocketStreamClass()
  if (WebSocketStream !== undefined) return await openSocketStream(WebSocketStream, url, options)
  const socket = new WebSocket(url)
  socket.binaryType = 'arraybuffer'
  const dataSocket = dataSocketOf(socket, options.maxMessageBytes)
  await opened(socket, options)
  return dataSocket
}

function opened(socket: WebSocket, { timeoutMs, signal }: OpenSocketOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => fail(new SocketOpenError('timeout')), timeoutMs)
    const onAbort = () => fail(new SocketOpenError('aborted'))
    const onOpen = () => {
      settle()
      resolve()
    }
    // The browser tells a page no more than "it failed": whether TLS or the network was the reason stays with the user.
    const onError = () => fail(new SocketOpenError('network'))
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
      socket.removeEventListener('open', onOpen)
      socket.removeEventListener('error', onError)
    }
    const fail = (error: SocketOpenError) => {
      settle()
      reject(error)
      socket.close()
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.addEventListener('open', onOpen)
    socket.addEventListener('error', onError)
  })
}

function dataSocketOf(socket: WebSocket, maxMessageBytes: number): DataSocket {
  const closed = Promise.withResolvers<SocketClose>()
  socket.addEventListener('close', event => closed.resolve({ code: event.code, reason: event.reason }), { once: true })
  return {
    holdsBack: false,
    closed: closed.promise,
    readable: readableOf(socket, maxMessageBytes),
    writable: writableOf(socket),
    close: (code, reason) => socket.close(code, reason),
    abort: () => socket.close(),
  }
}

function readableOf(socket: WebSocket, maxMessageBytes: number): ReadableStream<string | Uint8Array> {
  let over = false
  return new ReadableStream<string | Uint8Array>(
    {
      start(controller) {
        const giveUp = (reason: string) => {
          over = true
          controller.error(new RangeError(reason))
          socket.close()
        }
        socket.addEventListener('message', event => {
          if (over) return
          const message = typeof event.data === 'string' ? event.data : new Uint8Array(event.data as ArrayBuffer)
          if (message.length > maxMessageBytes) return giveUp('message is over the bound')
          controller.enqueue(message)
          if ((controller.desiredSize ?? 0) <= 0) giveUp('unread messages are over the bound')
        })
        socket.addEventListener('close', () => {
          if (!over) controller.close()
          over = true
        })
      },
      cancel() {
        over = true
        socket.close(1000)
      },
    },
    { highWaterMark: MAX_UNREAD_BYTES, size: chunk => chunk.length + 1 },
  )
}

function writableOf(socket: WebSocket): WritableStream<string | Uint8Array> {
  return new WritableStream<string | Uint8Array>({
    start(controller) {
      socket.addEventListener('close', () => controller.error(new TypeError('socket is closed')), { once: true })
    },
    async write(chunk) {
      if (socket.readyState !== WebSocket.OPEN) throw new TypeError('socket is closed')
      socket.send(chunk as string | Uint8Array<ArrayBuffer>)
      while (socket.bufferedAmount >= HIGH_WATER_BYTES && socket.readyState === WebSocket.OPEN) {
        await new Promise(resolve => setTimeout(resolve, DRAIN_POLL_MS))
      }
    },
    close() {
      socket.close(1000)
    },
    abort() {
      socket.close(1000)
    },
  })
}

/** Browsers: the platform's own fetch and WebSocket, or WebSocketStream, which holds the sender back, where there is one. */
export const platform: Platform = {
  name: 'browser',
  openSocket,
  // `fetch` must be called on its window, and a page may replace it later.
  makeFetch: () => (input, init) => globalThis.fetch(input, init),
  networkFailureOf(error) {
    const name = error instanceof Error ? error.name : ''
    if (name === 'TimeoutError') return { failure: 'timeout' }
    if (name === 'AbortError') return { failure: 'aborted' }
    return { failure: 'network' }
  },
  // WebCrypto digests whole buffers only.
  newSha256() {
    const hash = sha256.create()
    return { update: bytes => void hash.update(bytes), hex: () => bytesToHex(hash.clone().digest()) }
  },
  bundles: undefined,
}
