import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DECODERS } from '../fuzz/decoders.ts'
import { attempt, type Crash, fuzzBriefly, minimise, originOf } from '../fuzz/fuzz.ts'
import { mutate, randomOf } from '../fuzz/mutate.ts'
import { decoder } from '../fuzz/promise.ts'
import { readRegressions } from '../fuzz/regressions.ts'
import { WireError } from '../src/errors.ts'

const SRC = join(import.meta.dirname, '../src')
/** RAP_FUZZ_SEED runs the inputs of an earlier run again. */
const SEED = Number(process.env.RAP_FUZZ_SEED ?? Date.now() % 0x1_0000_0000)
/** State machines take a whole conversation with each input. */
const MACHINES = new Set(['RdpRelay', 'CredSspClient', 'Drive', 'Clipboard'])
const RUNS = { decoder: 600, machine: 500 }

/** Functions that take bytes first and read no message of a stranger, and why. */
const NO_DECODERS: Readonly<Record<string, string>> = {
  hmacMd5: 'a digest',
  ntowfv1: 'a digest',
  ntowfv2: 'a digest',
  channelBindingsHash: 'a digest',
  encryptSessionKey: 'a cipher',
  rc4Once: 'a cipher',
  signingKey: 'makes a key',
  sealingKey: 'makes a key',
  derOctetString: 'writes',
  derBitString: 'writes',
  patchInfoPacket: 'part of RdpRelay',
  patchClientSettings: 'part of RdpRelay',
  patchServerSettings: 'part of RdpRelay',
}

function describe({ bytes, error }: Crash): string {
  const trace = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `RAP_FUZZ_SEED=${SEED}; ${bytes.length} bytes ${Buffer.from(bytes).toString('hex')}\n${trace}`
}

t.test('every function that takes bytes is in the table of decoders', async t => {
  const found = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts'))
    .flatMap(file => [
      ...readFileSync(join(SRC, file), 'utf8').matchAll(
        /^export function\*? (\w+)\(\s*\w+: (?:Uint8Array|Buffer|Reader|ChannelChunk)\b/gm,
      ),
    ])
    .map(([, name = '']) => name)
    .filter(name => !/^(encode|write)/.test(name))
  t.ok(found.length > 60, 'they are found')
  const known = new Set([...Object.keys(DECODERS).map(name => name.split('/')[0]), ...Object.keys(NO_DECODERS)])
  t.same(
    found.filter(name => !known.has(name)),
    [],
    'one that is new belongs into packages/rdp/fuzz/decoders.ts',
  )
  t.same(
    Object.keys(NO_DECODERS).filter(name => !found.includes(name)),
    [],
    'no exception is stale',
  )
})

t.test('a crash is found, told from a refusal, and made short', async t => {
  const refusing = decoder(() => {
    throw new WireError('ERR_WIRE_TRUNCATED', 'too short', { structure: 'test' })
  }, new Uint8Array(20))
  t.equal(fuzzBriefly(refusing, randomOf(1), 50), undefined, 'a refusal is none')
  const crashing = decoder(bytes => {
    if (bytes.includes(0x80)) throw new RangeError('no')
  }, new Uint8Array(20))
  const crash = fuzzBriefly(crashing, randomOf(1), 2000)
  t.same(crash?.bytes, Uint8Array.of(0x80))
  t.match(crash && originOf(crash), /^RangeError: no at test\/fuzz\.test\.ts:\d+$/)
  const leaking = decoder(() => {
    throw new WireError('ERR_WIRE_TRUNCATED', 'no', { structure: 'test', field: new Uint8Array(4) as never })
  }, new Uint8Array(4))
  t.match(attempt(leaking, new Uint8Array(4))?.error, { message: 'a fact is no name and no number' })
  const slow = { bytes: new Uint8Array(64), error: new RangeError('other') }
  t.same(minimise(crashing, slow).bytes, slow.bytes, 'an input that does not crash again stays as it is')
})

t.test('a seed tells the inputs of a run', async t => {
  const inputs = (seed: number) => {
    const random = randomOf(seed)
    return Array.from({ length: 20 }, () => mutate(new Uint8Array(30), new Uint8Array(9).fill(7), random))
  }
  t.same(inputs(5), inputs(5))
  t.not(inputs(5).join(), inputs(6).join())
})

t.test('no input that crashed once crashes again', async t => {
  for (const { file, decoder: name, bytes } of readRegressions()) {
    const target = DECODERS[name]
    t.ok(target, `${file} belongs to a decoder`)
    const crash = target && attempt(target, bytes)
    t.equal(crash && describe(crash), undefined, file)
  }
})

for (const [name, target] of Object.entries(DECODERS)) {
  t.test(`${name} refuses in its own words, or takes what comes`, async t => {
    const crash = fuzzBriefly(target, randomOf(SEED), MACHINES.has(name) ? RUNS.machine : RUNS.decoder)
    t.equal(crash && describe(crash), undefined)
  })
}
