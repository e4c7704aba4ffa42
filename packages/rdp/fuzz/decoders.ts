import { readBerElement, readBerLength, readBerUnsigned } from '../src/ber.ts'
import { capabilitySets, withoutChannelCompression } from '../src/capabilities.ts'
import { ChannelInbox } from '../src/channel-inbox.ts'
import {
  ChannelReassembler,
  decodeChannelChunk,
  encodeChannelMessage,
  tryDecodeChannelChunk,
} from '../src/channel-pdu.ts'
import { decodeInfoPacket } from '../src/client-info.ts'
import { decodeClipboardCapabilities } from '../src/cliprdr/capabilities.ts'
import { decodeFormatIds } from '../src/cliprdr/format-list.ts'
import { decodeCliprdrPdu, decodeFileContentsStreamId, decodeFormatDataRequest } from '../src/cliprdr/pdu.ts'
import { replaceLoneSurrogates, unicodeTextBytes } from '../src/cliprdr/unicode-text.ts'
import { decodeAvPairs, encodeAvPairs } from '../src/credssp/av-pairs.ts'
import { subjectPublicKeyOf, tlsServerEndPointOf } from '../src/credssp/certificate.ts'
import { decodeEarlyUserAuthorizationResult } from '../src/credssp/early-user-authorization.ts'
import { decodeChallengeMessage } from '../src/credssp/ntlm-messages.ts'
import { decodeNegTokenResp, encodeNegTokenResp, MECHANISM } from '../src/credssp/spnego.ts'
import { decodeTsRequest, tsRequestSize } from '../src/credssp/ts-request.ts'
import { Reader, Writer } from '../src/cursor.ts'
import { derFrameSize } from '../src/der.ts'
import { decodeDynvcPdu } from '../src/drdynvc.ts'
import { decodeExtendedInfo, encodeExtendedInfo } from '../src/extended-info.ts'
import { decodeFastPath } from '../src/fast-path.ts'
import { pduSize } from '../src/framing.ts'
import { decodeUserDataBlocks } from '../src/gcc/blocks.ts'
import {
  decodeClientClusterData,
  decodeClientMonitorData,
  decodeClientNetworkData,
  decodeClientSecurityData,
  decodeFlagsBlock,
} from '../src/gcc/client-blocks.ts'
import { decodeClientCoreData } from '../src/gcc/client-core.ts'
import { decodeConferenceCreateRequest, decodeConferenceCreateResponse } from '../src/gcc/conference.ts'
import {
  decodeServerCoreData,
  decodeServerMessageChannelData,
  decodeServerNetworkData,
  decodeServerSecurityData,
} from '../src/gcc/server-blocks.ts'
import { decodeLicenseMessage, looksLikeLicenseMessage } from '../src/license.ts'
import { decodeMcsConnectInitial, decodeMcsConnectResponse } from '../src/mcs/connect.ts'
import { decodeMcsPdu } from '../src/mcs/domain.ts'
import { readNegAnswer, readNegReq } from '../src/nego.ts'
import { readPerLength } from '../src/per.ts'
import { decodeRdCleanPathAnswer, decodeRdCleanPathRequest, rdCleanPathRequestSize } from '../src/rdcleanpath.ts'
import { readRdpdrHeader } from '../src/rdpdr/header.ts'
import { readIoRequest, readIoRequestHeader } from '../src/rdpdr/io-request.ts'
import { decodeRdpdrServerMessage } from '../src/rdpdr/server-messages.ts'
import { decodeSaveSessionInfo, scrubSaveSessionInfo } from '../src/save-session-info.ts'
import { decodeSecurityHeader } from '../src/security-header.ts'
import { decodeServerRedirection } from '../src/server-redirection.ts'
import { decodeSetErrorInfo } from '../src/set-error-info.ts'
import { decodeShareData, looksLikeSharePdu, splitSharePdus } from '../src/share.ts'
import { decodeTpkt } from '../src/tpkt.ts'
import { decodeX224ConnectionConfirm, decodeX224ConnectionRequest, decodeX224Message } from '../src/x224.ts'
import { ED25519, RSA_SHA256, RSASSA_PSS_SHA256 } from '../test/credssp/certificates.ts'
import { SERVER_AV_PAIRS } from '../test/credssp/model-server.ts'
import { hex, utf16le, vector } from '../test/helper.ts'
import {
  CAPABILITY_REQUEST,
  createBody,
  directoryBody,
  ioRequest,
  readBody,
  SERVER_ANNOUNCE,
} from '../test/rdpdr/target.ts'
import { capabilities, LONG, text, textList } from '../test/relay/clipboard-harness.ts'
import { CLIENT_INFO, connectInitial, demandActivePdu } from '../test/relay/harness.ts'
import { CLIPBOARD } from './clipboard.ts'
import { CREDSSP_CLIENT, TS_REQUESTS } from './credssp.ts'
import { DRIVE } from './drive.ts'
import { program, stepsOf } from './program.ts'
import { decoder, type FuzzTarget } from './promise.ts'
import { RELAY } from './relay.ts'

