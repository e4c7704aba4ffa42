export {
  extensionOf,
  refusalOfFile,
  refusalOfOneMore,
  safeFileName,
  type Transfer,
  UPLOAD_REFUSALS,
  type UploadRefusal,
} from '@rap/data-plane-protocol'
export {
  CHANNEL_WORDS,
  CHANNELS,
  type Channel,
  type ChannelDecision,
  DEFAULT_LIMITS,
  type DecidedBy,
  explainChannel,
  LIMIT_NAMES,
  LIMITS,
  type LimitName,
  PolicyDocument,
  PolicyLimits,
  SessionLimits,
} from '@rap/session-policy'
export type { LoginOptions } from './account.ts'
export type { CloseInfo } from './bind.ts'
export type { FirstTrustBundle } from './bundle-line.ts'
export { type Environment, type PathChoice, type PathName, RapPathError } from './candidates.ts'
export { createRapClient, type RapClient, type RapClientOptions } from './client.ts'
export type { Timeouts } from './context.ts'
export {
  type NetworkFailure,
  type RapClientErrorCode,
  RapError,
  type RapErrorFacts,
  RapNetworkError,
} from './errors.ts'
export type {
  Identities,
  Identity,
  JoinToken,
  JoinTokens,
  NewJoinToken,
  RegisteredNames,
  Revoked,
  ServiceEnrolment,
  Worker,
  WorkerEnrolment,
  Workers,
} from './identities.ts'
export type {
  KeyRotation,
  KeySource,
  MasterKey,
  MasterKeyList,
  MasterKeys,
  ResolverInstance,
  Rewrap,
  RewrapPlan,
  Rewraps,
} from './master-keys.ts'
export type {
  Attachment,
  Me,
  Member,
  Membership,
  Organization,
  Page,
  Resource,
  SecretMetadata,
  SecretVersion,
  SessionFailure,
  SessionRecord,
  SessionState,
  SessionWithAttachment,
} from './model.ts'
export type { PageOptions } from './page.ts'
export type { TrustStore } from './platform/types.ts'
export type { CaGeneration, PlatformCa, PlatformCaStatus, PublishedBundle, StepOptions } from './platform-ca.ts'
export type {
  EffectivePolicyAnswer,
  Grant,
  Grants,
  Policies,
  Policy,
  PolicyChange,
  PolicyChangeOptions,
  StoredPolicy,
} from './policies.ts'
export type { RdpConnection } from './rdp-connection.ts'
export type { NewResource, Organizations, ResourceChange, ResourceFilter, Resources } from './resources.ts'
export type { ResourceSecret } from './sealing.ts'
export type {
  AttachOptions,
  ConnectOptions,
  Display,
  PathOptions,
  RdCleanPathTarget,
  Session,
  TransfersOptions,
} from './session.ts'
export type { SessionEvent } from './session-events.ts'
export type { SessionFilter, Sessions, StartOptions } from './sessions.ts'
export type { SigningKey, SigningKeyList, SigningKeys } from './signing-keys.ts'
export type {
  ApproveOptions,
  StageOptions,
  TargetCertificate,
  TargetChainLink,
  TargetIdentities,
  TargetIdentity,
  TargetPin,
  TargetPinKind,
} from './target-identity.ts'
export type { Trace, TraceRecord } from './trace.ts'
export type { TraceStep } from './trace-step.ts'
export type { UploadSource } from './transfers/source.ts'
export type { ConnectionPolicy, TransferEvent, TransferNotice, Transfers } from './transfers/transfers.ts'
export type { UploadOptions } from './transfers/upload.ts'
export type { TrustOptions } from './trust.ts'
export { fileTrustStore, openTrustBundles, type TrustBundles, type TrustBundlesOptions } from './trust-bundles.ts'
export { allow_insecure_direct_data_plane_tls_for_smoke } from './unsafe.ts'
