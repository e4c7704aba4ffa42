export {
  AssignmentClaims,
  CHANNELS,
  type Channel,
  type ClaimsOf,
  DataPlaneClaims,
  LeaseClaims,
  MAX_TARGET_AUTHORITIES,
  MAX_TARGET_AUTHORITY_CHARACTERS,
  MAX_TARGET_PINS,
  PURPOSES,
  type Purpose,
  SecretRef,
} from './claims.ts'
export {
  accessTokenHash,
  jwkThumbprint,
  MAX_PROOF_CHARACTERS,
  PROOF_WINDOW_SECONDS,
  type ProofOptions,
  verifyDpopProof,
} from './dpop.ts'
export { TokenError, type TokenErrorCode, VerificationKeyError, type VerificationKeyErrorCode } from './errors.ts'
export {
  JWKS_MAX_AGE_SECONDS,
  type KeySet,
  type KeySetLookup,
  keyLookupOf,
  keyLookupOfPem,
  MAX_KEYS,
  publicJwkOf,
} from './jwks.ts'
export {
  ALGORITHM,
  CLOCK_TOLERANCE_SECONDS,
  channelsBeyond,
  decodeJti,
  decodeThumbprint,
  type KeyLookup,
  type SigningKey,
  type SignOptions,
  signToken,
  type UnsignedClaims,
  type VerifyOptions,
  verifyToken,
} from './token.ts'
