import { TrustBundleError } from './errors.ts'
import { readBundle, type UnverifiedBundle } from './read.ts'
import { isValidAt, readSelfSigned } from './roots.ts'
import type { SignedTrustBundle, TrustBundle } from './schema.ts'
import { requireSignatureOf } from './signatures.ts'

/** A bundle that is trusted: taken on somebody's word, or over verified steps from one that was. */
export interface HeldTrustBundle {
  readonly bundle: TrustBundle
  /** Base64url of SHA-256 over the payload. */
  readonly sha256: string
  readonly signed: SignedTrustBundle
  /** The roots, joined: what TLS takes as its authorities. */
  readonly pem: string
}

/** Most versions that are followed in one go: bounds what a server can make a client fetch. */
const MAX_STEPS = 100

/**
 * Takes a first bundle, of any version, on the word of whoever installs it: JSON text or the parsed document. It is signed by one of its own roots,
 * which shows that it is whole, and nothing about whose it is: give `expected.sha256`, or take it from a place that is trusted.
 *
 * Throws TrustBundleError MALFORMED, SIGNATURE, UNEXPECTED.
 */
export async function firstTrustBundle(
  document: unknown,
  expected: { readonly sha256?: string | undefined; readonly trustDomain?: string | undefined } = {},
): Promise<HeldTrustBundle> {
  const read = readBundle(document)
  if (expected.sha256 !== undefined && read.sha256 !== expected.sha256) throw unexpected('another bundle', 'sha256')
  if (expected.trustDomain !== undefined && read.bundle.trust_domain !== expected.trustDomain) {
    throw unexpected('another trust domain', 'trust_domain')
  }
  await requireSignatureOf(read.roots, read)
  return heldOf(read)
}

/**
 * Takes the bundle after the one that is held: the next number of the same name and trust domain, naming the held one as its predecessor, and signed
 * by a root of the held one. It is also signed by one of its own roots, so that it can be stored and read again with `firstTrustBundle`.
 *
 * Throws TrustBundleError MALFORMED, STEP, SIGNATURE. INVARIANT: no step skips, goes back or changes hands.
 */
export async function nextTrustBundle(held: HeldTrustBundle, document: unknown): Promise<HeldTrustBundle> {
  const read = readBundle(document)
  const rules: readonly [boolean, string][] = [
    [read.bundle.version === held.bundle.version + 1, 'version'],
    [read.bundle.ref === held.bundle.ref.replace(/[0-9]+$/, String(held.bundle.version + 1)), 'ref'],
    [read.bundle.trust_domain === held.bundle.trust_domain, 'trust_domain'],
    [read.bundle.previous_sha256 === held.sha256, 'previous_sha256'],
  ]
  for (const [holds, field] of rules) if (!holds) throw step('not the bundle after the one that is held', field)
  // A root that had ended says nothing about what came after it.
  const issuedAt = new Date(read.bundle.issued_at)
  const signers = held.bundle.certificates.map(readSelfSigned).filter(root => isValidAt(root, issuedAt))
  await requireSignatureOf(signers, read)
  await requireSignatureOf(read.roots, read)
  return heldOf(read)
}

/**
 * Follows the bundles one by one up to version `newest`. `fetchVersion` gives the signed bundle of a version, JSON text or parsed; its errors pass through.
 * A `newest` that is held already, or older, changes nothing. Throws TrustBundleError as `nextTrustBundle` does, and STEP
 * for more than 100 versions.
 */
export async function followTrustBundles(
  held: HeldTrustBundle,
  newest: number,
  fetchVersion: (version: number) => Promise<unknown>,
): Promise<HeldTrustBundle> {
  if (!Number.isSafeInteger(newest)) throw step('not a version', 'version')
  if (newest - held.bundle.version > MAX_STEPS) throw step(`more than ${MAX_STEPS} versions ahead`, 'version')
  let current = held
  while (current.bundle.version < newest) {
    current = await nextTrustBundle(current, await fetchVersion(current.bundle.version + 1))
  }
  return current
}

function heldOf({ bundle, sha256, signed, roots }: UnverifiedBundle): HeldTrustBundle {
  // Written anew from what was parsed, so that nothing else of the text reaches a TLS library.
  return { bundle, sha256, signed, pem: roots.map(({ certificate }) => certificate.toString()).join('') }
}

function step(message: string, field: string): TrustBundleError {
  return new TrustBundleError('ERR_TRUST_BUNDLE_STEP', message, field)
}

function unexpected(message: string, field: string): TrustBundleError {
  return new TrustBundleError('ERR_TRUST_BUNDLE_UNEXPECTED', message, field)
}
