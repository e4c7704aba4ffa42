import { getCACertificates } from 'node:tls'
import { type Dispatcher, Pool } from 'undici'

/** Largest answer in bytes. Transit's largest is a key with all its versions, some kilobytes. */
export const MAX_ANSWER_BYTES = 64 * 1024
const CONNECTIONS = 16

export interface VaultRequest {
  readonly method: 'GET' | 'POST'
  /** Behind `/v1/`; every part of it is checked by the options' schema. */
  readonly path: string
  readonly body?: Buffer
}

export interface VaultAnswer {
  readonly status: number
  /** Seconds, where the server says when to come again. */
  readonly retryAfterSeconds: number | undefined
  /** Where a redirection leads to. */
  readonly location: string | undefined
  /** The reader zeroes it. */
  readonly body: Buffer
}

/** The exchange did not come to an answer. */
export class ExchangeFailure extends Error {
  /** The runtime's code, such as ECONNREFUSED; never a text of the peer. */
  readonly causeCode: string
  readonly reason: 'timeout' | 'not_reachable' | 'tls' | 'answer'

  constructor(reason: ExchangeFailure['reason'], causeCode: string) {
    super('no answer')
    this.reason = reason
    this.causeCode = causeCode
  }
}

export interface VaultConnectionOptions {
  readonly origin: string
  readonly namespace: string | undefined
  /** Trusted authorities in PEM; the system's store when absent. */
  readonly ca: Buffer | undefined
}

/** The connections to one server: TLS verified, redirections not followed, answers bounded. */
export class VaultConnection {
  readonly origin: string
  readonly #namespace: string | undefined
  readonly #pool: Pool

  constructor({ origin, namespace, ca }: VaultConnectionOptions) {
    this.origin = origin
    this.#namespace = namespace
    this.#pool = new Pool(origin, {
      connections: CONNECTIONS,
      pipelining: 1,
      keepAliveTimeout: 10_000,
      keepAliveMaxTimeout: 60_000,
      connect: { ca: ca ?? systemAuthorities(), rejectUnauthorized: true, minVersion: 'TLSv1.2' },
    })
  }

  /** One request, one answer. Throws ExchangeFailure. */
  async send(request: VaultRequest, token: Buffer | undefined, timeoutMs: number): Promise<VaultAnswer> {
    const signal = AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs)))
    try {
      const answer = await this.#pool.request({
        method: request.method,
        path: `/v1/${request.path}`,
        headers: this.#headers(request, token),
        ...(request.body === undefined ? {} : { body: request.body }),
        signal,
        // The signal is the limit.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      return {
        status: answer.statusCode,
        retryAfterSeconds: secondsOf(answer.headers['retry-after']),
        location: textOf(answer.headers.location),
        body: await readBounded(answer.body),
      }
    } catch (error) {
      if (error instanceof ExchangeFailure) throw error
      // The error itself is dropped: what it holds is the runtime's choice, and the request held a credential.
      throw failureOf(error, signal.aborted)
    }
  }

  /** Ends every connection and every request under way. */
  destroy(): void {
    void this.#pool.destroy().catch(() => {})
  }

  #headers(request: VaultRequest, token: Buffer | undefined): Record<string, string> {
    return {
      accept: 'application/json',
      // A request that a browser or a careless proxy was led into sending has no such header, and is refused.
      'x-vault-request': 'true',
      ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(this.#namespace === undefined ? {} : { 'x-vault-namespace': this.#namespace }),
      // undici takes headers as strings only.
      ...(token === undefined ? {} : { 'x-vault-token': token.toString('latin1') }),
    }
  }
}

async function readBounded(body: Dispatcher.ResponseData['body']): Promise<Buffer> {
  const buffer = Buffer.alloc(MAX_ANSWER_BYTES)
  let size = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      // Leaving the loop destroys the stream and with it the connection.
      if (size + chunk.length > buffer.length) throw new ExchangeFailure('answer', 'too_large')
      chunk.copy(buffer, size)
      chunk.fill(0)
      size += chunk.length
    }
    return Buffer.from(buffer.subarray(0, size))
  } finally {
    buffer.fill(0, 0, size)
  }
}

function failureOf(error: unknown, isTimeLimit: boolean): ExchangeFailure {
  const { code } = (error ?? {}) as { code?: unknown }
  const causeCode = typeof code === 'string' && /^[A-Z0-9_]{1,64}$/.test(code) ? code : 'unknown'
  if (isTimeLimit || causeCode.endsWith('TIMEOUT') || causeCode === 'ETIMEDOUT') {
    return new ExchangeFailure('timeout', causeCode === 'unknown' ? 'time_limit' : causeCode)
  }
  if (isTlsCode(causeCode)) return new ExchangeFailure('tls', causeCode)
  if (causeCode.startsWith('HPE_')) return new ExchangeFailure('answer', causeCode)
  return new ExchangeFailure('not_reachable', causeCode)
}

/** Codes of node:tls and of OpenSSL's verification (X509_V_ERR_*, without that prefix). */
function isTlsCode(code: string): boolean {
  return /^(ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|HOSTNAME_MISMATCH|CRL_)/.test(
    code,
  )
}

function systemAuthorities(): string[] {
  const system = getCACertificates('system')
  return system.length > 0 ? system : getCACertificates('default')
}

function textOf(value: string | string[] | undefined): string | undefined {
  return typeof value === 'string' && value.length <= 2048 ? value : undefined
}

function secondsOf(value: string | string[] | undefined): number | undefined {
  return typeof value === 'string' && /^[0-9]{1,6}$/.test(value) ? Number(value) : undefined
}
