import { flattenedVerify } from 'jose'
import { TrustBundleError } from './errors.ts'
import type { UnverifiedBundle } from './read.ts'
import type { Root } from './roots.ts'

/**
 * Requires a signature by one of these roots. The key and its algorithm are the root's, never the header's word; a signature that names one of the
 * roots and does not hold refuses the whole, and those of roots that are not known here prove nothing.
 *
 * Spec: RFC 7515 §5.2, RFC 8725 §3.1. Throws TrustBundleError SIGNATURE.
 */
export async function requireSignatureOf(roots: readonly Root[], { signed, headers }: UnverifiedBundle): Promise<void> {
  let verified = 0
  for (const [index, entry] of signed.signatures.entries()) {
    const header = headers[index]
    const root = roots.find(({ thumbprint }) => thumbprint === header?.['x5t#S256'])
    if (root === undefined) continue
    if (header?.alg !== root.algorithm) throw refused('the algorithm is not the one of the key')
    try {
      const jws = { payload: signed.payload, protected: entry.protected, signature: entry.signature }
      await flattenedVerify(jws, root.certificate.publicKey, { algorithms: [root.algorithm] })
    } catch (cause) {
      throw refused('a signature does not hold', cause)
    }
    verified++
  }
  if (verified === 0) throw refused('no signature of a root that counts')
}

function refused(message: string, cause?: unknown): TrustBundleError {
  return new TrustBundleError('ERR_TRUST_BUNDLE_SIGNATURE', message, 'signatures', { cause })
}
