import t from 'tap'
import { DROP, INSPECT, Lane, PASS, type Verdict } from '../../src/relay/lane.ts'
import { encodeX224Data } from '../../src/x224.ts'
import { concat, hex, refuses } from '../helper.ts'
import { fastPath } from './harness.ts'

/** A lane whose verdict is the first body byte of a fast-path PDU, or the first user data byte of a packet. */
function lane() {
  const forwarded: Uint8Array[] = []
  const inspected: Uint8Array[] = []
  const judged: number[] = []
  const subject = new Lane({
    judge(bytes, start, size) {
      judged.push(size)
      if (bytes[start] !== 3) return PASS
      return (bytes[start + 7] ?? 0) as Verdict
    },
    inspect: pdu => inspected.push(Uint8Array.from(pdu)),
    forward: bytes => forwarded.push(bytes),
  })
  return { subject, forwarded, inspected, judged }
}

const packet = (verdict: Verdict, size: number) => encodeX224Data(new Uint8Array(size).fill(verdict))

t.test('PDUs that pass side by side are forwarded as one view of the chunk, without a copy', async t => {
  const { subject, forwarded } = lane()
  const chunk = concat(fastPath(300), packet(PASS, 500), fastPath(7))
  subject.push(chunk)
  t.equal(forwarded.length, 1)
  t.equal(forwarded[0]?.buffer, chunk.buffer)
  t.equal(forwarded[0]?.byteOffset, chunk.byteOffset)
  t.equal(forwarded[0]?.length, chunk.length)
})

t.test('a PDU that is only partly there is forwarded as far as it goes', async t => {
  const { subject, forwarded, judged } = lane()
  const pdu = packet(PASS, 60_000)
  for (let at = 0; at < pdu.length; at += 16_384) {
    const chunk = pdu.subarray(at, at + 16_384)
    subject.push(chunk)
    t.equal(subject.bufferedBytes, 0)
    t.equal(forwarded.at(-1)?.length, chunk.length)
    t.equal(forwarded.at(-1)?.buffer, pdu.buffer)
  }
  t.same(judged, [pdu.length], 'judged once')
})

t.test('the end of one PDU and the next ones are one view', async t => {
  const { subject, forwarded } = lane()
  const pdu = packet(PASS, 1000)
  subject.push(pdu.subarray(0, 600))
  subject.push(concat(pdu.subarray(600), fastPath(50), packet(PASS, 90)))
  t.equal(forwarded.length, 2)
})

t.test('a dropped PDU is skipped also over chunks, and what is around it is forwarded', async t => {
  const { subject, forwarded } = lane()
  const [before, dropped, after] = [fastPath(40), packet(DROP, 5000), fastPath(41)]
  const stream = concat(before, dropped, after)
  subject.push(stream.subarray(0, 1000))
  subject.push(stream.subarray(1000, 2000))
  subject.push(stream.subarray(2000))
  t.same(forwarded, [before, after])
})

t.test('a PDU to be inspected is assembled, in its place among the others', async t => {
  const order: string[] = []
  const subject = new Lane({
    judge: (bytes, start) => (bytes[start] === 3 ? INSPECT : PASS),
    inspect: pdu => order.push(`inspect ${pdu.length}`),
    forward: bytes => order.push(`forward ${bytes.length}`),
  })
  const stream = concat(fastPath(10), packet(INSPECT, 100), fastPath(20))
  subject.push(stream)
  t.same(order.splice(0), ['forward 12', 'inspect 107', 'forward 22'])
  for (const byte of stream) subject.push(Uint8Array.of(byte))
  t.ok(order.includes('inspect 107'))
  t.equal(subject.bufferedBytes, 0)
})

t.test('no more than the bytes of a verdict are held of a PDU that passes', async t => {
  const { subject, forwarded } = lane()
  let held = 0
  const pdu = packet(PASS, 300)
  for (const byte of pdu) {
    subject.push(Uint8Array.of(byte))
    held = Math.max(held, subject.bufferedBytes)
  }
  t.equal(held, 31)
  t.same(concat(...forwarded), pdu)
})

t.test('every split of a mixed stream gives the same', async t => {
  const stream = concat(
    fastPath(1),
    packet(INSPECT, 1),
    packet(PASS, 40),
    packet(DROP, 2),
    fastPath(130),
    packet(INSPECT, 60),
    packet(DROP, 90),
    packet(PASS, 3),
  )
  const whole = lane()
  whole.subject.push(stream)
  for (let at = 0; at <= stream.length; at++) {
    const cut = lane()
    cut.subject.push(stream.subarray(0, at))
    cut.subject.push(stream.subarray(at))
    if (
      !Buffer.from(concat(...cut.forwarded)).equals(concat(...whole.forwarded)) ||
      !Buffer.from(concat(...cut.inspected)).equals(concat(...whole.inspected)) ||
      cut.inspected.length !== whole.inspected.length
    ) {
      t.fail(`split at ${at}`)
    }
  }
})

t.test('a PDU of our own waits for the end of the one in transit', async t => {
  const { subject, forwarded } = lane()
  const pdu = packet(PASS, 500)
  subject.push(pdu.subarray(0, 100))
  const own = hex('aa bb')
  subject.inject(own)
  t.equal(subject.bufferedBytes, 2)
  own.fill(0)
  subject.push(concat(pdu.subarray(100), fastPath(9)))
  t.same(
    concat(...forwarded),
    concat(pdu, hex('aa bb'), fastPath(9)),
    'a copy of it, as the caller may reuse its buffer',
  )
  t.equal(subject.bufferedBytes, 0)
  subject.inject(hex('cc'))
  t.same(forwarded.at(-1), hex('cc'), 'at once between PDUs')
})

t.test('what waits is bounded', async t => {
  const { subject } = lane()
  subject.push(packet(PASS, 500).subarray(0, 100))
  subject.inject(new Uint8Array(65_535))
  subject.inject(new Uint8Array(1))
  refuses(t, () => subject.inject(new Uint8Array(1)), 'ERR_WIRE_TOO_LARGE')
})

t.test('malformed framing is refused wherever the chunk is cut', async t => {
  for (const bad of ['03 00 00 06', '00 02', '01 00']) {
    for (let at = 0; at <= hex(bad).length; at++) {
      const { subject } = lane()
      t.throws(() => {
        subject.push(hex(bad).subarray(0, at))
        subject.push(hex(bad).subarray(at))
      })
    }
  }
})
