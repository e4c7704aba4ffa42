import { TrustBundleError } from './errors.ts'

/** More rotations than a platform lives for; also the bound of the database. */
export const MAX_TRUST_BUNDLE_VERSION = 100_000
const REF = /^([A-Za-z0-9][A-Za-z0-9._-]{0,95}):v([1-9][0-9]{0,5})$/

export interface TrustBundleRef {
  readonly name: string
  readonly version: number
}

/**
 * The name of one version of a bundle, `rap-platform-ca:v1`: at most 96 letters, digits, `.`, `_`, `-`, and 1 to 100,000.
 * Throws TrustBundleError MALFORMED.
 */
export function trustBundleRef(name: string, version: number): string {
  const ref = `${name}:v${version}`
  if (parseTrustBundleRef(ref) === undefined)
    throw new TrustBundleError('ERR_TRUST_BUNDLE_MALFORMED', 'invalid ref', 'ref')
  return ref
}

/** Takes a ref apart, or returns undefined. INVARIANT: a result gives the same text again through `trustBundleRef`. */
export function parseTrustBundleRef(ref: string): TrustBundleRef | undefined {
  const [, name, digits] = REF.exec(ref) ?? []
  const version = Number(digits)
  if (name === undefined || version > MAX_TRUST_BUNDLE_VERSION) return undefined
  return { name, version }
}
