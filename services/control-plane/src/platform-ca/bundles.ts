import type { SigningAuthority } from '@rap/pki'
import type { TransactionSql } from '@rap/service-kit'
import {
  firstTrustBundle,
  nextTrustBundle,
  parseTrustBundleRef,
  signTrustBundle,
  trustBundleRef,
} from '@rap/trust-bundle'
import { type BundleRow, insertBundle } from './store.ts'

export interface NextBundle {
  /** The bundle that is in force; undefined for the first one. */
  readonly previous: BundleRow | undefined
  /** Roots of the new one, PEM. */
  readonly roots: readonly string[]
  /** A root of the bundle before, which clients hold; for the first bundle one of its own. */
  readonly signer: SigningAuthority
  readonly trustDomain: string
  /** Name of the first bundle's ref; later ones keep it. */
  readonly refName: string
  readonly now: Date
}

/** Signs and stores the next trust bundle. Throws TrustBundleError where it would not be one that a client takes. */
export async function publishBundle(tx: TransactionSql, next: NextBundle): Promise<Omit<BundleRow, 'created_at'>> {
  const { previous, roots, signer, trustDomain, now } = next
  const version = (previous?.version ?? 0) + 1
  const name = previous === undefined ? next.refName : (parseTrustBundleRef(previous.ref)?.name ?? next.refName)
  const signed = await signTrustBundle(
    {
      ref: trustBundleRef(name, version),
      version,
      trust_domain: trustDomain,
      certificates: [...roots],
      issued_at: now.toISOString(),
      previous_sha256: previous?.sha256 ?? null,
    },
    [signer],
  )
  // Read as a client reads it: what no client would take is never published.
  const held =
    previous === undefined
      ? await firstTrustBundle(signed, { trustDomain })
      : await nextTrustBundle(await firstTrustBundle(previous.signed, { trustDomain }), signed)
  const row = { version, ref: held.bundle.ref, certificates: held.pem, sha256: held.sha256, signed }
  await insertBundle(tx, row)
  return row
}