const overReader = (read: (reader: Reader) => unknown) => (bytes: Uint8Array) => read(new Reader(bytes, 'test'))
const zeros = (size: number): Uint8Array => new Uint8Array(size)
const CERTIFICATES = [RSA_SHA256, RSASSA_PSS_SHA256, ED25519]
const CHALLENGE = hex(`
  4e544c4d53535000 02000000 0800080038000000 33828ae2 0123456789abcdef 0000000000000000 2400240040000000 0a00 614a 0000000f
  43004f0052005000 0200080043004f00520050000100080048004f00530054000000 0000`)
const IO_REQUESTS = [
  ioRequest(
    { majorFunction: 0, fileId: 0, completionId: 1 },
    createBody({ desiredAccess: 1, createDisposition: 1, createOptions: 0, path: '\\a' }),
  ),
  ioRequest({ majorFunction: 3, fileId: 1, completionId: 2 }, readBody(0, 10)),
  ioRequest({ majorFunction: 12, minorFunction: 1, fileId: 1, completionId: 3 }, directoryBody(3, '\\*')),
]
const EXTENDED_INFO = extendedInfo()
const TEXT = utf16le('a\ud83d\ude00\ud83d\0')

function extendedInfo(): Uint8Array {
  const writer = new Writer()
  if (CLIENT_INFO.extraInfo !== undefined) encodeExtendedInfo(writer, CLIENT_INFO.extraInfo)
  return writer.finish()
}

/** Takes chunks as they come, with headers that say anything. */
function chunked(push: (chunk: ReturnType<typeof decodeChannelChunk>) => void, held: () => number, maxBytes: number) {
  return (bytes: Uint8Array) => {
    for (const step of stepsOf(bytes)) {
      const chunk = tryDecodeChannelChunk(step.bytes)
      if (chunk !== undefined) push(chunk)
      if (held() > maxBytes) throw new Error(`holds ${held()} bytes`)
    }
  }
}
const CHUNKS = program([], ...encodeChannelMessage(zeros(2000)).map(chunk => [0, chunk] as const))
const MAX_MESSAGE_BYTES = 4096
const HEAD_BYTES = 64

/**
 * Everything in this package that takes bytes of a stranger, under the name of its function or class; what stands behind a slash tells
 * variants apart.
 */
