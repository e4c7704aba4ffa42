import t from 'tap'
import { requestHashOf } from '../../src/sessions/idempotency.ts'

const hex = (body: Record<string, unknown>) => requestHashOf(body).toString('hex')

t.test('requests that ask for the same have the same hash', async t => {
  t.equal(hex({ a: 1, b: { c: [1, 2], d: 'x' } }), hex({ b: { d: 'x', c: [1, 2] }, a: 1 }))
  t.equal(hex({ a: 1, b: undefined }), hex({ a: 1 }))
})

t.test('requests that ask for something else have another hash', async t => {
  const bodies = [
    { a: 1 },
    { a: '1' },
    { a: null },
    { a: [1] },
    { a: { b: 1 } },
    { b: 1 },
    { a: 1, b: 1 },
    { 'a":1,"b': 1 },
  ]
  t.equal(new Set(bodies.map(hex)).size, bodies.length)
})
