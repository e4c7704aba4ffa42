import { Worker } from 'node:worker_threads'
import type { Failure, FromThread, Request, ToThread } from './messages.ts'

export type Answer = { readonly output?: Uint8Array } | { readonly failure: Failure }

/** A thread's turn to log in to a token; nobody else has one before `settled` is called. */
export interface LoginTurn {
  /** Or why no log-in may be tried. */
  readonly pin: Uint8Array<ArrayBuffer> | Failure
  settled(failure: Failure | undefined): void
}
export type TakeTurn = () => Promise<LoginTurn>

const THREAD_ENDED: Failure = { at: 'thread', trouble: 'thread_ended' }

/** The main thread's end of one thread for HSM calls; holds the process open only while a request is under way. */
export class CallThread {
  readonly #worker: Worker
  #settle: ((answer: Answer) => void) | undefined
  #takeTurn: TakeTurn | undefined
  #turn: LoginTurn | undefined
  #ended = false
  readonly #exited: Promise<void>

  constructor(module: string, onEnd: (thread: CallThread) => void) {
    this.#worker = new Worker(new URL('./thread.ts', import.meta.url), {
      name: 'pkcs11',
      workerData: { module },
      // What the process was started with (loaders, a debugger) is none of this thread's business.
      execArgv: [],
    })
    this.#worker.on('message', (message: FromThread) => void this.#receive(message))
    // The `exit` that follows does what there is to do.
    this.#worker.on('error', () => {})
    this.#exited = new Promise(resolve => this.#worker.once('exit', () => resolve()))
    this.#worker.once('exit', () => {
      this.#ended = true
      this.#endTurn(THREAD_ENDED)
      this.#answer({ failure: THREAD_ENDED })
      onEnd(this)
    })
    this.#worker.unref()
  }

  /** One request at a time. INVARIANT: the bytes of the request leave this thread with it. */
  async ask(request: Request, takeTurn: TakeTurn): Promise<Answer> {
    if (this.#ended) return { failure: THREAD_ENDED }
    this.#takeTurn = takeTurn
    this.#worker.ref()
    try {
      return await new Promise<Answer>(resolve => {
        this.#settle = resolve
        this.#send({ kind: 'request', request }, 'input' in request ? [request.input.buffer as ArrayBuffer] : [])
      })
    } finally {
      this.#worker.unref()
    }
  }

  closeToken(tokenLabel: string): void {
    this.#send({ kind: 'close-token', tokenLabel })
  }

  /** Finalizes the library; the next request initializes it. INVARIANT: this is the only thread of the library. */
  async restartLibrary(): Promise<void> {
    if (this.#ended) return
    await new Promise<void>(resolve => {
      this.#settle = () => resolve()
      this.#send({ kind: 'restart-library' })
    })
  }

  /** Closes the sessions and ends the thread, after the call that it is in. */
  async end(): Promise<void> {
    this.#send({ kind: 'end' })
    await this.#exited
  }

  async #receive(message: FromThread): Promise<void> {
    if (message.kind === 'pin-wanted') {
      this.#turn = await this.#takeTurn?.()
      if (this.#ended) return this.#leaveTurn()
      const pin = this.#turn?.pin ?? THREAD_ENDED
      if (pin instanceof Uint8Array) return this.#send({ kind: 'pin', pin }, [pin.buffer])
      return this.#send({ kind: 'no-pin', failure: pin })
    }
    if (message.kind === 'login') return this.#endTurn(message.failure)
    if (message.kind === 'restarted') this.#answer({})
    if (message.kind === 'done') this.#answer(message.output === undefined ? {} : { output: message.output })
    if (message.kind === 'failed') this.#answer({ failure: message.failure })
  }

  #leaveTurn(): void {
    const pin = this.#turn?.pin
    if (pin instanceof Uint8Array) pin.fill(0)
    this.#endTurn(THREAD_ENDED)
  }

  #endTurn(failure: Failure | undefined): void {
    this.#turn?.settled(failure)
    this.#turn = undefined
  }

  #answer(answer: Answer): void {
    const settle = this.#settle
    this.#settle = undefined
    settle?.(answer)
  }

  #send(message: ToThread, moved: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, moved)
  }
}
