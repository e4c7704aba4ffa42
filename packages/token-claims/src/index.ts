export {
  AssignmentClaims,
  CHANNELS,
  type Channel,
  type ClaimsOf,
  DataPlaneClaims,
  LeaseClaims,
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
export { TokenError, type TokenErrorCode } from './errors.ts'
export { type KeySet, keyLookupOf, keyLookupOfPem, MAX_KEYS, publicJwkOf } from './jwks.ts'
export {
  ALGORITHM,
  CLOCK_TOLERANCE_SECONDS,
  channelsBeyond,
  decodeJti,
  type KeyLookup,
  MAX_TOKEN_CHARACTERS,
  type SigningKey,
  type SignOptions,
  signToken,
  type UnsignedClaims,
  type VerifyOptions,
  verifyToken,
} from './token.ts'
