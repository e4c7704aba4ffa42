import { type CryptoKey, FlattenedSign, flattenedVerify } from 'jose'
import { TrustBundleError } from './errors.ts'
import { firstTrustBundle } from './held.ts'
import { type Root, readRoot } from './roots.ts'
import { type SignedTrustBundle, TRUST_BUNDLE_TYPE, type TrustBundle } from './schema.ts'

export interface TrustBundleSigner {
  readonly certificatePem: string
  readonly privateKey: CryptoKey
}

/**
 * Signs a bundle with one root or several; for a step, one of the bundle before is among them, and always one of its own.
 *
 * Throws TrustBundleError MALFORMED, SIGNATURE: what a client would not take as a first bundle is not signed either. The rules of a step are
 * `nextTrustBundle`'s to check.
 */
export async function signTrustBundle(
  bundle: TrustBundle,
  signers: readonly TrustBundleSigner[],
): Promise<SignedTrustBundle> {
  const issuedAt = new Date(bundle.issued_at)
  const payload = Buffer.from(JSON.stringify(bundle), 'utf8')
  const signatures: SignedTrustBundle['signatures'] = []
  for (const { certificatePem, privateKey } of signers) {
    signatures.push(await signatureOf(payload, readRoot(certificatePem, issuedAt), privateKey))
  }
  const signed = { payload: payload.toString('base64url'), signatures }
  await firstTrustBundle(signed)
  return signed
}

async function signatureOf(payload: Uint8Array, root: Root, key: CryptoKey) {
  const header = { alg: root.algorithm, typ: TRUST_BUNDLE_TYPE, 'x5t#S256': root.thumbprint }
  try {
    const jws = await new FlattenedSign(payload).setProtectedHeader(header).sign(key)
    await flattenedVerify(jws, root.certificate.publicKey, { algorithms: [root.algorithm] })
    return { protected: jws.protected ?? '', signature: jws.signature }
  } catch (cause) {
    throw new TrustBundleError('ERR_TRUST_BUNDLE_SIGNATURE', 'the key is not the one of the root', 'signers', { cause })
  }
}
