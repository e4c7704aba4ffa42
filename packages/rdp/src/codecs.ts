// Codecs of single structures, for RDP clients and servers of tests and benches. Services use RdpRelay.
export { type CapabilitySet, capabilitySets } from './capabilities.ts'
export {
  CHANNEL_FLAG,
  type ChannelChunk,
  ChannelReassembler,
  decodeChannelChunk,
  encodeChannelChunk,
  encodeChannelMessage,
} from './channel-pdu.ts'
export { decodeInfoPacket, encodeInfoPacket, INFO, type TsInfoPacket } from './client-info.ts'
export { type DynvcPdu, decodeDynvcPdu, encodeDynvcPdu, STATUS_NO_LISTENER } from './drdynvc.ts'
export { decodeFastPath, encodeFastPath, type FastPathPdu } from './fast-path.ts'
export { CS, decodeUserDataBlocks, encodeUserDataBlocks, SC, type UserDataBlock } from './gcc/blocks.ts'
export {
  CHANNEL_OPTION,
  decodeClientNetworkData,
  encodeClientNetworkData,
  encodeFlagsBlock,
} from './gcc/client-blocks.ts'
export { type ClientCoreData, EARLY_CAPABILITY, encodeClientCoreData } from './gcc/client-core.ts'
export {
  decodeConferenceCreateRequest,
  decodeConferenceCreateResponse,
  encodeConferenceCreateRequest,
  encodeConferenceCreateResponse,
} from './gcc/conference.ts'
export {
  decodeServerMessageChannelData,
  decodeServerNetworkData,
  encodeServerCoreData,
  encodeServerMessageChannelData,
  encodeServerNetworkData,
  encodeServerSecurityData,
} from './gcc/server-blocks.ts'
export { decodeLicenseMessage, encodeLicenseValidClient, LICENSE_MESSAGE } from './license.ts'
export {
  type DomainParameters,
  decodeMcsConnectInitial,
  decodeMcsConnectResponse,
  encodeMcsConnectInitial,
  encodeMcsConnectResponse,
} from './mcs/connect.ts'
export { decodeMcsPdu, encodeMcsPdu, encodeSendData, type McsPdu } from './mcs/domain.ts'
export { decodeSecurityHeader, encodeSecurityHeader, SEC } from './security-header.ts'
export { decodeSetErrorInfo } from './set-error-info.ts'
export { decodeShareData, encodeShareData, PDUTYPE, PDUTYPE2, type SharePdu, splitSharePdus } from './share.ts'
export { decodeX224Message, encodeX224Data, type X224Message } from './x224.ts'
