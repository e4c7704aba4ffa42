import { isIPv6 } from 'node:net'

/** Most connections at once. A limit for each address is left out where many users come from one, such as a gateway's or a NAT's. */
export interface Limits {
  readonly maxConnections: number
  readonly maxUnbound: number
  /** Connections of one address, bound ones too. */
  readonly maxPerAddress?: number
  /** Connections of one address that have not bound yet. */
  readonly maxUnboundPerAddress?: number
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
  readonly #byAddress = new Map<string, { all: number; unbound: number }>()
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
    const counts = this.#byAddress.get(key) ?? { all: 0, unbound: 0 }
    if (this.#isFull(counts)) return undefined
    this.#byAddress.set(key, counts)
    counts.all += 1
    counts.unbound += 1
    this.#connections += 1
    this.#unbound += 1
    let state: 'unbound' | 'bound' | 'released' = 'unbound'
    return {
      bound: () => {
        if (state !== 'unbound') return
        state = 'bound'
        this.#unbound -= 1
        counts.unbound -= 1
      },
      release: () => {
        if (state === 'released') return
        if (state === 'unbound') {
          this.#unbound -= 1
          counts.unbound -= 1
        }
        state = 'released'
        this.#connections -= 1
        counts.all -= 1
        if (counts.all === 0) this.#byAddress.delete(key)
      },
    }
  }

  #isFull({ all, unbound }: { readonly all: number; readonly unbound: number }): boolean {
    const { maxConnections, maxUnbound, maxPerAddress = Infinity, maxUnboundPerAddress = Infinity } = this.#limits
    return (
      this.#connections >= maxConnections ||
      this.#unbound >= maxUnbound ||
      all >= maxPerAddress ||
      unbound >= maxUnboundPerAddress
    )
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
