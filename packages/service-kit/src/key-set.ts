import { JWKS_MAX_AGE_SECONDS, type KeyLookup, type KeySetLookup, keyLookupOf } from '@rap/token-claims'
import { Agent, request } from 'undici'
import { commonProblems } from './errors.ts'
import type { Logger } from './log.ts'
import { PacedAttempts } from './paced-attempts.ts'
import { TLS_DEFAULTS, type TlsMaterial } from './tls.ts'

/** Largest key set document, in bytes. */
const MAX_DOCUMENT_BYTES = 64 * 1024
/** Longest entity tag that is kept, in characters. */
const MAX_ETAG_CHARACTERS = 128
const FETCH_TIMEOUT_MS = 5000
/** A set that is older is asked for again before it counts, so that a key that is taken back stops to. */
const FRESH_MS = JWKS_MAX_AGE_SECONDS * 1000
/** While keys are in use the set is fetched ahead of that, with room for one fetch that times out. */
const REFRESH_MS = (FRESH_MS * 2) / 3
/** A set that nobody has asked for is not fetched for nothing. */
const IN_USE_MS = 15 * 60_000
/** While the control plane is away the last set counts for a quarter of an hour; every token ends much sooner. */
const USABLE_MS = 15 * 60_000
/** Least time between two fetches: anybody can make up the id of a key that has to be looked for. */
export const KEY_SET_COOLDOWN_MS = 1000

export interface RemoteKeySetOptions {
  /** https URL of the control plane's JWK Set. */
  readonly url: string
  /** The trust bundle of the moment, and the own certificate where the listener asks for one. */
  readonly tls: () => Partial<TlsMaterial> | Promise<Partial<TlsMaterial>>
  readonly logger: Logger
  readonly onFetch?: (outcome: 'ok' | 'failed') => void
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number
  /** Time between two fetches ahead while keys are in use, in milliseconds; default two thirds of JWKS_MAX_AGE_SECONDS. */
  readonly refreshMs?: number
}

/** The control plane's signing keys, fetched when they are needed and kept for a while. */
export interface RemoteKeySet {
  /**
   * For `verifyToken`; undefined for a key id that the control plane does not know.
   *
   * A key id that is not in the set is answered after a fetch that began after the question: a flood of made-up ids costs one fetch
   * a second, and refuses no token whose key is new. Callers bound how many questions they have open.
   * Rejects with ProblemError ERR_UPSTREAM_UNAVAILABLE where no usable set can be had: no answer is no key.
   */
  readonly lookup: KeyLookup
  /** True where there are keys that may be used. */
  ready(): Promise<boolean>
}

/** A set that was fetched. */
interface Fetched {
  readonly lookup: KeySetLookup
  readonly etag: string | undefined
  readonly at: number
}

/** Makes the key set of one URL; nothing is fetched yet. At most one fetch runs at a time. */
export function remoteKeySet(options: RemoteKeySetOptions): RemoteKeySet {
  const { url, tls, logger, onFetch, now = () => performance.now(), refreshMs = REFRESH_MS } = options
  let fetched: Fetched | undefined
  let hasFailed = false
  let usedAt = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined

  const isWithin = (limitMs: number): boolean => fetched !== undefined && now() - fetched.at < limitMs
  const knows = (kid: string): boolean => isWithin(USABLE_MS) && fetched?.lookup.kids.includes(kid) === true
  const refreshAhead = (): void => {
    clearTimeout(timer)
    timer = setTimeout(() => now() - usedAt < IN_USE_MS && void attempts.any(), refreshMs)
    timer.unref()
  }
  const attempts = new PacedAttempts({
    pauseMs: KEY_SET_COOLDOWN_MS,
    now,
    async attempt() {
      // Counted from before the question: what the answer holds is at least as new.
      const at = now()
      try {
        fetched = await fetchSet({ url, material: await tls(), last: fetched, at })
        hasFailed = false
        onFetch?.('ok')
      } catch (err) {
        hasFailed = true
        onFetch?.('failed')
        logger.warn({ event: 'key_set_not_fetched', err }, 'key set not fetched')
      }
      refreshAhead()
    },
  })
  /** Nobody waits for a control plane that is known to be away while the last set has the answer. */
  const bringUpToDate = async (hasAnswer: boolean): Promise<void> => {
    usedAt = now()
    if (isWithin(FRESH_MS)) return
    if (hasFailed && hasAnswer) void attempts.any()
    else await attempts.any()
  }

  return {
    async lookup(kid) {
      const { begun } = attempts
      await bringUpToDate(knows(kid))
      if (!knows(kid) && attempts.begun === begun) await attempts.fresh()
      if (knows(kid)) return await fetched?.lookup(kid)
      if (hasFailed || !isWithin(USABLE_MS))
        throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ facts: { received: 'no usable key set' } })
      return undefined
    },
    async ready() {
      await bringUpToDate(isWithin(USABLE_MS))
      return isWithin(USABLE_MS)
    },
  }
}

async function fetchSet(question: {
  readonly url: string
  readonly material: Partial<TlsMaterial>
  readonly last: Fetched | undefined
  readonly at: number
}): Promise<Fetched> {
  const { url, material, last, at } = question
  // Sets are fetched many seconds apart, and the material may have changed since: each fetch has a connection of its own.
  const dispatcher = new Agent({
    connect: { ...TLS_DEFAULTS, ...material, rejectUnauthorized: true, timeout: FETCH_TIMEOUT_MS },
    maxResponseSize: MAX_DOCUMENT_BYTES,
  })
  try {
    const answer = await ask(dispatcher, url, last?.etag)
    if (answer === 'unchanged' && last !== undefined) return { ...last, at }
    // RFC 9110 §8.6: a 304 may carry the length of what it does not send; undici takes that for a body that is cut short.
    const { document, etag } = typeof answer === 'object' ? answer : await askWhole(dispatcher, url)
    return { lookup: await keyLookupOf(document), etag, at }
  } finally {
    await dispatcher.destroy()
  }
}

interface Answer {
  readonly document: unknown
  readonly etag: string | undefined
}

async function askWhole(dispatcher: Agent, url: string): Promise<Answer> {
  const answer = await ask(dispatcher, url, undefined)
  if (typeof answer === 'string') throw new Error('key set was not answered')
  return answer
}

async function ask(dispatcher: Agent, url: string, etag: string | undefined): Promise<Answer | 'unchanged' | 'cut'> {
  try {
    const { statusCode, headers, body } = await request(url, {
      dispatcher,
      headers: {
        accept: 'application/json',
        // A cache on the way must not answer: the set may be as old as that cache allows already.
        'cache-control': 'no-cache',
        ...(etag !== undefined && { 'if-none-match': etag }),
      },
      signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    })
    const text = await body.text()
    if (statusCode === 304 && etag !== undefined) return 'unchanged'
    if (statusCode !== 200) throw new Error(`key set was answered with status ${statusCode}`)
    return { document: JSON.parse(text), etag: etagOf(headers.etag) }
  } catch (error) {
    if (etag !== undefined && (error as { code?: string }).code === 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH') return 'cut'
    throw error
  }
}

function etagOf(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && header.length <= MAX_ETAG_CHARACTERS ? header : undefined
}
