import type { NetworkFailure } from '../errors.ts'

/**
 * Whose certificates a connection accepts: `default` are the platform's own and some more, `system` the platform's own, `only`
 * these and no other, `unchecked` whatever is shown. A browser knows the user's own alone, whatever stands here.
 */
export type Authorities =
  | { readonly kind: 'default'; readonly more: readonly string[] }
  | { readonly kind: 'system' }
  | { readonly kind: 'only'; readonly pem: readonly string[]; readonly bundle?: string }
  | { readonly kind: 'unchecked' }

/** A trust bundle whose signature, and whose way from the first one, has been verified. */
export interface HeldBundle {
  readonly bundle: { readonly ref: string; readonly version: number; readonly certificates: readonly string[] }
  readonly sha256: string
  readonly signed: unknown
  readonly pem: string
}

/** Keeps signed bundles between runs. What it gives back is never believed: it is verified like an answer from the network. */
export interface TrustStore {
  /** What was saved last under a bundle's name; undefined where nothing was. */
  load(name: string): Promise<string | undefined>
  save(name: string, text: string): Promise<void>
}

/** What checks trust bundles; browsers have none. */
export interface BundleTools {
  /** Verifies a bundle by its own roots, and against a SHA-256 (base64url, of the payload) where one is known. */
  first(document: unknown, expected: { sha256?: string }): Promise<HeldBundle>
  /** Verifies the successor of a bundle by the roots that are held. */
  next(held: HeldBundle, document: unknown): Promise<HeldBundle>
  parseRef(ref: string): { name: string; version: number } | undefined
  /** SHA-256 of each CA certificate in a PEM text, sorted. Throws where there is none, or something else. */
  fingerprintsOf(pem: string): string[]
  openFileStore(directory: string): TrustStore
}

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
  readonly authorities: Authorities
  /** The connection will send files; default false. */
  readonly sendsFiles?: boolean | undefined
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

/** SHA-256 (FIPS 180-4) of bytes that come piece by piece. */
export interface RunningSha256 {
  update(bytes: Uint8Array): void
  /** Of everything so far, lower-case hexadecimal; more may follow. */
  hex(): string
}

/** What differs between Node and browsers. */
export interface Platform {
  readonly name: 'node' | 'browser'
  readonly openSocket: OpenSocket
  /** A fetch that accepts the platform's own authorities and those that `more` names at that time. */
  makeFetch(more: () => readonly string[]): typeof fetch
  /** Sorts the reason of a failed fetch. */
  networkFailureOf(error: unknown): { failure: NetworkFailure; systemCode?: string | undefined }
  newSha256(): RunningSha256
  /** Undefined where certificates are the user's business, as in a browser. */
  readonly bundles: BundleTools | undefined
}
