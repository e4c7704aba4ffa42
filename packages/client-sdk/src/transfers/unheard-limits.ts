import type { SideMessage } from '@rap/data-plane-protocol'

type LimitNear = Extract<SideMessage, { readonly type: 'limit_near' }>

/**
 * Limits that were said to be near while nobody listened: a worker says it once, and with its first words where it is so then.
 * `nowMs` is a monotonic reading, in milliseconds.
 */
export class UnheardLimits {
  readonly #said = new Map<LimitNear['limit'], { readonly message: LimitNear; readonly atMs: number }>()

  keep(message: SideMessage, nowMs: number): void {
    // Another policy comes with another warning, where there is one.
    if (message.type === 'policy') this.#said.clear()
    else if (message.type === 'limit_near') this.#said.set(message.limit, { message, atMs: nowMs })
  }

  /** What is left of them, once. */
  take(nowMs: number): LimitNear[] {
    const left = [...this.#said.values()].map(({ message, atMs }) => ({
      ...message,
      seconds_left: message.seconds_left - Math.floor((nowMs - atMs) / 1000),
    }))
    this.#said.clear()
    return left.filter(({ seconds_left }) => seconds_left > 0)
  }
}
