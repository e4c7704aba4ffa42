import { Type } from '@sinclair/typebox'
import { BundleUnusableError, type FetchBundle, signedOf } from './bundle-line.ts'
import { placeOf, type TrustScope, type UsableCandidate } from './candidates.ts'
import { RapError } from './errors.ts'
import { buildPath, type HttpClient } from './http.ts'
import type { Authorities, Platform } from './platform/types.ts'
import { checked } from './shape.ts'
import type { Trace } from './trace.ts'
import type { TrustBundles } from './trust-bundles.ts'

/** Certificates that the application brings along; a browser has none of its own and uses the user's trust store. */
export interface TrustOptions {
  /**
   * PEM of a platform CA that does not change: added to the default authorities, and the only authority for `platform_ca` workers
   * where there are no `bundles`.
   */
  readonly caPem?: string | readonly string[]
  /** Bundles by ref that follow the platform's: added to the default authorities, and the only ones for `platform_ca` workers. */
  readonly bundles?: TrustBundles
}

const BundleAnswer = Type.Object({ ref: Type.String({ maxLength: 256 }), signed: Type.Unknown() })

/** The certificates that an application brings along, in front of the platform's own. */
export function ownAuthorities({ caPem = [], bundles }: TrustOptions): string[] {
  return [...[caPem].flat(), ...(bundles?.certificates ?? [])]
}

/** Which authorities each connection of one client accepts. */
export class ClientTrust {
  readonly #options: TrustOptions
  readonly #http: HttpClient
  readonly #platform: Platform
  readonly #timeoutMs: number

  constructor(
    options: TrustOptions,
    { http, platform, timeoutMs }: { http: HttpClient; platform: Platform; timeoutMs: number },
  ) {
    this.#options = options
    this.#http = http
    this.#platform = platform
    this.#timeoutMs = timeoutMs
  }

  /** The authorities for a candidate; undefined, with the reason in the trace, where it may not be dialled at all. */
  async authoritiesFor(
    usable: UsableCandidate,
    { trace, signal }: { trace: Trace; signal: AbortSignal | undefined },
  ): Promise<Authorities | undefined> {
    const simple: Record<Exclude<TrustScope, 'platform_ca_only'>, Authorities> = {
      insecure_smoke: { kind: 'unchecked' },
      system: { kind: 'system' },
      default: { kind: 'default', more: ownAuthorities(this.#options) },
    }
    if (usable.trustScope !== 'platform_ca_only') return simple[usable.trustScope]
    const { bundles, caPem } = this.#options
    if (this.#platform.bundles === undefined) return simple.default
    if (bundles === undefined && caPem !== undefined) return { kind: 'only', pem: [caPem].flat() }
    return await this.#fromBundles(bundles, usable, { trace, signal })
  }

  async #fromBundles(
    bundles: TrustBundles | undefined,
    { candidate }: UsableCandidate,
    { trace, signal }: { trace: Trace; signal: AbortSignal | undefined },
  ): Promise<Authorities | undefined> {
    const place = placeOf(candidate)
    const wanted = candidate.metadata.tls_ca_ref
    const named = wanted === undefined ? {} : { bundle: wanted }
    try {
      if (bundles === undefined) throw new BundleUnusableError('trust_bundle_unavailable', 'no bundles')
      const { ref: bundle, pem } = await bundles.certificatesFor(
        wanted,
        this.#fetchBundle(signal),
        ({ reason, ref, detail }) =>
          trace.add({ ...place, event: 'trust_bundle', reason, bundle: ref, ...(detail !== undefined && { detail }) }),
      )
      return { kind: 'only', pem: [pem], bundle }
    } catch (error) {
      if (!(error instanceof BundleUnusableError)) throw error
      const { cause } = error
      const code = cause instanceof Error ? (cause as { code?: unknown }).code : undefined
      const systemCode = typeof code === 'string' ? { system_code: code } : {}
      trace.add({ ...place, event: 'skipped', reason: error.reason, ...named, ...systemCode })
      return undefined
    }
  }

  /** Asks for the newest bundle and follows it. Throws RapError where it cannot be had, ERR_TRUST_BUNDLE where it does not follow. */
  async refresh(signal?: AbortSignal): Promise<string[]> {
    const { bundles } = this.#options
    if (bundles === undefined) return []
    const request = { method: 'GET', path: '/v1/trust-bundle', timeoutMs: this.#timeoutMs, signal } as const
    const { ref } = checked(BundleAnswer, (await this.#http.send(request)).body, 'a trust bundle')
    try {
      await bundles.follow(ref, this.#fetchBundle(signal))
    } catch (cause) {
      if (!(cause instanceof BundleUnusableError)) throw cause
      throw new RapError(
        'ERR_TRUST_BUNDLE',
        'trust bundle is not a successor of the one that is held',
        { reason: cause.reason },
        { cause },
      )
    }
    return bundles.refs
  }

  /** All bundles that one connect needs must come in the time of one call: the gateway waits behind it. */
  #fetchBundle(signal: AbortSignal | undefined): FetchBundle {
    const limit = AbortSignal.timeout(this.#timeoutMs)
    const both = signal === undefined ? limit : AbortSignal.any([limit, signal])
    return async version => {
      try {
        const path = buildPath('/v1/trust-bundles', [String(version)])
        const { body } = await this.#http.send({ method: 'GET', path, timeoutMs: this.#timeoutMs, signal: both })
        const { signed } = checked(BundleAnswer, body, 'a trust bundle')
        if (signed === null) throw new RapError('ERR_RESPONSE_INVALID', 'trust bundle is not signed')
        return signedOf(signed)
      } catch (cause) {
        if (signal?.aborted) throw new RapError('ERR_ABORTED', 'connecting was aborted', {}, { cause })
        throw new BundleUnusableError('trust_bundle_unavailable', 'bundle cannot be fetched', { cause })
      }
    }
  }
}
