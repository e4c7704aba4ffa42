import fc from 'fast-check'
import t from 'tap'
import { WireError } from '../../src/errors.ts'
import { RdpRelay } from '../../src/relay/relay.ts'
import { concat, contains, recording, utf16le } from '../helper.ts'
import {
  clientInfo,
  confirmActive,
  connectInitial,
  connectResponse,
  DRDYNVC,
  demandActive,
  fastPath,
  Harness,
  IO,
  indication,
  license,
  MESSAGE,
  options,
  PASSWORD,
  REFUSED,
  request,
  share,
} from './harness.ts'

const MAX_BUFFERED_BYTES = 400 * 1024
const SECRET = utf16le(PASSWORD)

interface Read {
  readonly from: 'client' | 'server'
  readonly bytes: Uint8Array
}

/** Feeds reads until one is refused; everything else than a WireError is a fault of ours. */
function feed(reads: Iterable<Read>, chunkBytes: number, harness?: Harness): void {
  const toClient: Uint8Array[] = []
  const toServer: Uint8Array[] = []
  const relay =
    harness?.relay ??
    new RdpRelay(options({ targetSelectedProtocol: 1, targetRequestedProtocols: 1 }), {
      toClient: bytes => toClient.push(Uint8Array.from(bytes)),
      toServer: bytes => toServer.push(Uint8Array.from(bytes)),
      event: () => {},
    })
  try {
    for (const { from, bytes } of reads) {
      for (let at = 0; at < bytes.length; at += chunkBytes) {
        const chunk = bytes.subarray(at, at + chunkBytes)
        if (from === 'client') relay.fromClient(chunk)
        else relay.fromServer(chunk)
        if (relay.bufferedBytes > MAX_BUFFERED_BYTES) throw new Error(`holds ${relay.bufferedBytes} bytes`)
      }
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error
  }
  if (contains(concat(...toClient), SECRET)) throw new Error('the password reached the client')
  const sent = Buffer.from(concat(...toServer))
  if (sent.indexOf(SECRET) !== sent.lastIndexOf(SECRET)) throw new Error('the password was sent twice')
}

const side = fc.constantFrom('client' as const, 'server' as const)
const chunkBytes = fc.integer({ min: 1, max: 4096 })
const anyBytes = fc.uint8Array({ maxLength: 300 })

/** Packets that are well-formed on the outside, so that noise reaches the inner parsers. */
const packet = (from: 'client' | 'server', channelId: number, body: Uint8Array): Uint8Array =>
  from === 'client' ? request(channelId, body) : indication(channelId, body)
const framed = fc
  .tuple(side, fc.constantFrom(IO, DRDYNVC, MESSAGE, REFUSED, 1007, 1999), fc.uint8Array({ maxLength: 80 }))
  .map(([from, channelId, body]): Read => ({ from, bytes: packet(from, channelId, body) }))
const shared = fc
  .tuple(side, fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 60 }))
  .map(([from, type, body]): Read => ({ from, bytes: packet(from, IO, share(type, body)) }))
const chunked = fc
  .tuple(side, fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 3 }), fc.uint8Array({ maxLength: 40 }))
  .map(([from, length, flags, body]): Read => {
    const header = Uint8Array.of(length, 0, 0, 0, flags, 0, 0, 0)
    return { from, bytes: packet(from, DRDYNVC, concat(header, body)) }
  })
const valid = fc
  .constantFrom<Read>(
    { from: 'client', bytes: connectInitial() },
    { from: 'server', bytes: connectResponse() },
    { from: 'client', bytes: clientInfo() },
    { from: 'server', bytes: license() },
    { from: 'server', bytes: demandActive() },
    { from: 'client', bytes: confirmActive() },
    { from: 'server', bytes: fastPath(90) },
    { from: 'client', bytes: fastPath(9) },
  )
  .map(read => read)
const noise = fc.tuple(side, anyBytes).map(([from, bytes]): Read => ({ from, bytes }))

t.test('noise in any phase ends in a WireError or goes through, and memory stays bounded', async t => {
  const stages = fc.constantFrom(undefined, 'toChannels', 'toJoined', 'toCapabilities', 'toActive')
  const reads = fc.array(fc.oneof(noise, framed, shared, chunked, valid), { maxLength: 12 })
  fc.assert(
    fc.property(stages, reads, chunkBytes, (stage, list, size) => {
      const harness = new Harness()
      if (stage !== undefined) harness[stage as 'toActive']()
      harness.takeToClient()
      feed(list, size, harness)
      if (contains(harness.takeToClient(), SECRET)) throw new Error('the password reached the client')
    }),
    { numRuns: 1500 },
  )
  t.pass()
})

for (const name of ['recorded-shadow', 'recorded-xrdp'] as const) {
  t.test(`${name} with bytes changed, put in, taken out or doubled keeps the same promise`, async t => {
    const reads = recording(name).map(({ from, bytes }): Read => ({ from, bytes: bytes.subarray(0, 700) }))
    const mutation = fc.record({
      read: fc.nat({ max: reads.length - 1 }),
      at: fc.nat({ max: 700 }),
      kind: fc.constantFrom('change', 'insert', 'remove', 'cut', 'double'),
      value: fc.integer({ min: 0, max: 255 }),
    })
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), chunkBytes, (mutations, size) => {
        const changed = reads.slice()
        for (const { read, at, kind, value } of mutations) {
          const old = changed[read] as Read
          const offset = at % (old.bytes.length + 1)
          const [head, tail] = [old.bytes.subarray(0, offset), old.bytes.subarray(offset)]
          const parts = {
            change: [head, Uint8Array.of(value), tail.subarray(1)],
            insert: [head, Uint8Array.of(value), tail],
            remove: [head, tail.subarray(1)],
            cut: [head],
            double: [old.bytes, old.bytes],
          }
          changed[read] = { from: old.from, bytes: concat(...parts[kind]) }
        }
        feed(changed, size)
      }),
      { numRuns: 1000 },
    )
    t.pass()
  })
}
