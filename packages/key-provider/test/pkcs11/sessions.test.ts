import { randomBytes } from 'node:crypto'
import t from 'tap'
import { keyOf } from '../support/key-of.ts'
import { create, openSource, optionsOf, softHsm } from './hsm.ts'

const CONTEXT = Buffer.from('context')
const hsm = await softHsm(t)
const token = await hsm.addToken('main')

t.test('when every source is gone the sessions are closed, and a new source starts again', async t => {
  const first = await openSource(t, optionsOf(hsm, token))
  await create(first)
  first.destroy()
  for (let round = 0; round < 2; round++) {
    const source = await openSource(t, optionsOf(hsm, token))
    const wrapped = await keyOf(source).wrap(randomBytes(32), CONTEXT)
    source.destroy()
    const next = await openSource(t, optionsOf(hsm, token))
    t.equal((await keyOf(next).unwrap(wrapped, CONTEXT)).length, 32)
    next.destroy()
  }
})
