import { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/** What `net.Socket` keeps of its `onread` option, and the handle that fills the buffer. */
interface OnReadState {
  [key: symbol]: unknown
  _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null
}

const KEYS = onReadKeys()

/**
 * True where reads land in a buffer of ours. False only on a Node that has changed inside: then every record comes as a Buffer of its own,
 * which is right too, and costs a fifth more.
 */
export const READS_LAND_IN_PLACE = KEYS !== undefined

/**
 * Hands on what a target sends, from what its socket has buffered already to its end.
 *
 * Each view is valid during the call. `zone` is where bytes land; sockets may share it.
 *
 * Node has the option `onread` for reads into a buffer of the caller (`net.Socket`), and ignores it for TLS over a socket that is there
 * already, as RDP has to do it: the negotiation comes before the handshake. So the option's state is set here, by the names under which Node
 * keeps it; `test/relays/target-reader.test.ts` fails when a new Node keeps it otherwise.
 */
export function readTarget(socket: TLSSocket, zone: Uint8Array, onBytes: (bytes: Uint8Array) => void): void {
  for (let buffered: Buffer | null = socket.read(); buffered !== null; buffered = socket.read()) onBytes(buffered)
  const state = socket as unknown as OnReadState
  const handle = state._handle
  if (KEYS === undefined || typeof handle?.useUserBuffer !== 'function') {
    socket.on('data', onBytes)
    return
  }
  state[KEYS.buffer] = zone
  state[KEYS.generator] = null
  state[KEYS.callback] = (size: number) => {
    onBytes(size === zone.length ? zone : zone.subarray(0, size))
    // Pausing is the caller's business.
    return true
  }
  handle.useUserBuffer(zone)
  // What came between the handshake and now is in the stream, which flows past the buffer.
  socket.on('data', onBytes)
}

function onReadKeys(): { buffer: symbol; callback: symbol; generator: symbol } | undefined {
  const zone = new Uint8Array(1)
  const callback = (): boolean => true
  const probe = new Socket({ onread: { buffer: zone, callback } })
  const state = probe as unknown as Record<symbol, unknown>
  const symbols: symbol[] = []
  for (let object: object | null = probe; object !== null; object = Object.getPrototypeOf(object)) {
    symbols.push(...Object.getOwnPropertySymbols(object))
  }
  probe.destroy()
  const named = (name: string): symbol | undefined => symbols.find(({ description }) => description === name)
  const [buffer, found, generator] = [named('kBuffer'), named('kBufferCb'), named('kBufferGen')]
  if (buffer === undefined || found === undefined || generator === undefined) return undefined
  return state[buffer] === zone && state[found] === callback ? { buffer, callback: found, generator } : undefined
}
