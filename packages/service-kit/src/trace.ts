import { randomBytes } from 'node:crypto'

/** Position of one request in a distributed trace (W3C Trace Context). */
export interface TraceContext {
  /** 32 lowercase hex digits, shared by every hop. */
  readonly traceId: string
  /** 16 lowercase hex digits, new for this hop. */
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly sampled: boolean
}

// Version ff is forbidden, and versions after 00 may append fields behind another dash (§3.2.2).
const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.{0,256})?$/

/** Continues the trace of a `traceparent` header, or starts a new one when the header is absent or out of form (§4.3). */
export function continueTrace(header: unknown): TraceContext {
  const match = typeof header === 'string' && header.length <= 512 ? TRACEPARENT.exec(header) : null
  const [, traceId, parentSpanId, flags] = match ?? []
  const spanId = randomBytes(8).toString('hex')
  if (traceId === undefined || parentSpanId === undefined || /^0+$/.test(traceId) || /^0+$/.test(parentSpanId)) {
    return { traceId: randomBytes(16).toString('hex'), spanId, parentSpanId: undefined, sampled: false }
  }
  return { traceId, spanId, parentSpanId, sampled: (Number.parseInt(flags ?? '0', 16) & 1) === 1 }
}

/** The `traceparent` header of a call that this request makes to another service. */
export function traceparentOf(trace: TraceContext): string {
  return `00-${trace.traceId}-${trace.spanId}-${trace.sampled ? '01' : '00'}`
}
