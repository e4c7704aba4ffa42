import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { problems } from '../errors.ts'
import { Uuid } from '../http/schemas.ts'
import type { SecretPlace } from './resolver.ts'

/** Longest sealed secret that is taken, in characters: the resolver's bound of 8 KiB payload in base64url, and headers. */
export const MAX_SEALED_CHARACTERS = 12 * 1024

const COMPACT = /^[A-Za-z0-9_-]{1,2048}(\.[A-Za-z0-9_-]*){4}$/

/** What the control plane reads of a sealed secret: its protected header says what it is and where it belongs. */
const SealHeader = Type.Object({
  alg: Type.Literal('ECDH-ES+A256KW'),
  enc: Type.Literal('A256GCM'),
  typ: Type.Literal('rap-secret+jwe'),
  kid: Type.String({ minLength: 1, maxLength: 128 }),
  organization_id: Uuid,
  resource_id: Uuid,
})

/**
 * Refuses early what the resolver would refuse anyway: a text that is no JWE (RFC 7516 §7.1), above all a secret that
 * somebody forgot to seal, and one that is sealed for another place. Throws ProblemError ERR_SECRET_SEAL_INVALID.
 */
export function checkSealed(sealed: string, place: SecretPlace): void {
  const header = readHeader(sealed)
  if (header === undefined) throw problems.ERR_SECRET_SEAL_INVALID({ facts: { rule: 'header' } })
  if (header.organization_id !== place.organizationId || header.resource_id !== place.resourceId) {
    throw problems.ERR_SECRET_SEAL_INVALID({
      detail: 'It is sealed for another resource',
      facts: { rule: 'misdirected' },
    })
  }
}

function readHeader(sealed: string): Static<typeof SealHeader> | undefined {
  if (sealed.length > MAX_SEALED_CHARACTERS || !COMPACT.test(sealed)) return undefined
  try {
    const header: unknown = JSON.parse(Buffer.from(sealed.split('.', 1)[0] ?? '', 'base64url').toString('utf8'))
    return Value.Check(SealHeader, header) ? header : undefined
  } catch {
    return undefined
  }
}
