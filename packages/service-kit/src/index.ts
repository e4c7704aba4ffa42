export { type AuditActor, type AuditDetails, type AuditEvent, appendAuditEvent, checkedAuditEvent } from './audit.ts'
export { AuditThrottle, type AuditThrottleOptions } from './audit-throttle.ts'
export {
  type AppEnv,
  ConfigError,
  type ConfigIssue,
  type ConfigRow,
  describeConfig,
  Env,
  isProduction,
  type LoadConfigOptions,
  loadConfig,
  secretVariables,
} from './config.ts'
export { type Admission, addressKey, ConnectionLimits, type Limits } from './connection-limits.ts'
export {
  commonProblems,
  defineProblems,
  type JsonValue,
  PROBLEM_CONTENT_TYPE,
  type ProblemDefinition,
  type ProblemDocument,
  ProblemError,
  type ProblemFactory,
  type ProblemFacts,
  type ProblemInit,
  type ProblemOptions,
  problemDocument,
} from './errors.ts'
export { hardenProcess } from './harden-process.ts'
export type { ReadyCheck } from './health.ts'
export { checkIdentityConfig, type IdentityConfig } from './identity/identity-config.ts'
export { IdentityError, type IdentityErrorCode } from './identity/identity-error.ts'
export { openPlatformIdentity } from './identity/open-platform-identity.ts'
export {
  certificatesOf,
  chainsTo,
  type ExpectedIdentity,
  expectedIdentity,
  identityText,
} from './identity/own-certificate.ts'
export type {
  IdentityListener,
  IdentityMaterial,
  IdentityTimes,
  PlatformIdentity,
  PlatformIdentityOptions,
} from './identity/platform-identity.ts'
export {
  InternalAgent,
  type InternalAgentOptions,
  internalAgent,
  PeerIdentityError,
  serverIdentityCheck,
} from './internal-agent.ts'
export { InternalClient, type InternalClientOptions, type InternalRequest, type Tagged } from './internal-client.ts'
export { KEY_SET_COOLDOWN_MS, type RemoteKeySet, type RemoteKeySetOptions, remoteKeySet } from './key-set.ts'
export { EXIT_CONFIG, type ReadyFields, runService, type ServiceContext, type ServiceDefinition } from './lifecycle.ts'
export { createLogger, type Logger, type LoggerSettings } from './log.ts'
export { Counter, createMetrics, Gauge, Histogram, type Metrics } from './metrics.ts'
export { type MigrateOptions, type MigrateResult, MigrationError, migrate } from './migrate.ts'
export {
  certifiedPeer,
  checkedIdentity,
  type PeerIdentity,
  peerIdentity,
  type RequiredIdentity,
  requireIdentity,
} from './mtls.ts'
export type { OpenApiOptions } from './openapi.ts'
export { PacedAttempts, type PacedAttemptsOptions } from './paced-attempts.ts'
export { healthFields, identityFields, issuerField, platformFields } from './platform-fields.ts'
export { connectPostgres, type PostgresOptions, type Sql, type TransactionSql } from './postgres.ts'
export { type ErrorMapper, type RefusalHook, sendProblem, toProblem } from './problem-handler.ts'
export { connectRedis, type Redis, type RedisSettings } from './redis.ts'
export {
  appendRefusal,
  RefusalAudit,
  type RefusalAuditOptions,
  type RefusalEvent,
  reportKnown,
  type Standing,
} from './refusal-audit.ts'
export { onRefusedHandshake, type RefusedHandshake } from './refused-handshakes.ts'
export { type Revocation, Revocations, type RevocationsOptions, type RevokedPart } from './revocations.ts'
export { scrubText } from './scrub.ts'
export { Secret } from './secret.ts'
export {
  buildHealthServer,
  buildServer,
  type HealthServerOptions,
  type RapServer,
  type ServerOptions,
  type ServerTls,
} from './server.ts'
export {
  loadTlsFiles,
  MUTUAL_TLS_DEFAULTS,
  TLS_1_2_CIPHERS,
  TLS_DEFAULTS,
  type TlsFiles,
  TlsFilesError,
  type TlsMaterial,
  type WatchTlsOptions,
  watchTlsFiles,
} from './tls.ts'
export { continueTrace, type TraceContext, traceparentOf } from './trace.ts'
