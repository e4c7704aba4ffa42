import type { TransactionSql } from '@rap/service-kit'
import { checkMetadata, type Metadata } from '../resources/metadata.ts'
import type { TargetIdentity } from './identity.ts'
import type { Fingerprints, PinKind } from './pins.ts'
import { pruneRetired, putPin, setMetadata } from './storage.ts'

/** A pin that is approved from now on, and what becomes of the others. */
export interface Rotation {
  readonly resource: { readonly id: string; readonly metadata: Metadata }
  readonly identity: TargetIdentity
  readonly pin: { readonly kind: PinKind; readonly sha256: string }
  readonly keepsOthers: boolean
  /** Null where a staged pin showed up. */
  readonly by: string | null
  /** Changes of the metadata that go with it. */
  readonly metadata?: Metadata
  readonly production: boolean
}

/**
 * Approves a pin; the approved ones before it are retired unless they are to be kept, those of the metadata included: what is not accepted
 * any more must not stay accepted in another place. Answers the SHA-256 of the retired.
 */
export async function rotateTo(tx: TransactionSql, rotation: Rotation): Promise<string[]> {
  const { resource, identity, pin, keepsOthers, by, metadata = {}, production } = rotation
  const isIt = (other: { kind: PinKind; sha256: string }): boolean =>
    other.kind === pin.kind && other.sha256 === pin.sha256
  const before = [
    ...identity.metadataPins.map(sha256 => ({ kind: 'certificate' as const, sha256 })),
    ...identity.pins.filter(({ state }) => state === 'approved'),
  ].filter(other => !isIt(other))
  const retired = keepsOthers ? [] : before
  for (const { kind, sha256 } of retired) {
    await putPin(tx, resource.id, { kind, sha256, state: 'retired', keepsOthers: false, by })
  }
  await putPin(tx, resource.id, { ...pin, state: 'approved', keepsOthers: false, by })
  await pruneRetired(tx, resource.id)
  const changed: Record<string, unknown> = { ...resource.metadata, ...metadata }
  if (!keepsOthers) delete changed.certificate_pins
  if (JSON.stringify(changed) !== JSON.stringify(resource.metadata)) {
    await setMetadata(tx, resource.id, checkMetadata(changed, { production }))
  }
  return retired.map(({ sha256 }) => sha256)
}

/** The facts of a certificate that the audit tells. */
export function auditFacts({ fingerprintSha256, spkiSha256 }: Fingerprints) {
  return { fingerprint_sha256: fingerprintSha256, spki_sha256: spkiSha256 }
}
