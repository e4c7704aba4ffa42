import { type KeyLookup, keyLookupOf } from '@rap/token-claims'
import { Agent, request } from 'undici'
import { commonProblems } from './errors.ts'
import type { Logger } from './log.ts'
import { TLS_DEFAULTS, type TlsMaterial } from './tls.ts'

/** Largest key set document, in bytes. */
const MAX_DOCUMENT_BYTES = 64 * 1024
const FETCH_TIMEOUT_MS = 5000
/** A set is fetched again after five minutes, so that a retired key stops to count. */
const FRESH_MS = 5 * 60_000
/** While the control plane is away the last set counts for a quarter of an hour; every token ends much sooner. */
const USABLE_MS = 15 * 60_000
/** An unknown `kid` is a reason to look again, but not more often than this: anybody can make one up. */
export const KEY_SET_COOLDOWN_MS = 5000
/** A control plane that has just started is found soon. */
const FAILURE_COOLDOWN_MS = 1000

export interface RemoteKeySetOptions {
  /** https URL of the control plane's JWK Set. */
  readonly url: string
  /** The trust bundle of the moment, and the own certificate where the listener asks for one. */
  readonly tls: () => Partial<TlsMaterial> | Promise<Partial<TlsMaterial>>
  readonly logger: Logger
  readonly onFetch?: (outcome: 'ok' | 'failed') => void
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number
}

/** The control plane's signing keys, fetched when they are needed and kept for a while. */
export interface RemoteKeySet {
  /**
   * For `verifyToken`; undefined for a key id that the control plane does not know.
   * Rejects with ProblemError ERR_UPSTREAM_UNAVAILABLE where no usable set can be had: no answer is no key.
   */
  readonly lookup: KeyLookup
  /** True where there are keys that may be used. */
  ready(): Promise<boolean>
}

/** Makes the key set of one URL; nothing is fetched yet. At most one fetch runs at a time. */
export function remoteKeySet({
  url,
  tls,
  logger,
  onFetch,
  now = () => performance.now(),
}: RemoteKeySetOptions): RemoteKeySet {
  let fetched: { readonly lookup: Awaited<ReturnType<typeof keyLookupOf>>; readonly at: number } | undefined
  let nextTryAt = Number.NEGATIVE_INFINITY
  let running: Promise<void> | undefined

  const refresh = (): Promise<void> => {
    running ??= (async () => {
      try {
        fetched = { lookup: await keyLookupOf(await fetchDocument(url, await tls())), at: now() }
        nextTryAt = now() + KEY_SET_COOLDOWN_MS
        onFetch?.('ok')
      } catch (err) {
        nextTryAt = now() + FAILURE_COOLDOWN_MS
        onFetch?.('failed')
        logger.warn({ event: 'key_set_not_fetched', err }, 'key set not fetched')
      } finally {
        running = undefined
      }
    })()
    return running
  }
  const mayTry = (): boolean => running !== undefined || now() >= nextTryAt
  const isWithin = (limitMs: number): boolean => fetched !== undefined && now() - fetched.at < limitMs

  return {
    async lookup(kid) {
      const unknown = (): boolean => fetched?.lookup.kids.includes(kid) !== true
      if (!isWithin(FRESH_MS) && mayTry()) await refresh()
      if (unknown() && mayTry()) await refresh()
      if (!isWithin(USABLE_MS))
        throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ facts: { received: 'no usable key set' } })
      return await fetched?.lookup(kid)
    },
    async ready() {
      if (!isWithin(FRESH_MS) && mayTry()) await refresh()
      return isWithin(USABLE_MS)
    },
  }
}

async function fetchDocument(url: string, material: Partial<TlsMaterial>): Promise<unknown> {
  // Key sets are fetched minutes apart, and the material may have changed since: each fetch has a connection of its own.
  const dispatcher = new Agent({
    connect: { ...TLS_DEFAULTS, ...material, rejectUnauthorized: true, timeout: FETCH_TIMEOUT_MS },
    maxResponseSize: MAX_DOCUMENT_BYTES,
  })
  try {
    const { statusCode, body } = await request(url, {
      dispatcher,
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    })
    const text = await body.text()
    if (statusCode !== 200) throw new Error(`key set was answered with status ${statusCode}`)
    return JSON.parse(text)
  } finally {
    await dispatcher.destroy()
  }
}
