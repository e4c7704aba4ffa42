import t from 'tap'
import { Rc4, rc4Once } from '../../src/credssp/rc4.ts'
import { hex, toHex } from './helper.ts'

t.test('RC4 gives the key streams of RFC 6229', async t => {
  const key = hex('0102030405060708090a0b0c0d0e0f10')
  t.equal(toHex(rc4Once(hex('0102030405'), new Uint8Array(16))), 'b2396305f03dc027ccc3524a0a1118a8')
  t.equal(toHex(rc4Once(key, new Uint8Array(16))), '9ac7cc9a609d1ef7b2932899cde41b97')
  const cipher = new Rc4(key)
  const inPieces = [1, 7, 8].map(size => toHex(cipher.update(new Uint8Array(size)))).join('')
  t.equal(inPieces, '9ac7cc9a609d1ef7b2932899cde41b97', 'the stream goes on across calls')
})

t.test('a destroyed cipher holds no key stream', async t => {
  const cipher = new Rc4(hex('0102030405'))
  cipher.destroy()
  t.equal(toHex(cipher.update(new Uint8Array(4))), '00000000')
})

t.test('a key has 1 to 256 bytes', async t => {
  t.throws(() => new Rc4(new Uint8Array(0)), TypeError)
  t.throws(() => new Rc4(new Uint8Array(257)), TypeError)
  t.equal(new Rc4(new Uint8Array(256)).update(new Uint8Array(1)).length, 1)
})
