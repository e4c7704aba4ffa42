import { randomBytes } from 'node:crypto'
import t from 'tap'
import { findSecret, newCanary } from '../src/index.ts'

t.test('a secret is found in every form that it may lie around in', async t => {
  const secret = newCanary()
  const wide = Buffer.from(secret, 'utf16le')
  const found = (haystack: string | Buffer) => findSecret(haystack, secret).length > 0
  t.ok(found(`password=${secret};`))
  t.ok(found(Buffer.concat([randomBytes(7), wide, randomBytes(7)])))
  t.ok(found(JSON.stringify({ bytes: wide.toString('hex') })))
  t.ok(found(wide.toString('latin1').replaceAll('\0', '\\000')))
  t.ok(found(wide.toString('latin1').replaceAll('\0', '\\\\000')))
  for (let before = 0; before < 3; before++) {
    for (const bytes of [Buffer.from(secret), wide]) {
      const message = Buffer.concat([randomBytes(before), bytes, randomBytes(5)])
      t.ok(found(message.toString('base64')), `base64 after ${before} bytes`)
      t.ok(found(message.toString('base64url')), `base64url after ${before} bytes`)
    }
  }
})

t.test('the NT hash counts as the secret', async t => {
  // MS-NLMP §4.2.2.1.1: NTOWFv1 of "Password".
  t.same(findSecret('demo:::a4f49c406510bdcab6824ee7c30fd852:::', 'Password'), ['NT hash in hexadecimal'])
})

t.test('other text holds no secret', async t => {
  t.same(findSecret(randomBytes(1_000_000), newCanary()), [])
  t.same(findSecret(newCanary(), newCanary()), [])
})
