import type { KeyObject } from 'node:crypto'
import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { compactDecrypt, decodeProtectedHeader } from 'jose'

/** RFC 7518 §4.6 and §5.3: the only algorithms of a sealed secret; nothing in it can choose others. */
export const SEAL_ALG = 'ECDH-ES+A256KW'
export const SEAL_ENC = 'A256GCM'
export const SEAL_TYP = 'rap-secret+jwe'

/** Longest sealed secret, in characters: 8 KiB of payload (`MAX_PAYLOAD_BYTES`) in base64url, and what stands around it. */
export const MAX_SEALED_CHARACTERS = 12 * 1024

const Uuid = Type.String({ pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' })
const Coordinate = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })

/** The protected header, closed: no `zip`, no `crit`, no key by reference. */
const SealHeader = Type.Object(
  {
    alg: Type.Literal(SEAL_ALG),
    enc: Type.Literal(SEAL_ENC),
    typ: Type.Literal(SEAL_TYP),
    kid: Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' }),
    organization_id: Uuid,
    resource_id: Uuid,
    epk: Type.Object(
      { kty: Type.Literal('EC'), crv: Type.Literal('P-256'), x: Coordinate, y: Coordinate },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
)
export type SealHeader = Static<typeof SealHeader>

export type SealRule = 'too_large' | 'malformed' | 'header' | 'misdirected' | 'unknown_key' | 'does_not_open'

/** A sealed secret that is not taken. INVARIANT: no byte of it, sealed or open, is in the error. */
export class SealError extends Error {
  override readonly name = 'SealError'
  readonly code = 'ERR_SEALED_SECRET_REFUSED'
  readonly rule: SealRule

  constructor(rule: SealRule) {
    super('sealed secret is refused')
    this.rule = rule
  }
}

export interface SealDestination {
  readonly organizationId: string
  readonly resourceId: string
  /** The private key of a `kid`, or undefined where that key opens nothing (any more). */
  readonly privateKeyOf: (kid: string) => Promise<KeyObject | undefined>
}

/**
 * Opens a sealed secret (RFC 7516 compact serialization) that is meant for this organization and this resource.
 *
 * The header names both and is authenticated with the content, so a sealed blob cannot be moved to another resource.
 * The caller zeroes what it gets. Throws SealError; what the key lookup throws passes through.
 */
export async function openSealedSecret(sealed: string, destination: SealDestination): Promise<Uint8Array> {
  if (sealed.length > MAX_SEALED_CHARACTERS) throw new SealError('too_large')
  const header = readHeader(sealed)
  if (header.organization_id !== destination.organizationId || header.resource_id !== destination.resourceId) {
    throw new SealError('misdirected')
  }
  const privateKey = await destination.privateKeyOf(header.kid)
  if (privateKey === undefined) throw new SealError('unknown_key')
  try {
    const { plaintext } = await compactDecrypt(sealed, privateKey, {
      keyManagementAlgorithms: [SEAL_ALG],
      contentEncryptionAlgorithms: [SEAL_ENC],
      maxDecompressedLength: 0,
    })
    return plaintext
  } catch {
    // One answer for a wrong key, a changed byte and a point off the curve: none of them is worth telling apart.
    throw new SealError('does_not_open')
  }
}

function readHeader(sealed: string): SealHeader {
  const parts = sealed.split('.', 6)
  if (parts.length !== 5 || !parts.every(isBase64url)) throw new SealError('malformed')
  let header: unknown
  try {
    header = decodeProtectedHeader(sealed)
  } catch {
    throw new SealError('malformed')
  }
  if (!Value.Check(SealHeader, header)) throw new SealError('header')
  return header
}

/** One spelling only: no padding, no white space, no stray bits in the last character. */
function isBase64url(text: string): boolean {
  return text !== '' && Buffer.from(text, 'base64url').toString('base64url') === text
}
