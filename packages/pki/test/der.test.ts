import fc from 'fast-check'
import t from 'tap'
import { sequenceTags } from '../src/der.ts'

const lengthOf = (length: number) =>
  length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
const element = (tag: number, contents: Uint8Array) => Buffer.from([tag, ...lengthOf(contents.length), ...contents])

const elements = fc.array(fc.tuple(fc.constantFrom(0x02, 0x30, 0x82, 0xa0), fc.uint8Array({ maxLength: 300 })), {
  maxLength: 6,
})

t.test('the elements of a sequence are found whatever they hold', async t => {
  fc.assert(
    fc.property(elements, inner => {
      const der = element(0x30, Buffer.concat(inner.map(([tag, contents]) => element(tag, contents))))
      t.same(
        sequenceTags(der),
        inner.map(([tag]) => tag),
      )
    }),
  )
})

t.test('a truncated sequence, one with bytes after it, or none at all is refused', async t => {
  const der = element(0x30, Buffer.concat([element(2, Buffer.alloc(200)), element(0x82, Buffer.from('a'))]))
  for (let size = 0; size < der.length; size++) t.equal(sequenceTags(der.subarray(0, size)), undefined, `${size} bytes`)
  const broken: Record<string, number[]> = {
    'a byte after it': [...der, 0],
    'another tag': [0x31, 0],
    'an indefinite length': [0x30, 0x80, 0, 0],
    'a length of three octets': [0x30, 0x83, 0, 0, 0],
    'an element over the end': [0x30, 0x02, 0x82, 0x01],
    'half an element': [0x30, 0x01, 0x82],
  }
  for (const [title, bytes] of Object.entries(broken)) t.equal(sequenceTags(Uint8Array.from(bytes)), undefined, title)
})

t.test('a sequence of nothing has no elements', async t => t.same(sequenceTags(Uint8Array.of(0x30, 0)), []))
