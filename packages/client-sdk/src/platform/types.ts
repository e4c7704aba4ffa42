import type { NetworkFailure } from '../errors.ts'

/** Certificates that the application brings along; a browser has none of its own and uses the user's trust store. */
export interface TrustOptions {
  /** PEM of the platform CA: added to the default authorities, and the only authority for `platform_ca` workers. */
  readonly caPem?: string | readonly string[]
}

/** Which authorities a data-plane connection may chain to. */
export type TrustScope = 'default' | 'platform_ca_only' | 'insecure_smoke'

/** The end of a WebSocket as its close frame told it; 1006 where none came (RFC 6455 §7.4.1). */
export interface SocketClose {
  readonly code: number
  readonly reason: string
}

/**
 * A WebSocket as a pair of streams: strings are text messages, byte arrays are binary ones.
 *
 * `readable` closes or errors when the socket ends; `closed` always resolves. Reading slowly holds the sender back where the platform can.
 */
export interface DataSocket {
  readonly readable: ReadableStream<string | Uint8Array>
  readonly writable: WritableStream<string | Uint8Array>
  readonly closed: Promise<SocketClose>
  /** True where a slow reader holds back the network; false where messages pile up to a bound instead. */
  readonly holdsBack: boolean
  close(code?: number, reason?: string): void
  /** Drops the connection without waiting for the peer, where the platform can. */
  abort(): void
}

export interface OpenSocketOptions {
  readonly timeoutMs: number
  readonly maxMessageBytes: number
  readonly trust: TrustOptions
  readonly trustScope: TrustScope
  readonly signal?: AbortSignal | undefined
}

/** Opens a WebSocket; rejects with SocketOpenError. */
export type OpenSocket = (url: string, options: OpenSocketOptions) => Promise<DataSocket>

/** The socket did not open. */
export class SocketOpenError extends Error {
  override readonly name = 'SocketOpenError'
  readonly failure: NetworkFailure
  readonly systemCode: string | undefined
  /** HTTP status, where the other side answered the upgrade with something else than 101. */
  readonly status: number | undefined

  constructor(failure: NetworkFailure, facts: { systemCode?: string | undefined; status?: number | undefined } = {}) {
    super(`socket did not open: ${failure}`)
    this.failure = failure
    this.systemCode = facts.systemCode
    this.status = facts.status
  }
}

/** What differs between Node and browsers. */
export interface Platform {
  readonly name: 'node' | 'browser'
  readonly openSocket: OpenSocket
  /** A fetch that trusts what `trust` says. */
  makeFetch(trust: TrustOptions): typeof fetch
  /** Sorts the reason of a failed fetch. */
  networkFailureOf(error: unknown): { failure: NetworkFailure; systemCode?: string | undefined }
}
