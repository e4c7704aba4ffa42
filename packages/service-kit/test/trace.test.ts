import t from 'tap'
import { continueTrace, traceparentOf } from '../src/index.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

t.test('a valid traceparent is continued with a span of this hop', async t => {
  const trace = continueTrace(`00-${TRACE}-${SPAN}-01`)
  t.match(trace, { traceId: TRACE, parentSpanId: SPAN, sampled: true })
  t.match(trace.spanId, /^[0-9a-f]{16}$/)
  t.not(trace.spanId, SPAN)
  t.equal(traceparentOf(trace), `00-${TRACE}-${trace.spanId}-01`)
  t.equal(continueTrace(`00-${TRACE}-${SPAN}-00`).sampled, false)
  t.equal(continueTrace(`01-${TRACE}-${SPAN}-01-future`).traceId, TRACE, 'a later version may be longer (§3.2.2)')
})

t.test('anything else starts a new trace', async t => {
  const headers = [
    undefined,
    '',
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-01\n`,
    `00-${TRACE}-${SPAN}-01${'-x'.repeat(500)}`,
    ['00'],
  ]
  for (const header of headers) {
    const trace = continueTrace(header)
    t.not(trace.traceId, TRACE, String(header))
    t.match(trace.traceId, /^[0-9a-f]{32}$/)
    t.equal(trace.parentSpanId, undefined)
  }
})
