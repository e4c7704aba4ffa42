import { type Answer, CallThread } from './call-thread.ts'
import { isLost } from './failures.ts'
import type { Request } from './messages.ts'
import { RestartTimes } from './restart-times.ts'
import { type PinSource, TokenLogins } from './token-logins.ts'

/** Calls of one library at a time: sessions that a token has to give, and threads that this process has to run. */
const MAX_THREADS = 4
/** A token that answers at once is served by one thread, which is some 25 MB of memory; a slow one gets more. */
const GROW_AFTER_MS = 20
/** Requests that wait for a thread; bounds the data keys in memory while an HSM is slow. */
const MAX_WAITING = 1_000

interface Waiting {
  readonly request: Request
  readonly pin: PinSource
  /** Undefined where nobody will answer. */
  readonly settle: (answer: Answer | undefined) => void
}

/** Until the library has answered one of these, it may not be initialized. */
const BEFORE_USE: ReadonlySet<string> = new Set(['load', 'C_Initialize', 'thread'])

/**
 * All calls of this process to one PKCS#11 library.
 *
 * INVARIANT: one object for each library and process, whatever the number of sources, because C_Initialize, log-ins and
 * refused PINs are the process's.
 */
export class ModuleThreads {
  readonly #path: string
  readonly #idle: CallThread[] = []
  readonly #all = new Set<CallThread>()
  readonly #queue = new Set<Waiting>()
  readonly #logins = new Map<string, TokenLogins>()
  readonly #users = new Map<string, number>()
  #isInitialized = false
  #growth: NodeJS.Timeout | undefined
  readonly #restarts = new RestartTimes()
  #isRestarting = false

  private constructor(path: string) {
    this.#path = path
  }

  static readonly #ofPath = new Map<string, ModuleThreads>()

  static of(path: string): ModuleThreads {
    const known = ModuleThreads.#ofPath.get(path)
    if (known !== undefined) return known
    const made = new ModuleThreads(path)
    ModuleThreads.#ofPath.set(path, made)
    return made
  }

  addUser(tokenLabel: string): void {
    this.#users.set(tokenLabel, (this.#users.get(tokenLabel) ?? 0) + 1)
  }

  /** Without a user a token's sessions are closed, which logs this process out. */
  removeUser(tokenLabel: string): void {
    const left = (this.#users.get(tokenLabel) ?? 1) - 1
    if (left > 0) return void this.#users.set(tokenLabel, left)
    this.#users.delete(tokenLabel)
    for (const waiting of this.#queue) {
      if (waiting.request.tokenLabel === tokenLabel) this.#leave(waiting)
    }
    for (const thread of this.#all) {
      if (this.#users.size > 0) thread.closeToken(tokenLabel)
      else void thread.end()
    }
    if (this.#users.size > 0) return
    this.#all.clear()
    this.#idle.length = 0
  }

  /** The answer of a thread, or undefined where none was free or ready within the time. */
  async ask(request: Request, pin: PinSource, timeoutMs: number): Promise<Answer | undefined> {
    if (this.#queue.size >= MAX_WAITING) {
      if ('input' in request) request.input.fill(0)
      return { failure: { at: 'thread', trouble: 'busy' } }
    }
    return await new Promise<Answer | undefined>(resolve => {
      let isLate = false
      const waiting: Waiting = {
        request,
        pin,
        settle: answer => {
          clearTimeout(timer)
          resolve(answer)
          // A data key that nobody waits for any more.
          if (isLate && answer !== undefined && 'output' in answer) answer.output?.fill(0)
        },
      }
      const timer = setTimeout(() => {
        isLate = true
        if (this.#queue.has(waiting)) this.#leave(waiting)
        resolve(undefined)
      }, timeoutMs)
      this.#queue.add(waiting)
      this.#next()
    })
  }

  #leave(waiting: Waiting): void {
    this.#queue.delete(waiting)
    if ('input' in waiting.request) waiting.request.input.fill(0)
    waiting.settle(undefined)
  }

  #next(): void {
    if (this.#isRestarting) return void this.#restartWhenIdle()
    for (const waiting of this.#queue) {
      const thread = this.#idle.pop() ?? (this.#all.size === 0 ? this.#start() : undefined)
      if (thread === undefined) return void this.#growSoon()
      this.#queue.delete(waiting)
      void this.#run(thread, waiting)
    }
  }

  async #run(thread: CallThread, { request, pin, settle }: Waiting): Promise<void> {
    const answer = await thread.ask(request, () => this.#loginsOf(request.tokenLabel).takeTurn(pin))
    if (!('failure' in answer && BEFORE_USE.has(answer.failure.at))) this.#isInitialized = true
    settle(answer)
    if (!('failure' in answer)) this.#restarts.succeeded(request.tokenLabel)
    else if (isLost(answer.failure) && this.#restarts.isDue(request.tokenLabel)) this.#isRestarting = true
    if (this.#all.has(thread)) {
      if (!this.#users.has(request.tokenLabel)) thread.closeToken(request.tokenLabel)
      this.#idle.push(thread)
    }
    this.#next()
  }

  /** Many libraries find a token that was away, or is new, only after they were initialized again. */
  async #restartWhenIdle(): Promise<void> {
    if (this.#idle.length < this.#all.size) return
    const [last, ...others] = this.#idle.splice(0)
    await Promise.all(others.map(thread => thread.end()))
    await last?.restartLibrary()
    this.#isInitialized = false
    this.#isRestarting = false
    if (last !== undefined && this.#all.has(last)) this.#idle.push(last)
    this.#next()
  }

  /** C_Initialize is not for two threads at once: there is one until the library has answered it. */
  #growSoon(): void {
    if (this.#growth !== undefined || !this.#isInitialized || this.#all.size >= MAX_THREADS) return
    this.#growth = setTimeout(() => {
      this.#growth = undefined
      if (this.#queue.size === 0 || !this.#isInitialized || this.#isRestarting) return
      this.#idle.push(this.#start())
      this.#next()
    }, GROW_AFTER_MS)
  }

  #start(): CallThread {
    const thread = new CallThread(this.#path, ended => {
      this.#all.delete(ended)
      const index = this.#idle.indexOf(ended)
      if (index >= 0) this.#idle.splice(index, 1)
    })
    this.#all.add(thread)
    return thread
  }

  /** Kept when the last user goes: a reload must not use up another try of a PIN that was refused. */
  #loginsOf(tokenLabel: string): TokenLogins {
    const known = this.#logins.get(tokenLabel)
    if (known !== undefined) return known
    const made = new TokenLogins(tokenLabel)
    this.#logins.set(tokenLabel, made)
    return made
  }
}
