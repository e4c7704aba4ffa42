import type { Socket } from 'node:net'
import { MAX_BIND_BYTES } from '@rap/data-plane-protocol'
import type { WebSocket } from 'ws'
import { Refusal } from './refusal.ts'

/** A message as it came. */
export interface RawMessage {
  readonly data: Buffer
  readonly isBinary: boolean
}

/**
 * Bytes that may come in before the first message is whole: the message, its frame headers and a few pings.
 * A stranger's bytes are counted as they arrive, since `ws` would hold a whole message of the relay's size for it.
 */
const MAX_UNBOUND_BYTES = MAX_BIND_BYTES + 1024

/** What came in before the relay took over: the first message, and whatever came with it in the same packet. */
export interface FirstMessages {
  readonly first: RawMessage
  /** Hands over everything in order and stops listening. */
  take(): readonly RawMessage[]
}

/**
 * Waits for the first message and pauses the socket right after it.
 * Throws Refusal ERR_BIND_TIMEOUT, ERR_RELAY_MESSAGE_TOO_LARGE, or ERR_BIND_MALFORMED where the client leaves before.
 */
export function firstMessages(socket: WebSocket, stream: Socket, timeoutMs: number): Promise<FirstMessages> {
  return new Promise((resolve, reject) => {
    const held: RawMessage[] = []
    let received = 0
    const stop = () => {
      clearTimeout(timer)
      stream.off('data', onData)
      socket.off('close', onClose)
    }
    const refuse = (refusal: Refusal) => {
      stop()
      socket.off('message', onMessage)
      reject(refusal)
    }
    const onData = (chunk: Buffer) => {
      received += chunk.length
      if (received > MAX_UNBOUND_BYTES) refuse(new Refusal('ERR_RELAY_MESSAGE_TOO_LARGE', 'unbound_bytes'))
    }
    const onClose = () => refuse(new Refusal('ERR_BIND_MALFORMED', 'client_left'))
    const onMessage = (data: unknown, isBinary: boolean) => {
      held.push({ data: data as Buffer, isBinary })
      const [first, ...more] = held
      if (first === undefined || more.length > 0) return
      socket.pause()
      stop()
      resolve({
        first,
        take: () => {
          socket.off('message', onMessage)
          return held
        },
      })
    }
    const timer = setTimeout(() => refuse(new Refusal('ERR_BIND_TIMEOUT', 'no_first_message')), timeoutMs)
    stream.on('data', onData)
    socket.once('close', onClose)
    socket.on('message', onMessage)
  })
}
