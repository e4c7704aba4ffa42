import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { FileCipher } from '../../src/uploads/file-cipher.ts'

t.test('what was appended in any pieces is opened from any position', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), fc.nat(2000), (pieces, from) => {
      const cipher = new FileCipher()
      const plaintext = Buffer.concat(pieces)
      const ciphertext = Buffer.concat(pieces.map(piece => cipher.append(piece)))
      const offset = Math.min(from, plaintext.length)
      return cipher.decrypt(offset, ciphertext.subarray(offset)).equals(plaintext.subarray(offset))
    }),
  )
})

t.test('no two files have one keystream', async t => {
  const zeros = Buffer.alloc(64)
  const streams = new Set(Array.from({ length: 100 }, () => new FileCipher().append(zeros).toString('hex')))
  t.equal(streams.size, 100)
})

t.test('positions beyond 2^32 blocks are opened with their own counter', async t => {
  const cipher = new FileCipher()
  const zeros = Buffer.alloc(32)
  const far = 2 ** 40 + 5
  const at = (offset: number) => cipher.decrypt(offset, zeros).toString('hex')
  t.equal(at(far + 3), cipher.decrypt(far, Buffer.alloc(35)).toString('hex').slice(6))
  t.not(at(far), at(far % 2 ** 36))
})

t.test('after its key is gone nothing is encrypted or opened, and sealing ends appending alone', async t => {
  const cipher = new FileCipher()
  const ciphertext = cipher.append(randomBytes(10))
  cipher.seal()
  t.throws(() => cipher.append(randomBytes(1)), TypeError)
  t.equal(cipher.decrypt(0, ciphertext).length, 10)
  cipher.destroy()
  cipher.destroy()
  t.throws(() => cipher.decrypt(0, ciphertext), TypeError)
})
