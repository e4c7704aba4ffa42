import t from 'tap'
import { decodeUserDataBlocks } from '../../src/gcc/blocks.ts'
import { type ClientCoreData, decodeClientCoreData, encodeClientCoreData } from '../../src/gcc/client-core.ts'
import { decodeConferenceCreateRequest } from '../../src/gcc/conference.ts'
import { decodeMcsConnectInitial } from '../../src/mcs/connect.ts'
import { concat, hex, refusesPrefixes, vector } from '../helper.ts'

const [BLOCK] = decodeUserDataBlocks(
  decodeConferenceCreateRequest(decodeMcsConnectInitial(vector('mcs-connect-initial').subarray(7)).userData),
)
const CORE = BLOCK?.data ?? new Uint8Array()
/** Where an optional field begins, and the block may therefore end. */
const ENDS = [128, 130, 132, 136, 138, 140, 142, 206, 208]

t.test('the core data of [MS-RDPBCGR] §4.1.3 are read and round-trip to the byte', async t => {
  const core = decodeClientCoreData(CORE)
  t.match(core, {
    version: 0x00080004,
    desktopWidth: 1280,
    desktopHeight: 1024,
    colorDepth: 0xca01,
    sasSequence: 0xaa03,
    keyboardLayout: 0x409,
    clientBuild: 3790,
    keyboardType: 4,
    keyboardSubType: 0,
    keyboardFunctionKey: 12,
    postBeta2ColorDepth: 0xca01,
    clientProductId: 1,
    serialNumber: 0,
    highColorDepth: 24,
    supportedColorDepths: 7,
    earlyCapabilityFlags: 1,
    connectionType: 0,
    serverSelectedProtocol: 0,
  })
  t.match(Buffer.from(core.clientName).toString('utf16le'), /^ELTONS-DEV2\0+$/)
  t.same(encodeClientCoreData(core), CORE)
})

t.test('every prefix that does not end in front of an optional field is refused', async t => {
  refusesPrefixes(t, CORE, decodeClientCoreData, ENDS)
})

t.test('a block that ends early round-trips', async t => {
  for (const size of ENDS) {
    const short = CORE.subarray(0, size)
    t.same(encodeClientCoreData(decodeClientCoreData(short)), short, `${size} bytes`)
  }
})

t.test('physical sizes, scale factors and what comes later are kept', async t => {
  const long = concat(CORE, hex('88130000b80b00005a00c80000008c000000 0102030405'))
  const core = decodeClientCoreData(long)
  t.equal(core.rest?.length, 23)
  t.same(encodeClientCoreData(core), long)
})

t.test('a field that is set behind missing ones is written in its place', async t => {
  const core: ClientCoreData = { ...decodeClientCoreData(CORE.subarray(0, 128)), serverSelectedProtocol: 2 }
  const bytes = encodeClientCoreData(core)
  t.equal(bytes.length, 212)
  t.match(decodeClientCoreData(bytes), { serverSelectedProtocol: 2, highColorDepth: 0, earlyCapabilityFlags: 0 })
})

t.test('a name of another size is a mistake of the caller', async t => {
  t.throws(() => encodeClientCoreData({ ...decodeClientCoreData(CORE), clientName: hex('00') }), TypeError)
})
