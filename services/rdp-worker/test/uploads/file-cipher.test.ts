import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { BLOCK_BYTES, FileCipher } from '../../src/uploads/file-cipher.ts'

/** A file that was written and is read from now on. */
function sealed(plaintext: Buffer): { cipher: FileCipher; ciphertext: Buffer } {
  const cipher = new FileCipher()
  const ciphertext = cipher.append(plaintext)
  cipher.seal()
  return { cipher, ciphertext }
}

const DAMAGED = { code: 'ERR_UPLOAD_DAMAGED' }

t.test('what was appended in any pieces is opened from any block on, and is as long as it was', async t => {
  const content = randomBytes(3 * BLOCK_BYTES + 1)
  const pieces = fc.array(fc.integer({ min: 1, max: 2 * BLOCK_BYTES }), { maxLength: 12 })
  fc.assert(
    fc.property(fc.nat(content.length), pieces, fc.nat(3), (size, lengths, block) => {
      const plaintext = content.subarray(0, size)
      const cipher = new FileCipher()
      const parts: Buffer[] = []
      let at = 0
      for (const length of [...lengths, size]) {
        parts.push(cipher.append(plaintext.subarray(at, at + length)))
        at += length
      }
      cipher.seal()
      const ciphertext = Buffer.concat(parts)
      t.equal(ciphertext.length, size)
      const from = Math.min(block, Math.floor(size / BLOCK_BYTES)) * BLOCK_BYTES
      return cipher.open(from / BLOCK_BYTES, ciphertext.subarray(from)).equals(plaintext.subarray(from))
    }),
    { numRuns: 50 },
  )
})

t.test('no two files, and no two blocks of one file, have one keystream', async t => {
  const zeros = Buffer.alloc(4 * BLOCK_BYTES)
  const streams = new Set<string>()
  for (let file = 0; file < 5; file++) {
    const ciphertext = new FileCipher().append(zeros)
    for (let at = 0; at < ciphertext.length; at += 16) streams.add(ciphertext.toString('hex', at, at + 16))
  }
  t.equal(streams.size, (5 * zeros.length) / 16)
})

t.test('a block that is not what was written there is not opened: any bit, place, length or file', async t => {
  const plaintext = randomBytes(2 * BLOCK_BYTES + 100)
  const { cipher, ciphertext } = sealed(plaintext)
  const [first, second, last] = [0, 1, 2].map(block =>
    ciphertext.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES),
  ) as [Buffer, Buffer, Buffer]
  fc.assert(
    fc.property(fc.nat(ciphertext.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const bent = Buffer.from(ciphertext)
      bent[at]! ^= mask
      t.throws(() => cipher.open(0, bent), DAMAGED)
    }),
    { numRuns: 30 },
  )
  t.throws(() => cipher.open(0, Buffer.concat([second, first, last])), DAMAGED, 'two blocks changed places')
  t.throws(() => cipher.open(0, second), DAMAGED)
  t.throws(() => cipher.open(2, last.subarray(0, 99)), DAMAGED, 'a byte less')
  t.throws(() => cipher.open(2, Buffer.concat([last, Buffer.alloc(1)])), DAMAGED, 'a byte more')
  t.throws(() => cipher.open(3, last), DAMAGED, 'a block that there never was')
  t.throws(() => cipher.open(0, sealed(plaintext).ciphertext), DAMAGED, 'the same text of another file')
  t.ok(cipher.open(0, ciphertext).equals(plaintext), 'and what is right is opened still')
})

t.test('what is held grows with what was written alone, and is 16 bytes for each block', async t => {
  const cipher = new FileCipher()
  t.equal(cipher.tagBytes, 16)
  cipher.append(Buffer.alloc(100 * BLOCK_BYTES + 1))
  cipher.seal()
  t.equal(cipher.tagBytes, 101 * 16)
})

t.test('after its key is gone nothing is encrypted or opened, and sealing ends appending alone', async t => {
  const { cipher, ciphertext } = sealed(randomBytes(10))
  t.throws(() => cipher.append(randomBytes(1)), TypeError)
  t.equal(cipher.open(0, ciphertext).length, 10)
  cipher.destroy()
  cipher.destroy()
  t.throws(() => cipher.open(0, ciphertext), TypeError)
  const unfinished = new FileCipher()
  unfinished.append(randomBytes(10))
  unfinished.destroy()
  t.throws(() => unfinished.append(randomBytes(1)), TypeError)
})