export const DECODERS: Readonly<Record<string, FuzzTarget>> = {
  readBerLength: decoder(
    overReader(r => readBerLength(r, 'length')),
    hex('820105'),
  ),
  readBerElement: decoder(
    overReader(r => readBerElement(r, 0x04, 'value')),
    hex('0403010203'),
  ),
  readBerUnsigned: decoder(
    overReader(r => readBerUnsigned(r, 'value')),
    hex('02020102'),
  ),
  readPerLength: decoder(
    overReader(r => readPerLength(r, 'length')),
    hex('8105'),
  ),
  readNegReq: decoder(overReader(readNegReq), hex('0100080003000000')),
  readNegAnswer: decoder(overReader(readNegAnswer), hex('0200080002000000'), hex('0300080005000000')),
  pduSize: decoder(bytes => pduSize(bytes, 0, bytes.length), vector('share-font-list').subarray(0, 4), hex('0300000b')),
  decodeTpkt: decoder(decodeTpkt, vector('mcs-channel-join-confirm')),
  decodeX224ConnectionRequest: decoder(decodeX224ConnectionRequest, vector('x224-connection-request')),
  decodeX224ConnectionConfirm: decoder(decodeX224ConnectionConfirm, vector('x224-connection-confirm')),
  decodeX224Message: decoder(decodeX224Message, vector('mcs-channel-join-confirm')),
  decodeMcsConnectInitial: decoder(
    decodeMcsConnectInitial,
    vector('mcs-connect-initial').subarray(7),
    connectInitial().subarray(7),
  ),
  decodeMcsConnectResponse: decoder(decodeMcsConnectResponse, vector('mcs-connect-response').subarray(7)),
  decodeMcsPdu: decoder(
    decodeMcsPdu,
    ...[
      'channel-join-confirm',
      'channel-join-request',
      'attach-user-confirm',
      'erect-domain-request',
      'disconnect-provider-ultimatum',
    ].map(name => vector(`mcs-${name}`).subarray(7)),
  ),
  decodeConferenceCreateRequest: decoder(decodeConferenceCreateRequest, vector('mcs-connect-initial').subarray(109)),
  decodeConferenceCreateResponse: decoder(decodeConferenceCreateResponse, vector('mcs-connect-response').subarray(50)),
  decodeUserDataBlocks: decoder(decodeUserDataBlocks, vector('mcs-connect-initial').subarray(132)),
  decodeClientCoreData: decoder(decodeClientCoreData, vector('mcs-connect-initial').subarray(136, 348)),
  decodeClientNetworkData: decoder(decodeClientNetworkData, vector('mcs-connect-initial').subarray(376)),
  decodeClientSecurityData: decoder(decodeClientSecurityData, zeros(8)),
  decodeClientClusterData: decoder(decodeClientClusterData, zeros(8)),
  decodeClientMonitorData: decoder(decodeClientMonitorData, zeros(28)),
  decodeFlagsBlock: decoder(bytes => decodeFlagsBlock(bytes, 'test'), zeros(4)),
  decodeServerCoreData: decoder(decodeServerCoreData, zeros(12)),
  decodeServerNetworkData: decoder(decodeServerNetworkData, hex('eb030300ec03ed03ee030000')),
  decodeServerSecurityData: decoder(decodeServerSecurityData, zeros(12)),
  decodeServerMessageChannelData: decoder(decodeServerMessageChannelData, hex('f003')),
  decodeSecurityHeader: decoder(decodeSecurityHeader, hex('40000000')),
  decodeInfoPacket: decoder(decodeInfoPacket, vector('client-info-unicode'), vector('client-info-ansi')),
  decodeExtendedInfo: decoder(decodeExtendedInfo, EXTENDED_INFO),
  decodeLicenseMessage: decoder(decodeLicenseMessage, vector('license-valid-client')),
  looksLikeLicenseMessage: decoder(looksLikeLicenseMessage, vector('license-valid-client')),
  splitSharePdus: decoder(splitSharePdus, vector('share-font-list'), demandActivePdu()),
  decodeShareData: decoder(decodeShareData, vector('share-font-list'), vector('share-synchronize')),
  looksLikeSharePdu: decoder(looksLikeSharePdu, vector('share-font-list')),
  capabilitySets: decoder(capabilitySets, demandActivePdu()),
  withoutChannelCompression: decoder(withoutChannelCompression, demandActivePdu()),
  decodeSaveSessionInfo: decoder(
    decodeSaveSessionInfo,
    ...['extended', 'logon', 'logon-long', 'plain-notify'].map(name => vector(`save-session-info-${name}`)),
  ),
  scrubSaveSessionInfo: decoder(
    scrubSaveSessionInfo,
    vector('save-session-info-extended'),
    vector('save-session-info-logon'),
  ),
  decodeSetErrorInfo: decoder(decodeSetErrorInfo, zeros(4)),
  decodeServerRedirection: decoder(decodeServerRedirection, zeros(40)),
  decodeFastPath: decoder(decodeFastPath, hex('0404011e')),
  decodeChannelChunk: decoder(decodeChannelChunk, zeros(12)),
  tryDecodeChannelChunk: decoder(tryDecodeChannelChunk, zeros(12)),
  'decodeDynvcPdu/server': decoder(
    bytes => decodeDynvcPdu(bytes, 'server'),
    hex('100372647000'),
    hex('50000200'),
    zeros(12),
  ),
  'decodeDynvcPdu/client': decoder(bytes => decodeDynvcPdu(bytes, 'client'), hex('100300000000'), zeros(12)),
  rdCleanPathRequestSize: decoder(rdCleanPathRequestSize, vector('rdcleanpath-request')),
  decodeRdCleanPathRequest: decoder(
    decodeRdCleanPathRequest,
    vector('rdcleanpath-request'),
    vector('rdcleanpath-vmconnect-request'),
  ),
  decodeRdCleanPathAnswer: decoder(
    decodeRdCleanPathAnswer,
    ...['response', 'http-error', 'tls-error'].map(name => vector(`rdcleanpath-${name}`)),
  ),
  derFrameSize: decoder(bytes => derFrameSize(bytes, 'test'), hex('30820105')),
  tsRequestSize: decoder(tsRequestSize, ...TS_REQUESTS),
  decodeTsRequest: decoder(decodeTsRequest, ...TS_REQUESTS),
  decodeNegTokenResp: decoder(
    decodeNegTokenResp,
    encodeNegTokenResp({
      negState: 1,
      supportedMech: MECHANISM.NTLMSSP,
      responseToken: zeros(8),
      mechListMic: zeros(16),
    }),
  ),
  decodeChallengeMessage: decoder(decodeChallengeMessage, CHALLENGE),
  decodeAvPairs: decoder(decodeAvPairs, encodeAvPairs(SERVER_AV_PAIRS)),
  decodeEarlyUserAuthorizationResult: decoder(decodeEarlyUserAuthorizationResult, zeros(4), hex('05000000')),
  subjectPublicKeyOf: decoder(subjectPublicKeyOf, ...CERTIFICATES),
  tlsServerEndPointOf: decoder(tlsServerEndPointOf, ...CERTIFICATES),
  decodeCliprdrPdu: decoder(decodeCliprdrPdu, textList, text('abc')),
  decodeClipboardCapabilities: decoder(decodeClipboardCapabilities, capabilities(LONG).subarray(8)),
  'decodeFormatIds/long': decoder(bytes => decodeFormatIds(bytes, { long: true, ascii: false }), textList.subarray(8)),
  'decodeFormatIds/ascii': decoder(bytes => decodeFormatIds(bytes, { long: true, ascii: true }), hex('0d00000000')),
  'decodeFormatIds/short': decoder(
    bytes => decodeFormatIds(bytes, { long: false, ascii: false }),
    vector('clipboard-format-list-text').subarray(8),
  ),
  decodeFormatDataRequest: decoder(decodeFormatDataRequest, hex('0d000000')),
  decodeFileContentsStreamId: decoder(decodeFileContentsStreamId, zeros(28)),
  unicodeTextBytes: decoder(unicodeTextBytes, TEXT),
  // It changes the bytes in place.
  replaceLoneSurrogates: decoder(bytes => replaceLoneSurrogates(bytes.slice(0, bytes.length & ~1)), TEXT),
  readRdpdrHeader: decoder(overReader(readRdpdrHeader), SERVER_ANNOUNCE),
  decodeRdpdrServerMessage: decoder(decodeRdpdrServerMessage, SERVER_ANNOUNCE, CAPABILITY_REQUEST, ...IO_REQUESTS),
  readIoRequestHeader: decoder(overReader(readIoRequestHeader), ...IO_REQUESTS.map(request => request.subarray(4))),
  readIoRequest: decoder(
    overReader(reader => readIoRequest(reader, readIoRequestHeader(reader))),
    ...IO_REQUESTS.map(request => request.subarray(4)),
  ),
  ChannelReassembler: decoder(bytes => {
    const reassembler = new ChannelReassembler(MAX_MESSAGE_BYTES)
    chunked(
      chunk => reassembler.push(chunk),
      () => reassembler.bufferedBytes,
      MAX_MESSAGE_BYTES,
    )(bytes)
  }, CHUNKS),
  ChannelInbox: {
    run: bytes => {
      const inbox = new ChannelInbox(
        {
          room: () => MAX_MESSAGE_BYTES,
          whole: message => {
            if (message.length > MAX_MESSAGE_BYTES) throw new Error(`gives ${message.length} bytes`)
          },
          lost: head => {
            if (head.length > HEAD_BYTES) throw new Error(`a head of ${head.length} bytes`)
          },
        },
        HEAD_BYTES,
      )
      chunked(
        chunk => inbox.push(chunk),
        () => inbox.bufferedBytes,
        MAX_MESSAGE_BYTES,
      )(bytes)
    },
    seeds: [CHUNKS],
  },
  Clipboard: CLIPBOARD,
  Drive: DRIVE,
  CredSspClient: CREDSSP_CLIENT,
  RdpRelay: RELAY,
}
