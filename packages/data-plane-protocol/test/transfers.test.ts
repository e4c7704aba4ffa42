import fc from 'fast-check'
import t from 'tap'
import {
  CHUNK_HEADER_BYTES,
  decodeBinaryChunk,
  encodeChunkHeader,
  MAX_CHUNK_BYTES,
  MAX_GIVEN_NAME_UNITS,
  parseClientMessage,
  parseServerMessage,
  UPLOAD_REFUSALS,
} from '../src/index.ts'

const ID = '0f8fad5b-d9cb-469f-a165-70867728950e'
const begin = { type: 'upload_begin', upload_id: ID, name: 'a.txt', size: 3 }
const chunk = { type: 'upload_chunk', upload_id: ID, offset: 0, data: 'AAEC' }
const end = { type: 'upload_end', upload_id: ID, sha256: '0'.repeat(64) }
const cancel = { type: 'upload_cancel', upload_id: ID }

t.test('what a client says of an upload is read as it was written, and no server says it', async t => {
  for (const message of [begin, chunk, end, cancel]) {
    t.same(parseClientMessage(JSON.stringify(message)), message)
    t.throws(() => parseServerMessage(JSON.stringify(message)), { code: 'ERR_MESSAGE_UNKNOWN' })
  }
})

t.test('every bound of a request holds', async t => {
  const most = Number.MAX_SAFE_INTEGER
  const largest = Buffer.alloc(MAX_CHUNK_BYTES).toString('base64')
  const taken: unknown[] = [
    { ...begin, name: 'a'.repeat(MAX_GIVEN_NAME_UNITS), size: 0 },
    { ...begin, size: most },
    { ...chunk, data: largest, offset: most },
  ]
  for (const message of taken) t.doesNotThrow(() => parseClientMessage(JSON.stringify(message)))
  const refused: [string, unknown][] = [
    ['an id in capitals', { ...begin, upload_id: ID.toUpperCase() }],
    ['an id that is a path', { ...cancel, upload_id: `../${ID.slice(3)}` }],
    ['no name', { ...begin, name: '' }],
    ['a name over the bound', { ...begin, name: 'a'.repeat(MAX_GIVEN_NAME_UNITS + 1) }],
    ['a size below zero', { ...begin, size: -1 }],
    ['half a byte', { ...begin, size: 0.5 }],
    ['a size that numbers cannot tell', { ...begin, size: most + 1 }],
    ['a size as text', { ...begin, size: '3' }],
    ['an unknown member', { ...begin, path: '/etc' }],
    ['an empty chunk', { ...chunk, data: '' }],
    ['a chunk over the bound', { ...chunk, data: `${largest}AAAA` }],
    ['base64url', { ...chunk, data: 'AA-_' }],
    ['an offset below zero', { ...chunk, offset: -1 }],
    ['a hash in capitals', { ...end, sha256: 'A'.repeat(64) }],
    ['a short hash', { ...end, sha256: '0'.repeat(63) }],
  ]
  for (const [name, message] of refused) {
    t.throws(() => parseClientMessage(JSON.stringify(message)), { code: 'ERR_MESSAGE_MALFORMED' }, name)
  }
})

t.test('what a server says of uploads is read as it was written, and no client says it', async t => {
  const transfer = { upload_id: ID, name: 'a.txt', size: 3, offset: 0, state: 'receiving' }
  const messages = [
    { type: 'upload_progress', upload_id: ID, offset: 3 },
    { type: 'upload_done', upload_id: ID, name: 'a.txt' },
    { type: 'upload_refused', upload_id: ID, code: 'ERR_UPLOAD_QUOTA', detail: 'no', remedy: 'less' },
    { type: 'transfers', drive_mounted: false, items: Array(1000).fill(transfer) },
  ]
  for (const message of messages) {
    t.same(parseServerMessage(JSON.stringify(message)), message)
    t.throws(() => parseClientMessage(JSON.stringify(message)), { code: 'ERR_MESSAGE_UNKNOWN' })
  }
  const tooMany = { ...messages[3], items: Array(1001).fill(transfer) }
  t.throws(() => parseServerMessage(JSON.stringify(tooMany)), { code: 'ERR_MESSAGE_MALFORMED' })
})

t.test('every refusal has words that fit into its message', async t => {
  for (const [code, { detail, remedy }] of Object.entries(UPLOAD_REFUSALS)) {
    const message = { type: 'upload_refused', upload_id: ID, code, detail, ...(remedy !== undefined && { remedy }) }
    t.doesNotThrow(() => parseServerMessage(JSON.stringify(message)), code)
  }
})

t.test('a binary chunk is id, offset and bytes, in network order', async t => {
  const header = encodeChunkHeader(ID, 0x0102030405)
  t.equal(Buffer.from(header).toString('hex'), `${ID.replaceAll('-', '')}0000000102030405`)
  t.equal(header.length, CHUNK_HEADER_BYTES)
})

t.test('any binary chunk is read as it was written, wherever it lies in memory', async () => {
  fc.assert(
    fc.property(
      fc.uuid(),
      fc.maxSafeNat(),
      fc.uint8Array({ minLength: 1, maxLength: 64 }),
      fc.nat(9),
      (id, offset, data, before) => {
        const memory = Buffer.concat([Buffer.alloc(before), encodeChunkHeader(id, offset), data])
        const read = decodeBinaryChunk(memory.subarray(before))
        return read.uploadId === id && read.offset === offset && Buffer.compare(read.data, data) === 0
      },
    ),
  )
})

t.test('a binary chunk cut anywhere in its header, or without bytes, is refused', async t => {
  const whole = Buffer.concat([encodeChunkHeader(ID, 7), Buffer.from([1])])
  for (let size = 0; size <= CHUNK_HEADER_BYTES; size++) {
    t.throws(() => decodeBinaryChunk(whole.subarray(0, size)), { code: 'ERR_MESSAGE_MALFORMED' }, `${size} bytes`)
  }
  t.equal(decodeBinaryChunk(whole).data.length, 1)
})

t.test('a binary chunk is as large as its bound, and no larger', async t => {
  const header = encodeChunkHeader(ID, 0)
  const largest = Buffer.concat([header, Buffer.alloc(MAX_CHUNK_BYTES)])
  t.equal(decodeBinaryChunk(largest).data.length, MAX_CHUNK_BYTES)
  t.throws(() => decodeBinaryChunk(Buffer.concat([largest, Buffer.alloc(1)])), { code: 'ERR_MESSAGE_TOO_LARGE' })
})

t.test('an offset that numbers cannot tell is refused', async t => {
  const message = Buffer.concat([encodeChunkHeader(ID, Number.MAX_SAFE_INTEGER), Buffer.from([1])])
  t.equal(decodeBinaryChunk(message).offset, Number.MAX_SAFE_INTEGER)
  for (const byte of [16, 17]) {
    const larger = Buffer.from(message)
    larger[byte] = byte === 16 ? 0x80 : 0x20
    t.throws(() => decodeBinaryChunk(larger), { code: 'ERR_MESSAGE_MALFORMED' })
  }
})

t.test('no header is made for what is no id', async t => {
  for (const id of ['', 'x', `${ID}0`, ID.toUpperCase()]) t.throws(() => encodeChunkHeader(id, 0), TypeError)
})
