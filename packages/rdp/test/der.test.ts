import fc from 'fast-check'
import t from 'tap'
import {
  contextTag,
  DER_TAG,
  DerReader,
  derBitString,
  derElement,
  derEnumerated,
  derExplicit,
  derFrameSize,
  derInteger,
  derOctetString,
  derOid,
  derSequence,
  derUtf8String,
  MAX_DER_BYTES,
  MAX_DER_DEPTH,
} from '../src/der.ts'
import { WireError } from '../src/errors.ts'

const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'))
const read = (text: string) => new DerReader(hex(text), 'Test')
const same = (t: { equal(a: string, b: string): boolean }, actual: Uint8Array, expected: string) =>
  t.equal(Buffer.from(actual).toString('hex'), expected.replace(/\s/g, ''))

t.test("numbers are written and read in their shortest two's complement form", async t => {
  const vectors: [number, string][] = [
    [0, '020100'],
    [127, '02017f'],
    [128, '02020080'],
    [256, '02020100'],
    [3390, '02020d3e'],
    [65535, '020300ffff'],
    [-1, '0201ff'],
    [-128, '020180'],
    [-129, '0202ff7f'],
    // 0xC000006D, an NTSTATUS as signed 32 bits.
    [-1073741715, '0204c000006d'],
    [0xc000006d, '020500c000006d'],
  ]
  for (const [value, bytes] of vectors) {
    same(t, derInteger(value), bytes)
    t.equal(read(bytes).integer('n', -(2 ** 47), 2 ** 47 - 1), value)
  }
  same(t, derEnumerated(1), '0a0101')
  t.equal(read('0a0101').enumerated('n', 0, 3), 1)
})

t.test('a number that is empty, longer than needed or out of range is refused', async t => {
  for (const bytes of ['0200', '02020001', '0202ff80', '0207 01000000000000', '020164', '0201ff']) {
    t.throws(() => read(bytes).integer('n', 0, 99), { code: 'ERR_WIRE_INVALID_FIELD', facts: { field: 'n' } }, bytes)
  }
  t.equal(read('020163').integer('n', 0, 99), 99)
})

t.test('strings, object identifiers and tags are written and read', async t => {
  same(t, derUtf8String('dé'), '0c0364c3a9')
  t.equal(read('0c0364c3a9').utf8String('s'), 'dé')
  t.equal(read('0c04efbbbf61').utf8String('s'), '\ufeffa', 'a byte order mark is kept')
  same(t, derOctetString(hex('0102')), '04020102')
  same(t, derBitString(hex('80'), 7), '03020780')
  t.same(read('03020780').bitString('b'), { unusedBits: 7, bytes: hex('80') })
  t.same(read('030100').bitString('b'), { unusedBits: 0, bytes: hex('') })
  same(t, derExplicit(3, derInteger(1)), 'a303020101')
  t.equal(read('a303020101').optionalExplicit(2, 'x'), undefined)
  t.equal(read('a303020101').optionalExplicit(3, 'x')?.integer('n', 0, 9), 1)
  same(t, derSequence(derInteger(1), derOctetString(hex('ff'))), '3006 020101 0401ff')
  const oids: [string, string][] = [
    ['1.3.6.1.5.5.2', '06062b0601050502'],
    ['1.3.6.1.4.1.311.2.2.10', '060a2b06010401823702020a'],
    ['1.2.840.113549.1.1.11', '06092a864886f70d01010b'],
    ['2.999.3', '0603883703'],
    ['2.5.29.17', '0603551d11'],
  ]
  for (const [dotted, bytes] of oids) {
    same(t, derOid(dotted), bytes)
    t.equal(read(bytes).oid('o'), dotted)
  }
})

t.test('content that does not fit its type is refused', async t => {
  const refusals: [string, (r: DerReader) => unknown][] = [
    ['0c01ff', r => r.utf8String('f')],
    ['0c02c080', r => r.utf8String('f')],
    ['0c03eda080', r => r.utf8String('f')],
    ['0300', r => r.bitString('f')],
    ['030101', r => r.bitString('f')],
    ['03020801', r => r.bitString('f')],
    ['03020101', r => r.bitString('f')],
    ['0600', r => r.oid('f')],
    ['060180', r => r.oid('f')],
    ['06022b80', r => r.oid('f')],
    ['06032b8001', r => r.oid('f')],
    ['06092bffffffffffffff7f', r => r.oid('f')],
    [`0641${'2b'.repeat(65)}`, r => r.oid('f')],
  ]
  for (const [bytes, act] of refusals) {
    t.throws(() => act(read(bytes)), { code: 'ERR_WIRE_INVALID_FIELD', facts: { field: 'f' } }, bytes)
  }
})

