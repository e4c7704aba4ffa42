import fc from 'fast-check'
import t from 'tap'
import { AV_ID, addClientAvPairs, decodeAvPairs, encodeAvPairs, timestampOf } from '../../src/credssp/av-pairs.ts'
import { channelBindingsHash } from '../../src/credssp/ntlm-crypto.ts'
import { WireError } from '../../src/errors.ts'
import { hex, toHex, utf16 } from './helper.ts'
import * as vector from './ms-nlmp-vectors.ts'

const asHex = (pairs: ReturnType<typeof decodeAvPairs>) => pairs.map(({ id, value }) => [id, toHex(value)])

t.test('the pairs of MS-NLMP §4.2.4 are read and written back', async t => {
  const pairs = decodeAvPairs(vector.TARGET_INFO)
  t.strictSame(asHex(pairs), [
    [AV_ID.MsvAvNbDomainName, toHex(utf16('Domain'))],
    [AV_ID.MsvAvNbComputerName, toHex(utf16('Server'))],
  ])
  t.equal(toHex(encodeAvPairs(pairs)), toHex(vector.TARGET_INFO))
})

t.test('every truncated prefix and every extra byte is refused', async t => {
  for (let size = 0; size < vector.TARGET_INFO.length; size++) {
    const prefix = vector.TARGET_INFO.subarray(0, size)
    t.throws(() => decodeAvPairs(prefix), { code: 'ERR_WIRE_TRUNCATED' }, `${size} bytes`)
  }
  t.throws(() => decodeAvPairs(hex('00000000 00')), { code: 'ERR_WIRE_TRAILING_BYTES' })
})

t.test('repeated pairs and wrong sizes of fixed pairs are refused', async t => {
  for (const bytes of [
    '02000000 02000000 00000000',
    '07000400 00000000 00000000',
    '06000200 0000 00000000',
    '00000100 00',
  ]) {
    t.throws(() => decodeAvPairs(hex(bytes)), { code: 'ERR_WIRE_INVALID_FIELD' }, bytes)
  }
})

t.test('unknown pairs are kept, because the server computes over them', async t => {
  t.strictSame(asHex(decodeAvPairs(hex('ff000100 aa 00000000'))), [[0xff, 'aa']])
})

t.test('the timestamp is a FILETIME or missing', async t => {
  t.equal(timestampOf(decodeAvPairs(hex('07000800 f8819288991ed601 00000000'))), 0x01d61e99889281f8n)
  t.equal(timestampOf(decodeAvPairs(vector.TARGET_INFO)), undefined)
})

t.test('the client adds MIC flag, channel bindings and target name behind the pairs of the server', async t => {
  const channelBindings = hex('ab'.repeat(32))
  const added = addClientAvPairs(decodeAvPairs(vector.TARGET_INFO), {
    mic: true,
    targetName: 'TERMSRV/h',
    channelBindings,
  })
  t.strictSame(asHex(added).slice(2), [
    [AV_ID.MsvAvFlags, '02000000'],
    [AV_ID.MsvAvChannelBindings, toHex(channelBindingsHash(channelBindings))],
    [AV_ID.MsvAvTargetName, toHex(utf16('TERMSRV/h'))],
  ])
  const without = addClientAvPairs([], { mic: false, targetName: 'x', channelBindings: undefined })
  t.strictSame(asHex(without), [
    [AV_ID.MsvAvChannelBindings, '00'.repeat(16)],
    [AV_ID.MsvAvTargetName, toHex(utf16('x'))],
  ])
})

t.test('pairs that only a client sets are replaced when a server sets them; flags are kept', async t => {
  const forged = decodeAvPairs(hex(`06000400 01000000 09000200 4100 0a001000 ${'ff'.repeat(16)} 00000000`))
  t.strictSame(asHex(addClientAvPairs(forged, { mic: true, targetName: 'B', channelBindings: undefined })), [
    [AV_ID.MsvAvFlags, '03000000'],
    [AV_ID.MsvAvChannelBindings, '00'.repeat(16)],
    [AV_ID.MsvAvTargetName, '4200'],
  ])
})

t.test('arbitrary bytes end in pairs that are written back the same, or in a WireError', async t => {
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), bytes => {
        try {
          return toHex(encodeAvPairs(decodeAvPairs(bytes))) === toHex(bytes)
        } catch (error) {
          return error instanceof WireError
        }
      }),
      { numRuns: 2000 },
    ),
  )
})
