import { request } from 'node:https'
import { commonProblems, type Logger, TLS_DEFAULTS, type TlsMaterial } from '@rap/service-kit'
import { type KeyLookup, keyLookupOf } from '@rap/token-claims'

/** Largest key set document, in bytes. */
const MAX_DOCUMENT_BYTES = 64 * 1024
const FETCH_TIMEOUT_MS = 5_000
/** A set is fetched again after five minutes, so that a retired key stops to count. */
const FRESH_MS = 5 * 60_000
/** While the control plane is away, the last set counts for a quarter of an hour; lease tokens end much sooner. */
const USABLE_MS = 15 * 60_000
/** An unknown `kid` is a reason to look again, but not more often than this: anybody can make one up. */
const COOLDOWN_MS = 5_000
/** A control plane that has just started is found soon. */
const FAILURE_COOLDOWN_MS = 1_000

export interface TokenKeysOptions {
  /** https URL of the control plane's JWK Set. */
  readonly url: string
  /** The platform's trust bundle, and this service's own certificate for a listener that asks for one. */
  readonly tls: () => TlsMaterial
  readonly logger: Logger
  /** Milliseconds of a monotonic clock. */
  readonly now?: () => number
}

interface FetchedKeys {
  readonly lookup: KeyLookup
  readonly at: number
}

/**
 * The control plane's signing keys, fetched when they are needed and kept for a while.
 * The lookup rejects with ProblemError ERR_UPSTREAM_UNAVAILABLE where no usable set can be had: no answer is no key.
 */
export function tokenKeys({ url, tls, logger, now = () => performance.now() }: TokenKeysOptions): KeyLookup {
  let fetched: FetchedKeys | undefined
  let nextTryAt = Number.NEGATIVE_INFINITY
  let running: Promise<void> | undefined

  const refresh = () => {
    running ??= (async () => {
      try {
        fetched = { lookup: await keyLookupOf(await fetchJson(url, tls())), at: now() }
        nextTryAt = now() + COOLDOWN_MS
      } catch (err) {
        nextTryAt = now() + FAILURE_COOLDOWN_MS
        logger.warn({ event: 'token_keys_not_fetched', err }, 'token keys not fetched')
      } finally {
        running = undefined
      }
    })()
    return running
  }
  const mayTry = () => running !== undefined || now() >= nextTryAt

  return async kid => {
    if ((fetched === undefined || now() - fetched.at >= FRESH_MS) && mayTry()) await refresh()
    let key = await fetched?.lookup(kid)
    if (key === undefined && mayTry()) {
      await refresh()
      key = await fetched?.lookup(kid)
    }
    if (fetched === undefined || now() - fetched.at >= USABLE_MS) {
      throw commonProblems.ERR_UPSTREAM_UNAVAILABLE({ facts: { received: 'no usable key set' } })
    }
    return key
  }
}

async function fetchJson(url: string, { ca, cert, key }: TlsMaterial): Promise<unknown> {
  const text = await new Promise<string>((resolve, reject) => {
    const call = request(url, {
      ...TLS_DEFAULTS,
      ca,
      cert,
      key,
      // A connection of its own: the material may have changed since the last one.
      agent: false,
      headers: { accept: 'application/json' },
      signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
    })
    call.on('error', reject)
    call.on('response', answer => {
      if (answer.statusCode !== 200) {
        answer.destroy()
        reject(new Error(`key set was answered with status ${answer.statusCode}`))
        return
      }
      const chunks: Buffer[] = []
      let size = 0
      answer.on('error', reject)
      answer.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > MAX_DOCUMENT_BYTES) answer.destroy(new Error('key set is over the bound'))
        else chunks.push(chunk)
      })
      answer.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    })
    call.end()
  })
  return JSON.parse(text)
}
