import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { ProblemError } from '../errors.ts'
import { type InternalAgent, internalAgent } from '../internal-agent.ts'
import { InternalClient } from '../internal-client.ts'
import type { Logger } from '../log.ts'
import { IdentityError } from './identity-error.ts'
import type { IdentityMaterial } from './platform-identity.ts'

/** Longest chain that is taken, in characters of PEM: fits the room that is kept for it on the disk. */
const MAX_CHAIN_CHARACTERS = 24 * 1024

/** What an enrolment and a renewal answer, as far as it is used: everything else follows from the certificate. */
export const IssuedAnswer = Type.Object({
  kind: Type.String({ maxLength: 16 }),
  id: Type.String({ maxLength: 128 }),
  certificate: Type.String({ minLength: 1, maxLength: MAX_CHAIN_CHARACTERS }),
})
export type IssuedAnswer = Static<typeof IssuedAnswer>

const IdentityStatus = Type.Object({
  trust_bundle_version: Type.Integer({ minimum: 0 }),
  renew_now: Type.Boolean(),
})
export type IdentityStatus = Static<typeof IdentityStatus>

/** A published trust bundle; `signed` is null where the CA is not managed by the control plane. */
export const PublishedBundle = Type.Object({ version: Type.Integer({ minimum: 0 }), signed: Type.Unknown() })
export type PublishedBundle = Static<typeof PublishedBundle>

/** What the control plane says to a holder that it has turned away, and what that means for people. */
const REVOKED: Readonly<Record<string, string>> = {
  __proto__: null as never,
  ERR_WORKER_REVOKED: 'revoked by the control plane; this machine can join again as a new worker',
  ERR_IDENTITY_REVOKED: 'revoked by the control plane',
  ERR_CERTIFICATE_REVOKED:
    'the certificate was revoked by the control plane; empty RAP_IDENTITY_DIR and put a new join token into RAP_JOIN_TOKEN_FILE',
}

/** The control plane's word that this identity, or its certificate, has been taken back; undefined for every other error. */
export function revocationOf(error: unknown): string | undefined {
  return error instanceof ProblemError && error.status === 403 ? REVOKED[error.code] : undefined
}

/** An answer in form; throws IdentityError UNREACHABLE for anything else. */
export function answerOf<T extends typeof IssuedAnswer | typeof IdentityStatus | typeof PublishedBundle>(
  schema: T,
  answer: unknown,
): Static<T> {
  if (Value.Check(schema, answer)) return answer
  throw new IdentityError('ERR_IDENTITY_UNREACHABLE', 'the control plane gave an answer out of form')
}

export interface IdentityClientOptions {
  readonly baseUrl: string
  readonly trustDomain: string
  readonly material: IdentityMaterial
  readonly logger: Logger
}

/** What the holder of a certificate asks the control plane for, over mutual TLS with that certificate. */
export class IdentityClient {
  readonly #agent: InternalAgent
  readonly #client: InternalClient

  constructor({ baseUrl, trustDomain, material, logger }: IdentityClientOptions) {
    this.#agent = internalAgent({ ...material, trustDomain, expectedIdentity: 'service/control-plane' })
    this.#client = new InternalClient({ baseUrl, agent: this.#agent, logger })
  }

  async status(): Promise<IdentityStatus> {
    return answerOf(IdentityStatus, await this.#client.request({ method: 'GET', path: '/internal/v1/identity' }))
  }

  /** Not repeated by itself: each answer is a certificate. */
  async renew(csrPem: string): Promise<IssuedAnswer> {
    const path = '/internal/v1/identity/certificates'
    return answerOf(IssuedAnswer, await this.#client.request({ method: 'POST', path, body: { csr: csrPem } }))
  }

  /** The signed bundle of one version. */
  async trustBundle(version: number): Promise<unknown> {
    const path = `/internal/v1/trust-bundles/${version}`
    return answerOf(PublishedBundle, await this.#client.request({ method: 'GET', path })).signed
  }

  setTls(material: IdentityMaterial): void {
    this.#agent.setTls(material)
  }

  close(): void {
    void this.#agent.destroy()
  }
}
