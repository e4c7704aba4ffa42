import type { webcrypto } from 'node:crypto'
import { authorityKeyIdentifier, serialNumber, type Validity } from './certificates.ts'
import { signatureAlgorithmOf } from './keys.ts'
import { x509 } from './library.ts'
import { commonNameSubject, type SubjectNames, subjectAlternativeNames } from './subject-names.ts'

export type CertificateUsage = 'server' | 'client'

export interface LeafOptions extends SubjectNames {
  readonly issuer: x509.X509Certificate
  readonly signingKey: webcrypto.CryptoKey
  readonly publicKey: x509.PublicKey
  readonly commonName: string
  readonly usages: readonly CertificateUsage[]
  readonly validity: Validity
}

const USAGES = { server: x509.ExtendedKeyUsage.serverAuth, client: x509.ExtendedKeyUsage.clientAuth } as const

/** An end-entity certificate for TLS: CA:FALSE, digitalSignature, the EKUs of `usages`, SANs, SKI and AKI. */
export async function createLeaf(options: LeafOptions): Promise<x509.X509Certificate> {
  const { issuer, publicKey, signingKey, usages, validity } = options
  if (usages.length === 0) throw new TypeError('usages cannot be empty')
  const san = subjectAlternativeNames(options)
  const isRsa = publicKey.algorithm.name.startsWith('RSA')
  const rsaUsage = isRsa ? x509.KeyUsageFlags.keyEncipherment : 0
  return await x509.X509CertificateGenerator.create({
    ...validity,
    serialNumber: serialNumber(),
    subject: commonNameSubject(options.commonName),
    // The very bytes of the issuer's subject: a chain is matched by them.
    issuer: issuer.subjectName,
    publicKey,
    signingKey,
    signingAlgorithm: signatureAlgorithmOf(signingKey),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | rsaUsage, true),
      new x509.ExtendedKeyUsageExtension(usages.map(usage => USAGES[usage])),
      ...(san === undefined ? [] : [san]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await authorityKeyIdentifier(issuer),
    ],
  })
}
