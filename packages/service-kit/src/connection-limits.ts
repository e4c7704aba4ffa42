import { isIPv6 } from 'node:net'

export interface Limits {
  readonly maxConnections: number
  readonly maxUnbound: number
  readonly maxPerAddress: number
}

/** One admitted connection; both calls are safe to repeat. */
export interface Admission {
  /** The connection has shown a valid token. */
  bound(): void
  release(): void
}

/** Counts connections, so that no number of strangers keeps users out or fills the memory. */
export class ConnectionLimits {
  readonly #limits: Limits
  readonly #byAddress = new Map<string, number>()
  #connections = 0
  #unbound = 0

  constructor(limits: Limits) {
    this.#limits = limits
  }

  get connections(): number {
    return this.#connections
  }

  get unbound(): number {
    return this.#unbound
  }

  /** Answers undefined where a limit is reached. */
  admit(address: string): Admission | undefined {
    const key = addressKey(address)
    const count = this.#byAddress.get(key) ?? 0
    const { maxConnections, maxUnbound, maxPerAddress } = this.#limits
    if (this.#connections >= maxConnections || this.#unbound >= maxUnbound || count >= maxPerAddress) return undefined
    this.#byAddress.set(key, count + 1)
    this.#connections += 1
    this.#unbound += 1
    let state: 'unbound' | 'bound' | 'released' = 'unbound'
    return {
      bound: () => {
        if (state !== 'unbound') return
        state = 'bound'
        this.#unbound -= 1
      },
      release: () => {
        if (state === 'released') return
        if (state === 'unbound') this.#unbound -= 1
        state = 'released'
        this.#connections -= 1
        const left = (this.#byAddress.get(key) ?? 1) - 1
        if (left === 0) this.#byAddress.delete(key)
        else this.#byAddress.set(key, left)
      },
    }
  }
}

/** One customer of IPv6 has a whole /64 to connect from. An IPv4 address that is mapped into IPv6 counts as itself. */
export function addressKey(address: string): string {
  const mapped = /^::ffff:(\d{1,3}(?:\.\d{1,3}){3})$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!isIPv6(address)) return address
  const [head = '', tail = ''] = (address.split('%')[0] ?? '').toLowerCase().split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const whole = address.includes('::')
    ? [...left, ...Array(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
    : left
  return `${whole
    .slice(0, 4)
    .map(group => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
