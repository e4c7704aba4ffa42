import { type ChildProcess, fork } from 'node:child_process'

/** Who reads a stream: the worker's clients, nginx's, the target's own, or those of a session whose clipboard and drive are in use. */
export type Group = 'worker' | 'nginx' | 'direct' | 'mixed'

/** Orders to the traffic generators; each is answered once. */
export type Order =
  | { readonly do: 'listen'; readonly cert: string; readonly key: string; readonly frameBytes: number }
  | {
      readonly do: 'relay'
      readonly cert: string
      readonly key: string
      readonly ca: string
      readonly ports: TargetPorts
    }
  | { readonly do: 'counters' }
  | { readonly do: 'emit'; readonly group: Group; readonly streams: number; readonly fps: number | 'full' }
  | { readonly do: 'quiet' }
  | { readonly do: 'sent' }
  | { readonly do: 'trust'; readonly ca: string; readonly frameBytes: number }
  | { readonly do: 'open'; readonly group: Group; readonly port: number; readonly bind?: string }
  | { readonly do: 'count' }
  | { readonly do: 'counted' }
  | { readonly do: 'stall'; readonly group: Group; readonly stalled: boolean }

/** Ports of the target, one for each way to reach it. */
export interface TargetPorts {
  readonly worker: number
  readonly nginx: number
  readonly direct: number
  readonly mixed: number
  /** The connection sequence, and then the frames of the group `nginx`. */
  readonly off: number
}

export interface Counted {
  readonly frames: number
  readonly bytes: number
  readonly seconds: number
  readonly p50Micros: number
  readonly p99Micros: number
}

/** A traffic generator in a process of its own. */
export class Peer {
  readonly #child: ChildProcess
  readonly #waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = []

  constructor(script: string) {
    this.#child = fork(script, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', message => {
      const { value, error } = message as { value?: unknown; error?: string }
      const waiter = this.#waiting.shift()
      if (error === undefined) waiter?.resolve(value)
      else waiter?.reject(new Error(error))
    })
    this.#child.on('exit', code => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`generator ended with ${code}`))
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  order<T = undefined>(order: Order): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ resolve: resolve as (value: unknown) => void, reject })
      this.#child.send(order)
    })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = new Promise(resolve => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await ended
  }
}

/** The other side of `Peer`: answers orders in their sequence. */
export function answerOrders(carryOut: (order: Order) => Promise<unknown> | unknown): void {
  let last: Promise<void> = Promise.resolve()
  process.on('message', message => {
    last = last.then(async () => {
      try {
        process.send?.({ value: await carryOut(message as Order) })
      } catch (error) {
        process.send?.({ error: (error as Error).message })
      }
    })
  })
  process.on('disconnect', () => process.exit())
}
