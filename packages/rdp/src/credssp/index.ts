export { subjectPublicKeyOf, tlsServerEndPointOf } from './certificate.ts'
export {
  CREDSSP_VERSION,
  CredSspClient,
  type CredSspOptions,
  type CredSspState,
  type CredSspStep,
} from './client.ts'
export {
  decodeEarlyUserAuthorizationResult,
  EARLY_USER_AUTHORIZATION_RESULT_BYTES,
  type EarlyUserAuthorizationResult,
} from './early-user-authorization.ts'
export { CredSspError, type CredSspErrorCode } from './errors.ts'
export { NT_STATUS_REASONS, type NtStatusReason, ntStatusReason } from './nt-status.ts'
export { ntowfv1 } from './ntlm-crypto.ts'
export { MAX_TS_REQUEST_BYTES } from './ts-request.ts'
