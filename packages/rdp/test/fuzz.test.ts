import fc from 'fast-check'
import t from 'tap'
import { capabilitySets } from '../src/capabilities.ts'
import { decodeChannelChunk } from '../src/channel-pdu.ts'
import { decodeInfoPacket } from '../src/client-info.ts'
import { decodeDynvcPdu } from '../src/drdynvc.ts'
import { WireError } from '../src/errors.ts'
import { decodeFastPath } from '../src/fast-path.ts'
import { decodeUserDataBlocks } from '../src/gcc/blocks.ts'
import { decodeClientMonitorData, decodeClientNetworkData } from '../src/gcc/client-blocks.ts'
import { decodeClientCoreData } from '../src/gcc/client-core.ts'
import { decodeConferenceCreateRequest, decodeConferenceCreateResponse } from '../src/gcc/conference.ts'
import { decodeServerCoreData, decodeServerNetworkData, decodeServerSecurityData } from '../src/gcc/server-blocks.ts'
import { decodeLicenseMessage } from '../src/license.ts'
import { decodeMcsConnectInitial, decodeMcsConnectResponse } from '../src/mcs/connect.ts'
import { decodeMcsPdu } from '../src/mcs/domain.ts'
import { decodeRdCleanPathAnswer, decodeRdCleanPathRequest } from '../src/rdcleanpath.ts'
import { decodeSaveSessionInfo, scrubSaveSessionInfo } from '../src/save-session-info.ts'
import { decodeServerRedirection } from '../src/server-redirection.ts'
import { decodeShareData, splitSharePdus } from '../src/share.ts'
import { decodeX224ConnectionConfirm, decodeX224ConnectionRequest, decodeX224Message } from '../src/x224.ts'
import { vector } from './helper.ts'

type Decoder = (bytes: Uint8Array) => unknown

/** Each decoder with a seed from which mutations start. */
const DECODERS: Record<string, readonly [decode: Decoder, seed: Uint8Array]> = {
  decodeX224ConnectionRequest: [decodeX224ConnectionRequest, vector('x224-connection-request')],
  decodeX224ConnectionConfirm: [decodeX224ConnectionConfirm, vector('x224-connection-confirm')],
  decodeX224Message: [decodeX224Message, vector('mcs-channel-join-confirm')],
  decodeMcsConnectInitial: [decodeMcsConnectInitial, vector('mcs-connect-initial').subarray(7)],
  decodeMcsConnectResponse: [decodeMcsConnectResponse, vector('mcs-connect-response').subarray(7)],
  decodeMcsPdu: [decodeMcsPdu, vector('mcs-channel-join-confirm').subarray(7)],
  decodeConferenceCreateRequest: [decodeConferenceCreateRequest, vector('mcs-connect-initial').subarray(109)],
  decodeConferenceCreateResponse: [decodeConferenceCreateResponse, vector('mcs-connect-response').subarray(50)],
  decodeUserDataBlocks: [decodeUserDataBlocks, vector('mcs-connect-initial').subarray(132)],
  decodeClientCoreData: [decodeClientCoreData, vector('mcs-connect-initial').subarray(136, 348)],
  decodeClientNetworkData: [decodeClientNetworkData, vector('mcs-connect-initial').subarray(376)],
  decodeClientMonitorData: [decodeClientMonitorData, new Uint8Array(28)],
  decodeServerCoreData: [decodeServerCoreData, new Uint8Array(12)],
  decodeServerNetworkData: [decodeServerNetworkData, new Uint8Array(12)],
  decodeServerSecurityData: [decodeServerSecurityData, new Uint8Array(12)],
  decodeInfoPacket: [decodeInfoPacket, vector('client-info-unicode')],
  splitSharePdus: [splitSharePdus, vector('share-font-list')],
  decodeShareData: [decodeShareData, vector('share-font-list')],
  capabilitySets: [capabilitySets, vector('share-font-list')],
  decodeSaveSessionInfo: [decodeSaveSessionInfo, vector('save-session-info-extended')],
  scrubSaveSessionInfo: [scrubSaveSessionInfo, vector('save-session-info-extended')],
  decodeLicenseMessage: [decodeLicenseMessage, vector('license-valid-client')],
  decodeServerRedirection: [decodeServerRedirection, new Uint8Array(40)],
  decodeFastPath: [decodeFastPath, Uint8Array.of(4, 4, 1, 0x1e)],
  decodeChannelChunk: [decodeChannelChunk, new Uint8Array(12)],
  decodeDynvcPduOfServer: [bytes => decodeDynvcPdu(bytes, 'server'), new Uint8Array(12)],
  decodeDynvcPduOfClient: [bytes => decodeDynvcPdu(bytes, 'client'), new Uint8Array(12)],
  decodeRdCleanPathRequest: [decodeRdCleanPathRequest, vector('rdcleanpath-request')],
  decodeRdCleanPathAnswer: [decodeRdCleanPathAnswer, vector('rdcleanpath-response')],
}

for (const [name, [decode, seed]] of Object.entries(DECODERS)) {
  t.test(`${name} throws nothing but WireError, without payload bytes in it`, async t => {
    const mutated = fc
      .array(fc.tuple(fc.nat({ max: seed.length - 1 }), fc.integer({ min: 0, max: 255 })), { maxLength: 5 })
      .map(changes => {
        const bytes = Uint8Array.from(seed)
        for (const [at, value] of changes) bytes[at] = value
        return bytes
      })
    const cut = fc.tuple(mutated, fc.nat({ max: seed.length })).map(([bytes, size]) => bytes.subarray(0, size))
    fc.assert(
      fc.property(fc.oneof(mutated, cut, fc.uint8Array({ maxLength: 200 })), bytes => {
        try {
          decode(bytes)
        } catch (error) {
          if (!(error instanceof WireError)) throw error
          for (const fact of Object.values(error.facts)) {
            if (typeof fact !== 'string' && typeof fact !== 'number') throw new Error('a fact is no name and no number')
          }
        }
      }),
      { numRuns: 400 },
    )
    t.pass()
  })
}
