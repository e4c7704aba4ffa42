import { createHash, randomUUID, webcrypto } from 'node:crypto'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { DEFAULT_LIMITS } from '@rap/session-policy'
import {
  type AssignmentClaims,
  jwkThumbprint,
  publicJwkOf,
  type SigningKey,
  signToken,
  type UnsignedClaims,
} from '@rap/token-claims'
import { exportJWK, exportSPKI, SignJWT } from 'jose'

export const ISSUER = 'https://rap.internal/control-plane'

export const nowSeconds = (): number => Math.floor(Date.now() / 1000)
export const newJti = (): string => randomUUID().replaceAll('-', '')

export interface SigningSet {
  readonly key: SigningKey
  readonly publicPem: string
}

/** A signing key as the control plane has one. */
export async function signingSet(): Promise<SigningSet> {
  const { privateKey, publicKey } = await webcrypto.subtle.generateKey(
    { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: 'SHA-256' },
    true,
    ['sign', 'verify'],
  )
  const { kid } = await publicJwkOf(publicKey)
  return { key: { kid, privateKey }, publicPem: await exportSPKI(publicKey) }
}

/** One attachment as the control plane has written it down. */
export interface Place {
  readonly organization_id: string
  readonly resource_id: string
  readonly worker_id: string
  readonly session_id: string
  readonly attachment_id: string
}

export function newPlace(workerId: string): Place {
  return {
    organization_id: randomUUID(),
    resource_id: randomUUID(),
    worker_id: workerId,
    session_id: randomUUID(),
    attachment_id: randomUUID(),
  }
}

export interface SignChanges {
  readonly ageSeconds?: number
  readonly lifetimeSeconds?: number
  readonly issuer?: string
  readonly jti?: string
}

function signOptions({ key }: SigningSet, changes: SignChanges) {
  return {
    key,
    issuer: changes.issuer ?? ISSUER,
    jti: changes.jti ?? newJti(),
    nowSeconds: nowSeconds() - (changes.ageSeconds ?? 0),
    lifetimeSeconds: changes.lifetimeSeconds ?? 60,
  }
}

export async function leaseTokenFor(signing: SigningSet, place: Place, leaseId: string): Promise<string> {
  return await signToken(
    'lease',
    { ...place, lease_id: leaseId, secret_ref: null, cnf: { 'x5t#S256': 'A'.repeat(43) } },
    signOptions(signing, {}),
  )
}

export type AssignmentChanges = Partial<UnsignedClaims<'assignment'>>

/** A whole signed assignment. */
export async function assignmentFor(
  signing: SigningSet,
  place: Place,
  target: AssignmentClaims['target'],
  { claims = {}, sign = {} }: { readonly claims?: AssignmentChanges; readonly sign?: SignChanges } = {},
): Promise<{ readonly jws: string; readonly leaseId: string; readonly assignmentId: string }> {
  const leaseId = claims.lease_id ?? randomUUID()
  const assignmentId = claims.assignment_id ?? randomUUID()
  const jws = await signToken(
    'assignment',
    {
      ...place,
      assignment_id: assignmentId,
      user_id: randomUUID(),
      lease_id: leaseId,
      lease_token: await leaseTokenFor(signing, place, leaseId),
      secret_ref: null,
      limits: DEFAULT_LIMITS,
      allowed_channels: ['display', 'input'],
      bind_urls: [`wss://localhost${DATA_PLANE_PATH}`],
      target,
      ...claims,
    },
    signOptions(signing, sign),
  )
  return { jws, leaseId, assignmentId }
}

/** The key of one client, and the tokens and proofs that go with it. */
export class ClientKey {
  readonly jkt: string
  readonly #jwk: { readonly kty: string; readonly crv: string; readonly x: string; readonly y: string }
  readonly #privateKey: webcrypto.CryptoKey

  private constructor(jkt: string, jwk: ClientKey['publicJwk'], privateKey: webcrypto.CryptoKey) {
    this.jkt = jkt
    this.#jwk = jwk
    this.#privateKey = privateKey
  }

  static async make(): Promise<ClientKey> {
    const pair = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
    const { kty = '', crv = '', x = '', y = '' } = await exportJWK(pair.publicKey)
    const jwk = { kty, crv, x, y }
    return new ClientKey(await jwkThumbprint(jwk), jwk, pair.privateKey)
  }

  get publicJwk() {
    return this.#jwk
  }

  async token(
    signing: SigningSet,
    place: Place,
    changes: SignChanges & { readonly claims?: Partial<UnsignedClaims<'data_plane'>> } = {},
  ): Promise<string> {
    const { organization_id, resource_id, worker_id, session_id, attachment_id } = place
    return await signToken(
      'data_plane',
      {
        ...{ organization_id, resource_id, worker_id, session_id, attachment_id },
        sub: randomUUID(),
        allowed_channels: ['display', 'input'],
        cnf: { jkt: this.jkt },
        ...changes.claims,
      },
      signOptions(signing, changes),
    )
  }

  async proof(token: string, htu: string, changes: { readonly ageSeconds?: number } = {}): Promise<string> {
    const ath = createHash('sha256').update(token).digest('base64url')
    return await new SignJWT({ jti: newJti(), iat: nowSeconds() - (changes.ageSeconds ?? 0), htm: 'GET', htu, ath })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: this.#jwk })
      .sign(this.#privateKey)
  }
}
