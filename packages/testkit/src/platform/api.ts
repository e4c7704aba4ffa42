import { Agent, request } from 'node:https'
import { CompactEncrypt, importJWK, type JWK } from 'jose'
import { TestkitError } from '../errors.ts'

const REQUEST_TIMEOUT_MS = 35_000

export interface ApiAnswer<T = unknown> {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: T
}

export interface ApiRequest {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Default the token of `login`; null for none. */
  readonly token?: string | null
}

export interface Credential {
  readonly username: string
  readonly password: string
  readonly domain?: string
}

/**
 * The public API of the control plane as plain requests over verified TLS.
 *
 * It knows no answer's shape and hides no status, so that tests can send what the SDK would never send.
 */
export class PlatformApi {
  readonly baseUrl: string
  readonly #caPem: () => string
  #agent: Agent
  #token: string | undefined

  /** `caPem` is asked before each request: what a platform trusts may change while it runs. */
  constructor(baseUrl: string, caPem: string | (() => string)) {
    this.baseUrl = baseUrl
    this.#caPem = typeof caPem === 'string' ? () => caPem : caPem
    this.#agent = new Agent({ ca: this.#caPem(), keepAlive: true })
  }

  #agentOfNow(): Agent {
    const ca = this.#caPem()
    if (this.#agent.options.ca !== ca) {
      this.#agent.destroy()
      this.#agent = new Agent({ ca, keepAlive: true })
    }
    return this.#agent
  }

  /** Sends one request; every status is an answer. */
  send<T = unknown>(method: string, path: string, options: ApiRequest = {}): Promise<ApiAnswer<T>> {
    const body = options.body === undefined ? undefined : JSON.stringify(options.body)
    const token = options.token === undefined ? this.#token : options.token
    const headers = {
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      ...(token === undefined || token === null ? {} : { authorization: `Bearer ${token}` }),
      ...options.headers,
    }
    return new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, this.baseUrl),
        { method, headers, agent: this.#agentOfNow() },
        incoming => {
          const chunks: Buffer[] = []
          incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
          incoming.on('error', reject)
          incoming.on('end', () => {
            const text = Buffer.concat(chunks).toString('utf8')
            const isJson = /\bjson\b/.test(incoming.headers['content-type'] ?? '')
            const answer = isJson && text !== '' ? JSON.parse(text) : text
            resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: answer as T })
          })
        },
      )
      outgoing.setTimeout(REQUEST_TIMEOUT_MS, () => outgoing.destroy(new Error('the API does not answer')))
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }

  /** Like `send`; throws TestkitError COMMAND_FAILED for every status but 2xx. */
  async call<T = unknown>(method: string, path: string, options: ApiRequest = {}): Promise<T> {
    const { status, body } = await this.send<T>(method, path, options)
    if (status >= 200 && status < 300) return body
    throw new TestkitError('ERR_TESTKIT_COMMAND_FAILED', `${method} ${path} was answered with ${status}`, {
      output: JSON.stringify(body),
    })
  }

  /** Logs in; later requests carry this token. */
  async login(email: string, password: string): Promise<string> {
    const grant = await this.call<{ access_token: string }>('POST', '/v1/auth/login', {
      body: { email, password },
      token: null,
    })
    this.#token = grant.access_token
    return grant.access_token
  }

  /** Seals a credential to the resolver's key (RFC 7516) and stores it as the secret of a resource. */
  async writeSecret(resource: { id: string; organization_id: string }, credential: Credential): Promise<unknown> {
    const key = await this.call<JWK>('GET', '/v1/secret-sealing-key')
    const payload = { version: 1, protocol: 'rdp', ...credential }
    const sealed = await new CompactEncrypt(Buffer.from(JSON.stringify(payload)))
      .setProtectedHeader({
        alg: 'ECDH-ES+A256KW',
        enc: 'A256GCM',
        kid: key.kid ?? '',
        typ: 'rap-secret+jwe',
        organization_id: resource.organization_id,
        resource_id: resource.id,
      })
      .encrypt(await importJWK(key, 'ECDH-ES+A256KW'))
    return this.call('PUT', `/v1/resources/${resource.id}/secret`, { body: { sealed } })
  }

  close(): void {
    this.#agent.destroy()
  }
}
