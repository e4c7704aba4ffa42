import { WireError } from '../errors.ts'
import { CredSspError } from './errors.ts'
import { ntStatusReason } from './nt-status.ts'
import { NtlmClient } from './ntlm-client.ts'
import { clientPublicKeyProof, isServerPublicKeyProof } from './public-key-binding.ts'
import type { SecurityContext } from './security-context.ts'
import { MECHANISM, SpnegoClient } from './spnego.ts'
import { encodeTsCredentials } from './ts-credentials.ts'
import { decodeTsRequest, encodeTsRequest, type TsRequest, tsRequestSize } from './ts-request.ts'

/** The highest version this client speaks. Spec: [MS-CSSP] §2.2.1. */
export const CREDSSP_VERSION = 6
const CLIENT_NONCE_BYTES = 32
/** No mechanism needs more; a server that keeps asking is ended. */
const MAX_NEGOTIATION_ROUNDS = 8
const MAX_NAME_UNITS = 1024
const MAX_PASSWORD_BYTES = 4096

export interface CredSspOptions {
  readonly username: string
  readonly domain: string
  /** UTF-16LE; zeroed by the caller, who keeps it until the client is done or destroyed. */
  readonly password: Uint8Array
  /** Content of the subjectPublicKey BIT STRING of the certificate in the TLS connection, see `subjectPublicKeyOf`. */
  readonly serverPublicKey: Uint8Array
  /** RFC 5929 tls-server-end-point hash of that certificate, see `tlsServerEndPointOf`. */
  readonly channelBindings?: Uint8Array
  /** 'TERMSRV/<host>'. */
  readonly targetName: string
  readonly workstation: string
  readonly random: (size: number) => Uint8Array
  /** 100 ns units since 1601; used when the server sends no timestamp. */
  readonly nowFileTime: bigint
  /** The lowest version a server may speak. Default 2; below 5 the binding to its key has no nonce (CVE-2018-0886). */
  readonly minimumVersion?: number
  /** The version this client offers. Default 6; lower ones are for servers that choke on it. */
  readonly offeredVersion?: number
  /**
   * How the NTLM messages travel in negoTokens. Default 'ntlm', as they are: what Windows clients send without
   * Kerberos, and the only form FreeRDP 2 servers read. 'spnego' wraps them (RFC 4178).
   */
  readonly negotiation?: 'ntlm' | 'spnego'
}

export type CredSspState = 'initial' | 'negotiating' | 'verifying-server' | 'done' | 'failed' | 'destroyed'

export interface CredSspStep {
  readonly send: readonly Uint8Array[]
  readonly done: boolean
}

/**
 * The client side of CredSSP, inside a TLS connection that the caller owns.
 *
 * Spec: [MS-CSSP] §3.1.5. INVARIANT: the password leaves this object once, sealed, and only after the server's
 * pubKeyAuth has verified against `serverPublicKey`.
 * Throws CredSspError from `frameSize` and `step`; after one the state is 'failed' and every key is zeroed.
 */
export class CredSspClient {
  readonly #options: CredSspOptions
  readonly #context: SecurityContext
  readonly #clientNonce: Uint8Array
  #state: CredSspState = 'initial'
  #serverVersion: number | undefined
  #rounds = 0

  constructor(options: CredSspOptions) {
    checkOptions(options)
    this.#options = options
    const random = exactly(options.random)
    const ntlm = new NtlmClient({ ...options, random })
    this.#context = options.negotiation === 'spnego' ? new SpnegoClient(MECHANISM.NTLMSSP, ntlm) : ntlm
    this.#clientNonce = Uint8Array.from(random(CLIENT_NONCE_BYTES))
  }

