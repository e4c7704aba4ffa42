import type { WebSocket } from 'ws'

/** Bytes unsent towards one end at which the other end is paused. INVARIANT: with one message more they bound a relay's memory in each direction. */
export const HIGH_WATER_BYTES = 1024 * 1024
/** Bytes unsent at which it is resumed. */
const LOW_WATER_BYTES = 256 * 1024
/** Silence after which a ping is sent, and after which an end counts as dead, in milliseconds. */
const PING_INTERVAL_MS = 30_000
const DEAD_AFTER_MS = 90_000

export type Direction = 'client_to_worker' | 'worker_to_client'

export interface RelayObserver {
  onBytes(direction: Direction, bytes: number): void
  /** The sender of `direction` is held back, because its receiver is slow. */
  onPause(direction: Direction): void
}

export interface RelayEnd {
  readonly endedBy: 'client' | 'worker' | 'dead_peer'
  /** The close code that came, 1006 where none did. */
  readonly code: number
}

export interface RelayOptions {
  readonly observer: RelayObserver
  /** Tells the client that the worker's connection has ended without a close frame. */
  readonly onWorkerLost: () => void
  readonly pingIntervalMs?: number
  readonly deadAfterMs?: number
}

/**
 * Passes messages between two open WebSockets, unchanged, text as text and binary as binary, until one of them ends;
 * the other one then ends with the same close code and reason. Neither end can fill this process's memory.
 */
export function relay(client: WebSocket, worker: WebSocket, options: RelayOptions): Promise<RelayEnd> {
  const { observer, onWorkerLost, pingIntervalMs = PING_INTERVAL_MS, deadAfterMs = DEAD_AFTER_MS } = options
  const ended = Promise.withResolvers<RelayEnd>()
  pump(client, worker, 'client_to_worker', observer)
  pump(worker, client, 'worker_to_client', observer)
  client.once('close', (code, reason) => {
    ended.resolve({ endedBy: 'client', code })
    // A client that vanished is no orderly end, and the worker should see it as it was.
    if (code === 1006) worker.terminate()
    else closeLike(worker, code, reason)
  })
  worker.once('close', (code, reason) => {
    ended.resolve({ endedBy: 'worker', code })
    if (code === 1006) onWorkerLost()
    else closeLike(client, code, reason)
  })
  const onDead = (end: WebSocket) => {
    ended.resolve({ endedBy: 'dead_peer', code: 1006 })
    end.terminate()
  }
  const watches = [client, worker].map(end => keepAlive(end, { pingIntervalMs, deadAfterMs, onDead }))
  void ended.promise.then(() => {
    for (const stop of watches) stop()
  })
  client.resume()
  worker.resume()
  return ended.promise
}

function pump(from: WebSocket, to: WebSocket, direction: Direction, observer: RelayObserver): void {
  const onSent = () => {
    if (from.isPaused && to.bufferedAmount <= LOW_WATER_BYTES) from.resume()
  }
  from.on('message', (data, binary) => {
    if (to.readyState !== to.OPEN) return
    const bytes = data as Buffer
    to.send(bytes, { binary, compress: false }, onSent)
    observer.onBytes(direction, bytes.length)
    if (to.bufferedAmount >= HIGH_WATER_BYTES && !from.isPaused) {
      from.pause()
      observer.onPause(direction)
    }
  })
}

/** Sends the same close code on. Codes that only stand for "nothing came" cannot be sent (RFC 6455 §7.4.1). */
export function closeLike(end: WebSocket, code: number, reason: Buffer): void {
  // A paused end would never read the answer to our close frame.
  end.resume()
  const isSendable =
    (1000 <= code && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (3000 <= code && code <= 4999)
  if (isSendable) end.close(code, reason)
  else end.close()
}

interface KeepAlive {
  readonly pingIntervalMs: number
  readonly deadAfterMs: number
  readonly onDead: (end: WebSocket) => void
}

/**
 * Pings an end and gives it up when nothing at all comes from it, however often it was asked. An end that we hold back ourselves is not
 * judged; nor is one that was not asked, because this process itself stood still: what it says meanwhile is still to be read.
 */
function keepAlive(end: WebSocket, { pingIntervalMs, deadAfterMs, onDead }: KeepAlive): () => void {
  const leastAsked = Math.floor(deadAfterMs / pingIntervalMs) - 1
  let lastHeard = performance.now()
  let asked = 0
  const heard = () => {
    lastHeard = performance.now()
    asked = 0
  }
  end.on('message', heard).on('pong', heard).on('ping', heard)
  const timer = setInterval(() => {
    if (end.isPaused) heard()
    if (asked >= leastAsked && performance.now() - lastHeard >= deadAfterMs) onDead(end)
    else {
      asked += 1
      if (end.readyState === end.OPEN) end.ping()
    }
  }, pingIntervalMs)
  return () => clearInterval(timer)
}
