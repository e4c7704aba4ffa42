import { createHash, type KeyObject, X509Certificate } from 'node:crypto'
import { TrustBundleError } from './errors.ts'
import type { SignatureHeader } from './schema.ts'

/** A root of a bundle, and how its key signs. */
export interface Root {
  readonly certificate: X509Certificate
  /** RFC 7515 §4.1.8 `x5t#S256`. */
  readonly thumbprint: string
  readonly algorithm: SignatureHeader['alg']
}

const MIN_RSA_BITS = 2048
const EC_ALGORITHMS: Readonly<Record<string, SignatureHeader['alg']>> = { prime256v1: 'ES256', secp384r1: 'ES384' }
const PEM = /^\s*-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----\s*$/

/**
 * Reads a root: exactly one certificate, CA:TRUE, self-signed, with a key that is used here, valid at `at`.
 *
 * What is not valid at the moment of the bundle's issue was published by mistake. One that ends later stays in the bundle,
 * and TLS refuses what stands below it: so a client that was away for long can still follow the steps in between.
 * Throws TrustBundleError MALFORMED.
 */
export function readRoot(pem: string, at: Date): Root {
  const root = readSelfSigned(pem)
  if (!isValidAt(root, at)) throw malformed('a certificate is not valid at issued_at')
  return root
}

/** Whether a root was valid at a moment (RFC 5280 §4.1.2.5: both ends count). */
export function isValidAt({ certificate }: Root, at: Date): boolean {
  return certificate.validFromDate <= at && at <= certificate.validToDate
}

/** Reads a self-signed CA, whatever its time. Throws TrustBundleError MALFORMED. */
export function readSelfSigned(pem: string): Root {
  const base64 = PEM.exec(pem)?.[1]?.replace(/[\r\n]/g, '') ?? ''
  const der = Buffer.from(base64, 'base64')
  if (der.length === 0 || der.toString('base64') !== base64) throw malformed('not one PEM block of a certificate')
  try {
    const certificate = new X509Certificate(der)
    if (!certificate.raw.equals(der)) throw malformed('bytes follow a certificate')
    if (!certificate.ca) throw malformed('not an authority')
    const algorithm = algorithmOf(certificate.publicKey)
    if (algorithm === undefined) throw malformed('a root with an unsupported kind of key')
    if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
      throw malformed('not self-signed')
    }
    return { certificate, thumbprint: createHash('sha256').update(der).digest('base64url'), algorithm }
  } catch (cause) {
    if (cause instanceof TrustBundleError) throw cause
    throw new TrustBundleError('ERR_TRUST_BUNDLE_MALFORMED', 'not a certificate', 'certificates', { cause })
  }
}

function algorithmOf(key: KeyObject): SignatureHeader['alg'] | undefined {
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'rsa') return modulusLength >= MIN_RSA_BITS ? 'RS256' : undefined
  return key.asymmetricKeyType === 'ec' ? EC_ALGORITHMS[namedCurve] : undefined
}

function malformed(message: string): TrustBundleError {
  return new TrustBundleError('ERR_TRUST_BUNDLE_MALFORMED', message, 'certificates')
}
