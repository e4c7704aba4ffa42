import { platform } from '#platform'
import { Account, type LoginOptions } from './account.ts'
import type { Environment } from './candidates.ts'
import { type ClientContext, DEFAULT_TIMEOUTS, type Timeouts } from './context.ts'
import { RapError } from './errors.ts'
import { makeHttpClient } from './http.ts'
import { Identities, JoinTokens, Workers } from './identities.ts'
import { MasterKeys, Rewraps } from './master-keys.ts'
import type { Me } from './model.ts'
import { PlatformCa } from './platform-ca.ts'
import { Policies } from './policies.ts'
import { Organizations, Resources } from './resources.ts'
import { Sessions } from './sessions.ts'
import { SigningKeys } from './signing-keys.ts'
import { ClientTrust, ownAuthorities, type TrustOptions } from './trust.ts'
import { allow_insecure_direct_data_plane_tls_for_smoke } from './unsafe.ts'

export interface RapClientOptions {
  /** Where the control plane answers: `https:`, or `http:` on this very machine. */
  readonly baseUrl: string | URL
  /** Takes the place of the platform's fetch. */
  readonly fetch?: typeof fetch
  /** Node only; a browser trusts what its user trusts. */
  readonly trust?: TrustOptions
  /** Which rules hold for candidates; everything that is not named otherwise is production. */
  readonly environment?: Environment
  readonly timeouts?: Partial<Timeouts>
  readonly [allow_insecure_direct_data_plane_tls_for_smoke]?: boolean
}

/** A client of one control plane and, once logged in, of one user. */
export interface RapClient {
  readonly loggedIn: boolean
  login(options: LoginOptions): Promise<void>
  /** Takes up the log-in of an earlier page with its refresh cookie; false where there is none. Browsers only. */
  resume(): Promise<boolean>
  logout(): Promise<void>
  me(): Promise<Me>
  /**
   * Asks for the newest trust bundle, follows it and answers the refs that are held; for programs that run for months. A
   * connect does by itself what its worker needs. Throws RapError, ERR_TRUST_BUNDLE where the newest does not follow.
   */
  refreshTrust(options?: { signal?: AbortSignal }): Promise<string[]>
  readonly organizations: Organizations
  readonly resources: Resources
  readonly sessions: Sessions
  readonly policies: Policies
  /** For owners of the platform, as all that follow. */
  readonly masterKeys: MasterKeys
  readonly rewraps: Rewraps
  readonly workers: Workers
  readonly joinTokens: JoinTokens
  readonly identities: Identities
  readonly platformCa: PlatformCa
  readonly signingKeys: SigningKeys
}

const ENVIRONMENTS: readonly string[] = ['production', 'prod', 'development', 'smoke', 'test'] satisfies Environment[]

/** Makes a client; nothing is sent yet. Throws RapError ERR_OPTION_INVALID. */
export function createRapClient(options: RapClientOptions): RapClient {
  const { trust = {}, environment = 'production' } = options
  if (!ENVIRONMENTS.includes(environment)) throw new RapError('ERR_OPTION_INVALID', 'environment is not known')
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts }
  const http = makeHttpClient({
    baseUrl: baseUrlOf(options.baseUrl),
    fetch: options.fetch ?? platform.makeFetch(() => ownAuthorities(trust)),
    platform,
  })
  const account = new Account(http, timeouts.requestMs)
  const context: ClientContext = {
    account,
    platform,
    environment,
    trust: new ClientTrust(trust, { http, platform, timeoutMs: timeouts.requestMs }),
    timeouts,
    allowInsecureDirectDataPlaneTlsForSmoke: options[allow_insecure_direct_data_plane_tls_for_smoke] === true,
  }
  return {
    get loggedIn() {
      return account.loggedIn
    },
    login: login => account.login(login),
    resume: () => account.resume(),
    logout: () => account.logout(),
    me: () => account.me(),
    refreshTrust: ({ signal } = {}) => context.trust.refresh(signal),
    organizations: new Organizations(account),
    resources: new Resources(account),
    sessions: new Sessions(context),
    policies: new Policies(account),
    masterKeys: new MasterKeys(context),
    rewraps: new Rewraps(context),
    workers: new Workers(context),
    joinTokens: new JoinTokens(context),
    identities: new Identities(context),
    platformCa: new PlatformCa(context),
    signingKeys: new SigningKeys(context),
  }
}

/** Passwords and tokens travel over TLS, or never leave the machine. */
function baseUrlOf(value: string | URL): URL {
  if (!URL.canParse(String(value))) throw new RapError('ERR_OPTION_INVALID', 'base URL is not a URL')
  const url = new URL(String(value))
  const isLocal = /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal)) {
    throw new RapError('ERR_OPTION_INVALID', 'base URL is neither https nor on this machine')
  }
  if (url.username !== '' || url.password !== '') {
    throw new RapError('ERR_OPTION_INVALID', 'base URL holds a credential')
  }
  return url
}
