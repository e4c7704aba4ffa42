import type { Logger, Redis, Revocations, Sql } from '@rap/service-kit'
import type { Refusals } from './audit/refusals.ts'
import type { Config } from './config.ts'
import type { MasterKeysPort } from './master-keys/keeper.ts'
import type { PlatformCa } from './platform-ca/platform-ca.ts'
import type { ResolverPort } from './secrets/resolver.ts'
import type { StateEvents } from './sessions/state-events.ts'
import type { SigningKeys } from './trust/signing-keys.ts'

/** Everything that rules and routes work with; app.ts is the only place that puts it together. */
export interface Context {
  readonly config: Config
  /** APP_ENV is production or prod. */
  readonly production: boolean
  readonly sql: Sql
  readonly redis: Redis
  readonly logger: Logger
  readonly signing: SigningKeys
  readonly platformCa: PlatformCa
  readonly resolver: ResolverPort
  readonly masterKeys: MasterKeysPort
  readonly events: StateEvents
  /** Audit of refusals that somebody outside can cause at will. */
  readonly refusals: Refusals
  /** Peers that are refused although their certificates are valid. */
  readonly revocations: Revocations
  /** Seconds since the epoch, for tokens; times of rows are the database's own. */
  readonly nowSeconds: () => number
  /** Aborted when the process drains: waits and streams end. */
  readonly signal: AbortSignal
}
