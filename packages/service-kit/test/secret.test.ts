import { inspect } from 'node:util'
import t from 'tap'
import { Secret } from '../src/index.ts'

t.test('a secret shows its bytes through expose and in no other way', async t => {
  const secret = Secret.from('hunter2')
  t.same(secret.expose(), Buffer.from('hunter2'))
  t.equal(secret.length, 7)
  const printed = [
    String(secret),
    `${secret}`,
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true, depth: 9 }),
    JSON.stringify(Object.entries(secret)),
    JSON.stringify(structuredCloneOrNothing(secret)),
  ]
  for (const text of printed) t.notMatch(text, /hunter2|104,117,110/)
  t.match(printed[2], /\[redacted\]/)
})

function structuredCloneOrNothing(value: unknown): unknown {
  try {
    return structuredClone(value)
  } catch {
    return undefined
  }
}

t.test('a destroyed secret is zero in memory and cannot be read', async t => {
  const bytes = Buffer.from('hunter2')
  const secret = Secret.from(bytes)
  t.equal(secret.expose(), bytes, 'a buffer is taken over, not copied')
  secret.destroy()
  secret.destroy()
  t.same(bytes, Buffer.alloc(7))
  t.equal(secret.destroyed, true)
  t.throws(() => secret.expose(), TypeError)
})

t.test('a secret from text has memory of its own', async t => {
  const secret = Secret.from('hunter2')
  t.equal(secret.expose().buffer.byteLength, 7, 'not a part of the pool of small buffers')
})

t.test('a secret is disposable', async t => {
  const bytes = Buffer.from('hunter2')
  // Node 22 does not know `using` yet; this is what it calls.
  Secret.from(bytes)[Symbol.dispose]()
  t.same(bytes, Buffer.alloc(7))
})
