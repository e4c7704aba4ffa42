import { firstTrustBundle, type HeldTrustBundle } from '@rap/trust-bundle'
import { IdentityError } from './identity-error.ts'
import { type IdentityStore, splitIdentity } from './identity-store.ts'
import { type OwnCertificate, ownCertificate } from './issued-certificate.ts'
import { certificatesOf, chainsTo, type ExpectedIdentity } from './own-certificate.ts'

const REMEDY = 'empty the directory and put a new join token into RAP_JOIN_TOKEN_FILE'

export interface StoredIdentity {
  readonly certificate: OwnCertificate
  readonly held: HeldTrustBundle
}

/**
 * What an earlier run of this process left in its directory; undefined where there is nothing yet.
 * Throws IdentityError FILE, which names the file that is corrupt, truncated or of somebody else, and the remedy.
 */
export async function readStoredIdentity(
  store: IdentityStore,
  expected: ExpectedIdentity,
): Promise<StoredIdentity | undefined> {
  const { identityFile, bundleFile } = store
  const [identityPem, bundleJson] = [await store.read(identityFile), await store.read(bundleFile)]
  if (identityPem === undefined) return undefined
  const parts = splitIdentity(identityPem)
  if (parts === undefined) throw wrong(identityFile, 'not one private key with its certificates')
  const certificate = ownCertificate(parts, {
    expected,
    where: `${identityFile} (${REMEDY})`,
    code: 'ERR_IDENTITY_FILE',
  })
  if (bundleJson === undefined) throw wrong(bundleFile, 'is missing beside identity.pem')
  const { trustDomain } = expected
  const held = await firstTrustBundle(bundleJson, { trustDomain }).catch(() => {
    throw wrong(bundleFile, `not a signed trust bundle of ${trustDomain}`)
  })
  return { certificate, held }
}

/** Stores a bundle: signed, and its roots as PEM for whoever reads files. Throws IdentityError STORAGE. */
export async function storeBundle(store: IdentityStore, { signed, pem }: HeldTrustBundle): Promise<void> {
  await store.write(store.bundleFile, `${JSON.stringify(signed)}\n`)
  await store.write(store.caFile, pem)
}

/** Whether the roots of a bundle stand above a certificate. */
export function isVouchedFor({ chainPem }: OwnCertificate, { pem }: HeldTrustBundle): boolean {
  return chainsTo(certificatesOf(chainPem), certificatesOf(pem))
}

function wrong(path: string, reason: string): IdentityError {
  return new IdentityError('ERR_IDENTITY_FILE', `${path}: ${reason}; ${REMEDY}`, { path, reason })
}
