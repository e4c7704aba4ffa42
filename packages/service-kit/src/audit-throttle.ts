/** Longest time that a counted event waits for its row, in milliseconds: what a process that is killed takes with it. */
const WINDOW_MS = 10_000
/** Events of one key that get a row each in a window: enough to see what they have in common. */
const PER_WINDOW = 4
/** Keys in a window: with `PER_WINDOW` it bounds the rows. */
const MAX_KEYS = 16
/** Rows that are being written at once; more single ones wait for the end of the window. */
const MAX_UNDER_WAY = 32
/** What was counted is done. */
const COUNTED = Promise.resolve()

export interface AuditThrottleOptions<E> {
  /**
   * Events with one key are alike: a row about the last of them, with a count, says nothing untrue about the others.
   * Whatever such a row names belongs into the key.
   */
  readonly keyOf: (event: E) => string
  /**
   * Writes one row, which stands for the event and for `suppressedCount` earlier ones with the same key. `isMixed`: beyond
   * `maxKeys` the earlier ones had any keys, so that a row must name nothing that was only the last one's.
   */
  readonly send: (event: E, suppressedCount: number, isMixed: boolean) => Promise<void> | void
  /** Rows of single events for each key in a window; 4 when absent. */
  readonly perWindow?: number
  /** Length of a window in milliseconds; 10 s when absent. */
  readonly windowMs?: number
  /** Keys that are told apart in a window; 16 when absent. What comes beyond them is counted together. */
  readonly maxKeys?: number
  /** Monotonic clock, in milliseconds. */
  readonly now?: () => number
}

/** The events of one key in one window. */
interface Kind<E> {
  readonly isMixed: boolean
  /** Single events that were let through. */
  passed: number
  /** Events that no row stands for yet. */
  held: number
  last: E
}

/**
 * Lets the first events of a key in a window through and counts the rest, which become one row at the end of the window.
 *
 * INVARIANT: events that were reported = rows that were written + the counts in them + `pending`, at any time and
 * whatever fails: a row that could not be written is counted again. INVARIANT: at most (`maxKeys` + 1) × (`perWindow` + 1)
 * rows in a window, and one event in memory for each key. Those who must not hide one another get a throttle each.
 */
export class AuditThrottle<E> {
  readonly #keyOf: (event: E) => string
  readonly #write: AuditThrottleOptions<E>['send']
  readonly #perWindow: number
  readonly #windowMs: number
  readonly #maxKeys: number
  readonly #now: () => number
  #kinds = new Map<string, Kind<E>>()
  /** What comes beyond `maxKeys`. */
  #mixed: Kind<E> | undefined
  readonly #underWay = new Set<Promise<void>>()
  #pending = 0
  #windowStart: number | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: AuditThrottleOptions<E>) {
    const { keyOf, send, perWindow, windowMs, maxKeys, now } = options
    this.#keyOf = keyOf
    this.#write = send
    this.#perWindow = perWindow ?? PER_WINDOW
    this.#windowMs = windowMs ?? WINDOW_MS
    this.#maxKeys = maxKeys ?? MAX_KEYS
    this.#now = now ?? (() => performance.now())
  }

  /** Events that no written row stands for yet. */
  get pending(): number {
    return this.#pending
  }

  /** Resolves as soon as the event has its row or is counted; never rejects. */
  report(event: E): Promise<void> {
    this.#pending += 1
    const kind = this.#kindOf(event)
    // Where writing is slow, single rows wait with the others: they must not pile up.
    if (kind.passed >= this.#perWindow || this.#underWay.size >= MAX_UNDER_WAY) return this.#hold(kind, event, 1)
    kind.passed += 1
    return this.#send(event, 1, false)
  }

  /** Tries once to write what is counted. */
  async flush(): Promise<void> {
    // What fails meanwhile is counted, and tried here again.
    await Promise.all(this.#underWay)
    this.#endWindow()
    await Promise.all(this.#underWay)
  }

  /** To be called after the last report: `flush`, and no further try. What is still `pending` afterwards is lost. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.flush()
  }

  /** The kind of an event in the window of this moment. */
  #kindOf(event: E): Kind<E> {
    if (this.#now() - (this.#windowStart ?? Number.POSITIVE_INFINITY) >= this.#windowMs) this.#endWindow()
    this.#windowStart ??= this.#now()
    const key = this.#keyOf(event)
    const known = this.#kinds.get(key)
    if (known !== undefined) return known
    if (this.#kinds.size >= this.#maxKeys) return this.#mixedKind(event)
    const kind = { isMixed: false, passed: 0, held: 0, last: event }
    this.#kinds.set(key, kind)
    return kind
  }

  #mixedKind(event: E): Kind<E> {
    this.#mixed ??= { isMixed: true, passed: 0, held: 0, last: event }
    return this.#mixed
  }

  #hold(kind: Kind<E>, event: E, count: number): Promise<void> {
    this.#windowStart ??= this.#now()
    kind.held += count
    kind.last = event
    this.#armTimer()
    return COUNTED
  }

  #armTimer(): void {
    if (this.#timer !== undefined || this.#isClosed) return
    const left = (this.#windowStart ?? 0) + this.#windowMs - this.#now()
    this.#timer = setTimeout(() => this.#endWindow(), Math.max(0, left)).unref()
  }

  #endWindow(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#windowStart = undefined
    const kinds = [...this.#kinds.values(), ...(this.#mixed === undefined ? [] : [this.#mixed])]
    this.#kinds = new Map()
    this.#mixed = undefined
    for (const { held, last, isMixed } of kinds) if (held > 0) void this.#send(last, held, isMixed && held > 1)
  }

  #send(event: E, count: number, isMixed: boolean): Promise<void> {
    const sent = this.#trySend(event, count, isMixed).finally(() => this.#underWay.delete(sent))
    this.#underWay.add(sent)
    return sent
  }

  async #trySend(event: E, count: number, isMixed: boolean): Promise<void> {
    try {
      await this.#write(event, count - 1, isMixed)
      this.#pending -= count
    } catch {
      // Whoever writes has said why. The window may be another one by now.
      const kind = isMixed ? this.#mixedKind(event) : this.#kindOf(event)
      void this.#hold(kind, event, count)
    }
  }
}
