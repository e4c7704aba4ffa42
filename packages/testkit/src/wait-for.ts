import { setTimeout as delay } from 'node:timers/promises'
import { TestkitError } from './errors.ts'

export interface WaitOptions {
  /** Milliseconds until the wait is given up, default 30 seconds: a busy machine is slow, and who gets what it waits for goes on at once. */
  readonly timeoutMs?: number
  /** Milliseconds between two looks, default 25. */
  readonly intervalMs?: number
  /** What is waited for, named in the error. */
  readonly what: string
}

type Falsy = false | undefined | null | 0 | ''

/**
 * Looks at a condition until it holds and returns what it gave.
 *
 * A condition that throws counts as not holding yet; its last error becomes the cause.
 * Throws TestkitError ERR_TESTKIT_TIMEOUT, also when one look hangs past the bound.
 */
export async function waitFor<T>(condition: () => T | Promise<T>, options: WaitOptions): Promise<Exclude<T, Falsy>> {
  const timeoutMs = options.timeoutMs ?? 30_000
  const deadline = performance.now() + timeoutMs
  let cause: unknown
  for (;;) {
    const left = deadline - performance.now()
    if (left <= 0) break
    const giveUp = new AbortController()
    try {
      const value = await Promise.race([condition(), delay(left, undefined, { signal: giveUp.signal })])
      if (value) return value as Exclude<T, Falsy>
    } catch (err) {
      cause = err
    } finally {
      giveUp.abort()
    }
    await delay(Math.min(options.intervalMs ?? 25, Math.max(0, deadline - performance.now())))
  }
  throw new TestkitError(
    'ERR_TESTKIT_TIMEOUT',
    `${options.what} did not happen within ${timeoutMs} ms`,
    { what: options.what, timeoutMs },
    cause === undefined ? undefined : { cause },
  )
}