  get state(): CredSspState {
    return this.#state
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  /** The version both sides speak, once the server has spoken. */
  get version(): number | undefined {
    return this.#serverVersion === undefined ? undefined : Math.min(this.#serverVersion, this.#offeredVersion)
  }

  /** The first TSRequest. */
  start(): Uint8Array {
    if (this.#state !== 'initial') throw new TypeError('client has been started before')
    this.#state = 'negotiating'
    return this.#request({ negoToken: this.#context.initiate() })
  }

  /** Size in bytes of the next TSRequest, at most 64 KiB, or undefined while `buffered` cannot tell. */
  frameSize(buffered: Uint8Array): number | undefined {
    return this.#guard(() => tsRequestSize(buffered))
  }

  /**
   * Consumes exactly one TSRequest. A client that is done still takes the error that a server sends when it refuses
   * the delegated password.
   */
  step(frame: Uint8Array): CredSspStep {
    if (!['negotiating', 'verifying-server', 'done'].includes(this.#state)) {
      throw new TypeError('client does not expect a message')
    }
    return this.#guard(() => {
      const request = decodeTsRequest(frame)
      this.#checkVersion(request.version)
      if (request.errorCode !== undefined && request.errorCode !== 0) throw serverError(request.errorCode)
      if (this.#state === 'negotiating') return this.#negotiate(request)
      if (this.#state === 'verifying-server') return this.#delegate(request)
      throw new CredSspError('ERR_CREDSSP_UNEXPECTED_MESSAGE', 'server sent a message after the end')
    })
  }

  /**
   * What it means that the server closed or reset the connection now, or sent a TLS alert.
   *
   * Servers of version 2 and 5, and FreeRDP 2, say only by this that the password is wrong, or that they see another
   * TLS key than the client; the two cannot be told apart from here.
   */
  peerClosed(): CredSspError {
    const error =
      this.#state === 'verifying-server'
        ? new CredSspError('ERR_CREDSSP_LOGON_FAILED', 'server closed the connection on the proof of password and key')
        : new CredSspError('ERR_CREDSSP_PEER_CLOSED', 'server closed the connection during the logon')
    this.#fail()
    return error
  }

  /** Zeroes the keys. */
  destroy(): void {
    this.#state = 'destroyed'
    this.#context.destroy()
    this.#clientNonce.fill(0)
  }

  #negotiate(request: TsRequest): CredSspStep {
    const { negoToken, pubKeyAuth, authInfo } = request
    this.#rounds++
    if (negoToken === undefined || pubKeyAuth !== undefined || authInfo !== undefined) throw unexpected()
    if (this.#rounds > MAX_NEGOTIATION_ROUNDS) throw unexpected()
    const answer = this.#context.respond(negoToken)
    if (!this.#context.established) {
      if (answer === undefined) throw unexpected()
      return { send: [this.#request({ negoToken: answer })], done: false }
    }
    const binding = this.#binding()
    const next = this.#request({
      ...(answer && { negoToken: answer }),
      pubKeyAuth: this.#context.seal(clientPublicKeyProof(binding)),
      ...(binding.version >= 5 && { clientNonce: this.#clientNonce }),
    })
    this.#state = 'verifying-server'
    return { send: [next], done: false }
  }

  #delegate(request: TsRequest): CredSspStep {
    const { negoToken, pubKeyAuth, authInfo } = request
    if (pubKeyAuth === undefined || authInfo !== undefined) throw unexpected()
    this.#context.finish(negoToken)
    if (!isServerPublicKeyProof(this.#binding(), this.#context.unseal(pubKeyAuth))) {
      throw new CredSspError('ERR_CREDSSP_PUBLIC_KEY_MISMATCH', 'server proved another public key than that of its TLS')
    }
    const credentials = encodeTsCredentials(this.#options)
    try {
      const authInfo = this.#context.seal(credentials)
      this.#state = 'done'
      return { send: [this.#request({ authInfo })], done: true }
    } finally {
      credentials.fill(0)
      this.#context.destroy()
    }
  }

  get #offeredVersion(): number {
    return this.#options.offeredVersion ?? CREDSSP_VERSION
  }

  /** The same version in every message: a server ends the logon when it changes. */
  #request(fields: Omit<TsRequest, 'version'>): Uint8Array {
    return encodeTsRequest({ version: this.#offeredVersion, ...fields })
  }

  #binding() {
    const { serverPublicKey } = this.#options
    return { version: this.version ?? 0, clientNonce: this.#clientNonce, serverPublicKey }
  }

  #checkVersion(version: number): void {
    const minimum = this.#options.minimumVersion ?? 2
    // A version that changes in between is somebody switching the binding off after the fact.
    if (version < minimum || (this.#serverVersion !== undefined && this.#serverVersion !== version)) {
      throw new CredSspError('ERR_CREDSSP_VERSION', 'server speaks a version that the policy refuses')
    }
    this.#serverVersion = version
  }

  /** Every failure ends the logon and zeroes the keys; every error that leaves is a CredSspError. */
  #guard<T>(action: () => T): T {
    try {
      return action()
    } catch (error) {
      this.#fail()
      if (!(error instanceof WireError)) throw error
      throw new CredSspError('ERR_CREDSSP_MALFORMED_MESSAGE', 'server sent a malformed message', { cause: error })
    }
  }

  #fail(): void {
    this.destroy()
    this.#state = 'failed'
  }
}

/** A source that gives fewer bytes than asked for would make keys with zeros in them. */
function exactly(random: CredSspOptions['random']): CredSspOptions['random'] {
  return size => {
    const bytes = random(size)
    if (bytes.length !== size) throw new TypeError('random source gave another number of bytes')
    return bytes
  }
}

function serverError(ntStatus: number): CredSspError {
  return new CredSspError(ntStatusReason(ntStatus).code, 'server refused the logon', { ntStatus })
}

function unexpected(): CredSspError {
  return new CredSspError('ERR_CREDSSP_UNEXPECTED_MESSAGE', 'server sent a message that does not fit the state')
}

function checkOptions(options: CredSspOptions): void {
  const { username, domain, targetName, workstation, password, serverPublicKey } = options
  const { minimumVersion = 2, offeredVersion = CREDSSP_VERSION } = options
  for (const name of [username, domain, targetName, workstation]) {
    if (name.length > MAX_NAME_UNITS || !name.isWellFormed()) throw new TypeError('name is too long or not Unicode')
  }
  // An empty user name would ask for an anonymous logon.
  if (username === '') throw new TypeError('user name is empty')
  if (password.length > MAX_PASSWORD_BYTES || password.length % 2 !== 0) throw new TypeError('password is not UTF-16LE')
  if (serverPublicKey.length === 0) throw new TypeError('public key is empty')
  if (!(2 <= minimumVersion && minimumVersion <= offeredVersion && offeredVersion <= CREDSSP_VERSION)) {
    throw new TypeError('versions are not 2 to 6')
  }
}