t.test('only definite lengths in their shortest form are accepted', async t => {
  for (const bytes of ['0480', '048105 0102030405', '0482 0080', '048300ffff', '0484 00000001', '04ff']) {
    t.throws(() => read(bytes).octetString('f'), { code: 'ERR_WIRE_INVALID_FIELD' }, bytes)
    t.throws(() => derFrameSize(hex(bytes), 'Test'), { code: 'ERR_WIRE_INVALID_FIELD' }, bytes)
  }
  for (const size of [0, 127, 128, 255, 256, 65_000]) {
    const element = derOctetString(new Uint8Array(size))
    t.equal(new DerReader(element, 'Test').octetString('f').length, size)
    t.equal(derFrameSize(element, 'Test'), element.length)
    t.equal(derFrameSize(element.subarray(0, element.length - 1), 'Test'), size === 0 ? undefined : element.length)
  }
})

t.test('end-of-contents and high tag numbers are refused', async t => {
  for (const bytes of ['0000', '1f8101 00', 'bf1f00', 'ff0100']) {
    t.throws(() => read(bytes).element('f'), { code: 'ERR_WIRE_INVALID_FIELD' }, bytes)
  }
  t.throws(() => contextTag(31), TypeError)
})

t.test('another tag, a truncated element and trailing bytes have codes of their own', async t => {
  t.throws(() => read('0401ff').integer('f', 0, 1), {
    code: 'ERR_WIRE_UNEXPECTED_MESSAGE',
    facts: { received: DER_TAG.OCTET_STRING, expected: DER_TAG.INTEGER },
  })
  const element = hex('3006 020101 0401ff')
  for (let size = 0; size < element.length; size++) {
    t.throws(() => new DerReader(element.subarray(0, size), 'Test').sequence('f'), { code: 'ERR_WIRE_TRUNCATED' })
  }
  t.throws(() => read('3003020301').sequence('f').integer('n', 0, 1), { code: 'ERR_WIRE_TRUNCATED' })
  const sequence = new DerReader(element, 'Test').sequence('f')
  sequence.integer('n', 0, 1)
  t.throws(() => sequence.end(), { code: 'ERR_WIRE_TRAILING_BYTES' })
  sequence.octetString('o')
  sequence.end()
})

t.test('size and depth limits hold at the limit and refuse one above it', async t => {
  const content = new Uint8Array(20)
  t.equal(new DerReader(derOctetString(content), 'Test', { maxBytes: 22 }).octetString('f').length, 20)
  t.throws(() => new DerReader(derOctetString(content), 'Test', { maxBytes: 21 }), { code: 'ERR_WIRE_TOO_LARGE' })
  t.throws(() => derFrameSize(derOctetString(content), 'Test', 21), { code: 'ERR_WIRE_TOO_LARGE' })
  t.throws(() => derFrameSize(hex('3083ffffff'), 'Test'), { code: 'ERR_WIRE_TOO_LARGE' })
  t.throws(() => new DerReader(new Uint8Array(MAX_DER_BYTES + 1), 'Test'), { code: 'ERR_WIRE_TOO_LARGE' })

  const dig = (depth: number) => {
    let bytes = derInteger(1)
    for (let level = 0; level < depth; level++) bytes = derSequence(bytes)
    let reader = new DerReader(bytes, 'Test')
    for (let level = 0; level < depth; level++) reader = reader.sequence('f')
    return reader.integer('n', 0, 1)
  }
  t.equal(dig(MAX_DER_DEPTH), 1)
  t.throws(() => dig(MAX_DER_DEPTH + 1), { code: 'ERR_WIRE_TOO_LARGE' })
})

t.test('the writer refuses what has no DER form', async t => {
  t.throws(() => derUtf8String('\ud800'), TypeError)
  t.throws(() => derInteger(0.5), TypeError)
  for (const dotted of ['', '1', '3.1', '1.40', '1.2.x', '1.2.-1']) t.throws(() => derOid(dotted), TypeError, dotted)
})

t.test('whatever is written is read back the same', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 32 }), fc.uint8Array({ maxLength: 400 }), (value, bytes) => {
        const reader = new DerReader(
          derSequence(derInteger(value), derElement(contextTag(0), derOctetString(bytes))),
          'T',
        )
        const sequence = reader.sequence('s')
        const number = sequence.integer('n', -(2 ** 40), 2 ** 40)
        const octets = sequence.explicit(0, 'o').octetString('o')
        reader.end()
        return number === value && Buffer.compare(octets, bytes) === 0
      }),
    ),
  )
})

t.test('arbitrary bytes end in a value or a WireError, never in another error', async t => {
  const walk = (reader: DerReader): void => {
    while (reader.remaining > 0) {
      const tag = reader.peek() ?? 0
      if ((tag & 0x20) !== 0) walk(reader.constructed(tag, 'f'))
      else if (tag === DER_TAG.INTEGER) reader.integer('f', -(2 ** 47), 2 ** 47)
      else if (tag === DER_TAG.OID) reader.oid('f')
      else if (tag === DER_TAG.BIT_STRING) reader.bitString('f')
      else if (tag === DER_TAG.UTF8_STRING) reader.utf8String('f')
      else reader.element('f')
    }
  }
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        try {
          walk(new DerReader(bytes, 'Test'))
          derFrameSize(bytes, 'Test')
          return true
        } catch (error) {
          return error instanceof WireError
        }
      }),
      { numRuns: 2000 },
    ),
  )
})
