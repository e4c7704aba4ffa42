export { type BrowserOptions, launchBrowser, type TestBrowser } from './browser.ts'
export { findSecret, newCanary } from './canary.ts'
export {
  browserInstallCommand,
  type DebianPackage,
  debianPackages,
  findProgram,
  missingDebianPackages,
  type Purpose,
  requireProgram,
} from './debian-packages.ts'
export { TestkitError, type TestkitErrorCode, type TestkitErrorFacts } from './errors.ts'
export { freePort } from './free-port.ts'
export { isListening } from './is-listening.ts'
export type { KmsFault } from './kms/faults.ts'
export type { KmsKeyState } from './kms/keys.ts'
export { type KmsOptions, type KmsRequest, type KmsServer, startKms } from './kms/kms.ts'
export type { KmsOperation } from './kms/operations.ts'
export type { KmsCredentials } from './kms/sigv4.ts'
export { type ApiAnswer, type ApiRequest, type Credential, PlatformApi } from './platform/api.ts'
export { type DatabaseUrls, prepareDatabase } from './platform/database.ts'
export type { PlatformOptions, PortName } from './platform/options.ts'
export { type Platform, type PlatformWorker, startPlatform } from './platform/platform.ts'
export { type PlatformTarget, type SeededResource, targetOf } from './platform/seed.ts'
export { type Service, type ServiceEnv, type ServiceName, startService } from './platform/service.ts'
export { type CertificateFiles, TRUST_DOMAIN, writePlatformCertificate } from './platform/state.ts'
export { connected, type DroppedFile, dropFile, type OpenDesktopOptions, openDesktop, typeLine } from './portal.ts'
export { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts'
export { removePostgresData } from './postgres-data-dir.ts'
export { type ProcessExit, type ProcessOptions, type RunningProcess, startProcess } from './process.ts'
export { type RdpClient, type RdpClientOptions, startRdpClient } from './rdp-client.ts'
export { probeRdpCertificate } from './rdp-probe.ts'
export { type RedisOptions, type RedisServer, startRedis } from './redis.ts'
export { monitorRedis, type RedisMonitor } from './redis-monitor.ts'
export { type CommandOptions, runCommand } from './run-command.ts'
export { type ShadowOptions, type ShadowServer, startShadow } from './shadow.ts'
export { type SoftHsm, type SoftHsmToken, startSoftHsm } from './softhsm/softhsm.ts'
export { type TempDir, tempDir } from './temp-dir.ts'
export {
  startTransit,
  type TransitFault,
  type TransitOptions,
  type TransitRequest,
  type TransitServer,
} from './transit/index.ts'
export { type WaitOptions, waitFor } from './wait-for.ts'
export { canStartXrdp, startXrdp, type XrdpAbility, type XrdpOptions, type XrdpServer } from './xrdp.ts'
