export {
  type Authority,
  type AuthorityOptions,
  type CertificateOptions,
  type CertificateUsage,
  createAuthority,
  type IssuedCertificate,
  issueCertificate,
} from './authority.ts'
export { PkiError, type PkiErrorCode, type PkiErrorFacts } from './errors.ts'
export { certificateThumbprint, sha256Fingerprint } from './fingerprints.ts'
export { identityOfCertificate } from './identity.ts'
export type { KeyType } from './keys.ts'
export { parseSpiffeId, type SpiffeIdentity, type SpiffeKind, spiffeId } from './spiffe.ts'
