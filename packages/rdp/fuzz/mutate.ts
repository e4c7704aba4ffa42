/** A number in [0, below). */
export type Random = (below: number) => number

/** Numbers that a seed tells in full, so that a run can be done again (mulberry32). */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return below => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below)
  }
}

/** Longest input: the largest structures have some kilobytes. */
const MAX_INPUT_BYTES = 16_384
const MAX_MUTATIONS = 6
/** Lengths and counts at the borders of what is allowed. */
const EDGES = [0, 1, 2, 3, 4, 7, 8, 0x10, 0x40, 0x7f, 0x80, 0xfe, 0xff, 0x100, 1600, 1601, 0x7fff, 0x8000, 0xffff]
const WIDE_EDGES = [...EDGES, 0x10000, 0x100000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]
/** What the formats look for: TPKT, X.224, MCS, GCC, DER, NTLM, channel flags, cliprdr, rdpdr and drdynvc. */
const MAGIC = [
  '03000007',
  '02f080',
  '7f65',
  '7f66',
  '64',
  '68',
  '0500147c0001',
  '44756361',
  '4d63446e',
  '01c0',
  '03c0',
  '010c',
  '030c',
  '3082',
  '30840000',
  'a0030201',
  '4e544c4d53535000',
  '03000000',
  '01000000',
  '02000000',
  '13000000',
  '00002000',
  '0d000000',
  '0100000000000000',
  '0200',
  '0500010000',
  '72446e49',
  '72445249',
  '72445053',
  '72444343',
  '72446472',
  '0c00000001000000',
  '5c002a000000',
  '10',
  '20',
  '30',
  '40',
  '50',
  '1700',
  '1100',
  '1300',
].map(text => new Uint8Array(Buffer.from(text, 'hex')))

type Mutation = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array

const MUTATIONS: readonly Mutation[] = [
  (bytes, random) => change(bytes, random, byte => byte ^ (1 << random(8))),
  (bytes, random) => change(bytes, random, () => random(256)),
  (bytes, random) => change(bytes, random, byte => byte + random(33) - 16),
  (bytes, random) => change(bytes, random, () => EDGES[random(EDGES.length)] as number),
  (bytes, random) => number(bytes, random, 2, EDGES),
  (bytes, random) => number(bytes, random, 4, WIDE_EDGES),
  // A length that says what is there, or nearly so.
  (bytes, random) => number(bytes, random, random(2) === 0 ? 2 : 4, [Math.max(0, bytes.length - random(32))]),
  (bytes, random) => over(bytes, random(bytes.length + 1), MAGIC[random(MAGIC.length)] as Uint8Array),
  (bytes, random) => insert(bytes, random(bytes.length + 1), MAGIC[random(MAGIC.length)] as Uint8Array),
  (bytes, random) => insert(bytes, random(bytes.length + 1), noise(random, 1 + random(16))),
  (bytes, random) => insert(bytes, random(bytes.length + 1), part(bytes, random)),
  (bytes, random) => remove(bytes, random(bytes.length + 1), 1 + random(16)),
  (bytes, random) => bytes.subarray(0, random(bytes.length + 1)),
  (bytes, random, other) => insert(bytes, random(bytes.length + 1), part(other, random)),
  (bytes, random, other) => join(bytes.subarray(0, random(bytes.length + 1)), other.subarray(random(other.length + 1))),
]

/** `bytes` with one to six changes; `other` is input that parts may be taken from. Neither is changed. */
export function mutate(bytes: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let mutated = bytes
  for (let left = 1 + random(MAX_MUTATIONS); left > 0; left--) {
    const mutation = MUTATIONS[random(MUTATIONS.length)] as Mutation
    mutated = mutation(mutated, random, other)
  }
  return mutated.slice(0, MAX_INPUT_BYTES)
}

function change(bytes: Uint8Array, random: Random, to: (byte: number) => number): Uint8Array {
  const changed = bytes.slice()
  const at = random(bytes.length)
  if (at < changed.length) changed[at] = to(changed[at] as number)
  return changed
}

function number(bytes: Uint8Array, random: Random, size: 2 | 4, values: readonly number[]): Uint8Array {
  if (bytes.length < size) return bytes
  const changed = bytes.slice()
  const view = new DataView(changed.buffer)
  const at = random(bytes.length - size + 1)
  const value = values[random(values.length)] as number
  const isLittleEndian = random(3) > 0
  if (size === 2) view.setUint16(at, value, isLittleEndian)
  else view.setUint32(at, value, isLittleEndian)
  return changed
}

function part(bytes: Uint8Array, random: Random): Uint8Array {
  const at = random(bytes.length)
  return bytes.subarray(at, at + 1 + random(64))
}

function noise(random: Random, size: number): Uint8Array {
  return Uint8Array.from({ length: size }, () => random(256))
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

function over(bytes: Uint8Array, at: number, what: Uint8Array): Uint8Array {
  return join(bytes.subarray(0, at), what, bytes.subarray(at + what.length))
}

function insert(bytes: Uint8Array, at: number, what: Uint8Array): Uint8Array {
  return join(bytes.subarray(0, at), what, bytes.subarray(at))
}

function remove(bytes: Uint8Array, at: number, size: number): Uint8Array {
  return join(bytes.subarray(0, at), bytes.subarray(at + size))
}
