import { CLOSE_REASONS } from '@rap/data-plane-protocol'
import { type CloseInfo, closeInfoOf } from '../bind.ts'
import { RapError } from '../errors.ts'
import type { Link } from './link.ts'
import { errorMayPass, mayPass, pauseBefore } from './retry.ts'

/** A link that lasted this long was a good one, and its end begins a new count, in milliseconds. */
const GOOD_LINK_MS = 10_000

export interface KeeperOptions {
  /** Opens and binds one link. Throws RapError, LinkLostError. */
  readonly open: (signal: AbortSignal) => Promise<Link>
  /** How long a link may be missing before the keeper gives up, in milliseconds. */
  readonly retryForMs: number
  /** The link was lost and is looked for, or is there again. */
  readonly onChange: (link: Link | undefined, why: CloseInfo | undefined) => void
}

/** Keeps one link alive: opens the next one where the last was lost, until it is closed or an end is final. */
export class LinkKeeper {
  readonly closed: Promise<CloseInfo>
  readonly #options: KeeperOptions
  readonly #closed = Promise.withResolvers<CloseInfo>()
  readonly #given = new AbortController()
  #link: Link | undefined
  #waiting: PromiseWithResolvers<Link> | undefined
  #held: PromiseWithResolvers<void> | undefined
  #holds = 0
  #wake = () => {}
  #end: CloseInfo | undefined

  constructor(first: Link, options: KeeperOptions) {
    this.closed = this.#closed.promise
    this.#options = options
    this.#link = first
    void this.#keep(first)
  }

  /** How it ended; undefined while it goes on. */
  get end(): CloseInfo | undefined {
    return this.#end
  }

  /** The link that is up; undefined while it is looked for. */
  get current(): Link | undefined {
    return this.#link?.isOver === false ? this.#link : undefined
  }

  /** The link, once it is up. Undefined where there is none any more. */
  async link(): Promise<Link | undefined> {
    if (this.current !== undefined) return this.current
    if (this.#end !== undefined) return undefined
    this.#waiting ??= Promise.withResolvers<Link>()
    const ended = this.closed.then(() => undefined)
    return await Promise.race([this.#waiting.promise, ended])
  }

  /** Drops the link and looks for no other until `release`: what it is bound to is about to be replaced. */
  hold(): void {
    this.#holds += 1
    this.#held ??= Promise.withResolvers<void>()
    this.#link?.lose()
  }

  release(): void {
    this.#held?.resolve()
    this.#held = undefined
    this.#wake()
  }

  /** Ends it, since another connection has its channels now. */
  replace(): void {
    this.current?.lose()
    const reason = 'ERR_SESSION_CHANNELS_BOUND_AGAIN'
    this.#finish(closeInfoOf({ code: CLOSE_REASONS[reason].code, reason }, undefined))
  }

  /** Ends the link in order. */
  async close(): Promise<CloseInfo> {
    if (this.#end === undefined) {
      const ending = this.current?.close()
      this.#finish(CLOSED)
      await ending
    }
    return await this.closed
  }

  async #keep(first: Link): Promise<void> {
    let link = first
    for (let attempts = 0; ; ) {
      const openedAtMs = performance.now()
      const info = await link.over
      if (this.#end !== undefined) return
      if (!mayPass(info)) return this.#finish(info)
      this.#link = undefined
      this.#options.onChange(undefined, info)
      attempts = performance.now() - openedAtMs >= GOOD_LINK_MS ? 0 : attempts + 1
      const next = await this.#lookFor(attempts, info)
      if (next === undefined) return
      link = next
      this.#link = next
      this.#options.onChange(next, undefined)
      this.#waiting?.resolve(next)
      this.#waiting = undefined
    }
  }

  /** The next link; undefined where it has come to an end meanwhile. */
  async #lookFor(before: number, lost: CloseInfo): Promise<Link | undefined> {
    const { open, retryForMs } = this.#options
    let last = lost
    const untilMs = performance.now() + retryForMs
    for (let attempts = before; performance.now() < untilMs; attempts++) {
      await this.#pause(pauseBefore(attempts))
      await this.#held?.promise
      if (this.#end !== undefined) return undefined
      const holds = this.#holds
      try {
        const link = await open(this.#given.signal)
        if (this.#end === undefined && this.#holds === holds) return link
        // It is bound to what is being replaced, or nobody wants it any more.
        link.lose()
      } catch (error) {
        if (this.#end !== undefined) return undefined
        const info = endOfError(error)
        if (!errorMayPass(error) && this.#holds === holds) {
          this.#finish(info)
          return undefined
        }
        last = info
      }
    }
    this.#finish(last)
    return undefined
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #finish(info: CloseInfo): void {
    if (this.#end !== undefined) return
    this.#end = info
    this.#given.abort()
    this.release()
    this.#closed.resolve(info)
  }
}

const CLOSED: CloseInfo = {
  code: 1000,
  reason: '',
  detail: 'The connection was closed.',
  remedy: undefined,
  orderly: true,
}

function endOfError(error: unknown): CloseInfo {
  const { code, detail, remedy, closeCode } =
    error instanceof RapError ? error : new RapError('ERR_DATA_PLANE_CLOSED', 'connection failed', {}, { cause: error })
  return { code: closeCode ?? 1006, reason: code, detail: detail ?? 'The connection was lost.', remedy, orderly: false }
}
