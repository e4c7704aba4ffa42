export {
  type Authority,
  type AuthorityOptions,
  type CertificateOptions,
  createAuthority,
  type IssuedCertificate,
  issueCertificate,
} from './authority.ts'
export { crossSign } from './cross-sign.ts'
export { createCsr, MAX_CSR_CHARACTERS, type ReadCsr, readCsr } from './csr.ts'
export { PkiError, type PkiErrorCode, type PkiErrorFacts } from './errors.ts'
export { certificateThumbprint, sha256Fingerprint } from './fingerprints.ts'
export { identityOfCertificate } from './identity.ts'
export { checkImport } from './import.ts'
export { type CsrCertificate, type CsrIssueOptions, issueFromCsr } from './issue.ts'
export type { KeyType } from './keys.ts'
export type { CertificateUsage } from './leaf.ts'
export { MAX_SERVER_CERTIFICATE_BYTES, readServerCertificate, type ServerCertificate } from './server-certificate.ts'
export {
  createIntermediate,
  createRoot,
  type NewAuthority,
  openAuthority,
  type RootOptions,
  type SigningAuthority,
} from './signing-authority.ts'
export { parseSpiffeId, type SpiffeIdentity, type SpiffeKind, spiffeId } from './spiffe.ts'
export { canonicalIpAddress, type SubjectNames } from './subject-names.ts'
