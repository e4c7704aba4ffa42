import type { Members } from './answers.ts'

/** What goes wrong between a request and its answer. */
export type TransitFault =
  /** This answer instead of the server's own. */
  | {
      readonly kind: 'status'
      readonly status: number
      readonly errors?: readonly string[]
      readonly headers?: Readonly<Record<string, string>>
    }
  /** These bytes as the body of a 200. */
  | { readonly kind: 'body'; readonly body: string }
  /** The server's own answer with `data` or `auth` changed. */
  | { readonly kind: 'change'; readonly section: 'data' | 'auth'; readonly change: (members: Members) => Members }
  /** Never an answer. */
  | { readonly kind: 'hang' }
  /** The connection ends without an answer; `after` is whether the request was done. */
  | { readonly kind: 'cut'; readonly after: boolean }
  /** Half of an answer, and then the end of the connection. */
  | { readonly kind: 'half' }
  /** An answer that does not end. */
  | { readonly kind: 'endless' }
  /** The server's own answer, later. */
  | { readonly kind: 'slow'; readonly delayMs: number }
  | { readonly kind: 'redirect'; readonly location: string }

export interface FaultRule {
  readonly fault: TransitFault
  /** Requests whose path behind `/v1/` begins so; every one when absent. */
  readonly path: string
  left: number
}

/** Faults that a test switched on, and the requests that they count for. */
export class FaultSwitch {
  #rules: FaultRule[] = []

  /** `times` requests are hit, all of them when absent. */
  inject(fault: TransitFault, { path = '', times = Number.POSITIVE_INFINITY } = {}): () => void {
    const rule: FaultRule = { fault, path, left: times }
    this.#rules.push(rule)
    return () => {
      this.#rules = this.#rules.filter(other => other !== rule)
    }
  }

  clear(): void {
    this.#rules = []
  }

  faultFor(path: string): TransitFault | undefined {
    const rule = this.#rules.find(candidate => candidate.left > 0 && path.startsWith(candidate.path))
    if (rule !== undefined) rule.left -= 1
    return rule?.fault
  }
}
