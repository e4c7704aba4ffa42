import { Type } from '@sinclair/typebox'
import { CompactEncrypt, importJWK } from 'jose'
import { RapError } from './errors.ts'
import { checked } from './shape.ts'

/** Largest secret payload, in bytes; the resolver refuses a larger one. */
const MAX_PAYLOAD_BYTES = 8 * 1024

const Coordinate = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })

/** Public key of the secret resolver (RFC 7517), as the control plane passes it on. */
export const SealingKey = Type.Object({
  kty: Type.Literal('EC'),
  crv: Type.Literal('P-256'),
  x: Coordinate,
  y: Coordinate,
  kid: Type.String({ minLength: 1, maxLength: 128 }),
  alg: Type.Literal('ECDH-ES+A256KW'),
  use: Type.Literal('enc'),
})

/** The credential of a target. */
export interface ResourceSecret {
  readonly username: string
  readonly domain?: string | undefined
  readonly password: string
}

/** Where a sealed secret belongs; it opens nowhere else. */
export interface SealingPlace {
  readonly organizationId: string
  readonly resourceId: string
}

/**
 * Seals a credential to the resolver's key (RFC 7516 compact, ECDH-ES+A256KW, A256GCM): whoever passes it on cannot open it.
 * The place is in the protected header, so that a sealed credential cannot be moved to another resource.
 * Throws RapError ERR_RESPONSE_INVALID for a key that is not of this kind, ERR_OPTION_INVALID for a payload over the bound.
 */
export async function sealSecret(sealingKey: unknown, place: SealingPlace, secret: ResourceSecret): Promise<string> {
  const jwk = checked(SealingKey, sealingKey, 'a sealing key')
  const { username, domain, password } = secret
  const payload = {
    version: 1,
    protocol: 'rdp',
    username,
    ...(domain !== undefined && domain !== '' && { domain }),
    password,
  }
  const plaintext = new TextEncoder().encode(JSON.stringify(payload))
  try {
    if (plaintext.length > MAX_PAYLOAD_BYTES) throw new RapError('ERR_OPTION_INVALID', 'secret is over the bound')
    return await new CompactEncrypt(plaintext)
      .setProtectedHeader({
        alg: 'ECDH-ES+A256KW',
        enc: 'A256GCM',
        kid: jwk.kid,
        typ: 'rap-secret+jwe',
        organization_id: place.organizationId,
        resource_id: place.resourceId,
      })
      .encrypt(await importJWK(jwk, 'ECDH-ES+A256KW'))
  } finally {
    plaintext.fill(0)
  }
}
