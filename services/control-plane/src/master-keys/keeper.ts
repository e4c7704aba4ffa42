import type { Caller } from '../auth/caller.ts'
import type { ResolverClient } from '../secrets/resolver-client.ts'
import { MasterKeys, Retired, Rewrap, RewrapPlan, Rewraps, Rotated } from './schemas.ts'

/** The place of a key may be a device or a service far away, which the resolver asks meanwhile. In milliseconds. */
const KEY_TIMEOUT_MS = 30_000

/** What the control plane asks of the secret-resolver about master keys. No key material goes in or out. */
export interface MasterKeysPort {
  list(caller: Caller): Promise<MasterKeys>
  /** Throws ProblemError: the resolver's own ERR_MASTER_KEY_*, ERR_SECRET_RESOLVER_UNAVAILABLE; as all of these. */
  rotate(source: string, caller: Caller): Promise<Rotated>
  retire(keyId: string, caller: Caller): Promise<Retired>
  planRewrap(caller: Caller): Promise<RewrapPlan>
  listRewraps(caller: Caller): Promise<Rewraps>
  startRewrap(caller: Caller): Promise<Rewrap>
  readRewrap(id: string, caller: Caller): Promise<Rewrap>
}

/** The resolver itself. It writes the audit events of what it does and of what it refuses. */
export class HttpMasterKeys implements MasterKeysPort {
  readonly #client: ResolverClient

  constructor(client: ResolverClient) {
    this.#client = client
  }

  // Asks every configured source how it is.
  async list(caller: Caller): Promise<MasterKeys> {
    const timeoutMs = KEY_TIMEOUT_MS
    return await this.#client.ask(MasterKeys, { method: 'GET', path: '/v1/master-keys', caller, timeoutMs })
  }

  async rotate(source: string, caller: Caller): Promise<Rotated> {
    return await this.#client.ask(Rotated, {
      method: 'POST',
      path: '/v1/master-keys/rotate',
      body: { source },
      caller,
      timeoutMs: KEY_TIMEOUT_MS,
    })
  }

  async retire(keyId: string, caller: Caller): Promise<Retired> {
    const timeoutMs = KEY_TIMEOUT_MS
    return await this.#client.ask(Retired, {
      method: 'POST',
      path: `/v1/master-keys/${keyId}/retire`,
      caller,
      timeoutMs,
    })
  }

  async planRewrap(caller: Caller): Promise<RewrapPlan> {
    return await this.#client.ask(RewrapPlan, { method: 'GET', path: '/v1/rewraps/plan', caller })
  }

  async listRewraps(caller: Caller): Promise<Rewraps> {
    return await this.#client.ask(Rewraps, { method: 'GET', path: '/v1/rewraps', caller })
  }

  async startRewrap(caller: Caller): Promise<Rewrap> {
    const timeoutMs = KEY_TIMEOUT_MS
    return await this.#client.ask(Rewrap, { method: 'POST', path: '/v1/rewraps', caller, timeoutMs })
  }

  async readRewrap(id: string, caller: Caller): Promise<Rewrap> {
    return await this.#client.ask(Rewrap, { method: 'GET', path: `/v1/rewraps/${id}`, caller })
  }
}
