import { readFileSync } from 'node:fs'
import { certificatesOf, chainsTo, expectedIdentity, identityText, type PlatformIdentity } from '@rap/service-kit'

/** Largest certificate file, in bytes. */
const MAX_FILE_BYTES = 1024 * 1024

/**
 * The certificates of the data plane as DER, leaf first.
 *
 * One of the platform CA, or with any SPIFFE ID, must be this worker's: every peer would refuse another one, and say so less
 * clearly. One of a public authority has no such name, and clients check its host name alone. Throws where the file is out of order.
 */
export function readChain(certFile: string, identity: PlatformIdentity, trustDomain: string): Uint8Array[] {
  const pem = readFileSync(certFile)
  const chain = pem.length > MAX_FILE_BYTES ? [] : certificatesOf(pem)
  const [leaf] = chain
  if (leaf === undefined) throw new Error(`${certFile} holds no certificate`)
  const expected = { trustDomain, kind: identity.kind, id: identity.id }
  const found = expectedIdentity(leaf, expected)
  if ('received' in found) {
    const isPublic = found.received === 'none' && !chainsTo(chain, certificatesOf(identity.material.ca))
    if (!isPublic) {
      throw new Error(`${certFile} carries the identity ${found.received} and not ${identityText(expected)}`)
    }
  }
  return chain.map(certificate => new Uint8Array(certificate.raw))
}
