import type { Authority } from '@rap/pki'
import { CompactEncrypt, decodeJwt, importJWK, type JWK } from 'jose'
import { type Peer, type PeerAnswer, type PeerRequest, startPeer, type Teardown } from './peer.ts'

export interface AnswerChanges {
  readonly payload?: string | Uint8Array
  readonly header?: Readonly<Record<string, string>>
  /** Instead of the lease token's own. */
  readonly jti?: string
}

/** The canonical payload of an account. */
export function payloadOf(username: string, password: string): string {
  return JSON.stringify({ version: 1, protocol: 'rdp', username, password, rotation_version: 1 })
}

/** The secret resolver as a worker sees it, over real mutual TLS: whoever asks gets the account. */
export class ResolverPeer {
  payload: string = payloadOf('svc', 'secret')
  /** Answers in place of the resolver, where it answers. */
  intercept: (request: PeerRequest) => PeerAnswer | undefined | Promise<PeerAnswer | undefined> = () => undefined
  #peer: Peer | undefined

  static async start(t: Teardown, authority: Authority): Promise<ResolverPeer> {
    const resolver = new ResolverPeer()
    resolver.#peer = await startPeer(t, { authority, service: 'secret-resolver' }, async request => {
      const intercepted = await resolver.intercept(request)
      return intercepted ?? { body: { jwe: await resolver.seal(request.body) } }
    })
    return resolver
  }

  get peer(): Peer {
    if (this.#peer === undefined) throw new Error('not started')
    return this.#peer
  }

  /** The answer to a request, as the resolver would make it, or changed. */
  async seal(body: { lease_token: string; recipient_jwk: JWK }, changes: AnswerChanges = {}): Promise<string> {
    const jti = changes.jti ?? (decodeJwt(body.lease_token).jti as string)
    const payload = changes.payload ?? this.payload
    return await new CompactEncrypt(typeof payload === 'string' ? Buffer.from(payload) : payload)
      .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', typ: 'rap-credential+jwe', ...changes.header })
      .setKeyManagementParameters({ apv: Buffer.from(jti, 'ascii') })
      .encrypt(await importJWK(body.recipient_jwk, 'ECDH-ES'))
  }
}
