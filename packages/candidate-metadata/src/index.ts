export { type AcceptOptions, type AcceptReason, acceptCandidates, type CandidateDecision } from './accept.ts'
export { type AdvertiseOptions, buildCandidates } from './advertise.ts'
export {
  Candidate,
  CandidateMetadata,
  isProductionEnvironment,
  NON_PRODUCTION_ENVIRONMENTS,
  type TlsTrustMode,
  TRUST_MODES,
} from './candidate.ts'
