export { WireError, type WireErrorCode, type WireErrorFacts } from './errors.ts'
export { pduSize } from './framing.ts'
export {
  NEG_FAILURE,
  NEG_REQ_FLAG,
  PROTOCOL,
  type RdpNegAnswer,
  type RdpNegReq,
} from './nego.ts'
export {
  decodeRdCleanPathAnswer,
  decodeRdCleanPathRequest,
  encodeRdCleanPathAnswer,
  encodeRdCleanPathRequest,
  MAX_RDCLEANPATH_REQUEST_BYTES,
  MAX_RDCLEANPATH_X224_BYTES,
  RDCLEANPATH_ERROR,
  type RdCleanPathAnswer,
  type RdCleanPathFailure,
  type RdCleanPathRequest,
  type RdCleanPathResponse,
  rdCleanPathRequestSize,
} from './rdcleanpath.ts'
export {
  DYNAMIC_CHANNEL_ALLOW_LIST,
  STATIC_CHANNEL_ALLOW_LIST,
} from './relay/allow-list.ts'
export { RdpRelay, type RelayCounters } from './relay/relay.ts'
export type {
  DriveFile,
  DriveFiles,
  ReadResult,
  RelayCredentials,
  RelayDirection,
  RelayEvent,
  RelayOptions,
  RelayPhase,
  RelayPolicy,
  RelaySink,
  RenderQualityProfile,
  WithheldCode,
} from './relay/types.ts'
export {
  decodeX224ConnectionConfirm,
  decodeX224ConnectionRequest,
  encodeX224ConnectionConfirm,
  encodeX224ConnectionRequest,
  encodeX224DisconnectRequest,
  type X224ConnectionConfirm,
  type X224ConnectionRequest,
} from './x224.ts'
