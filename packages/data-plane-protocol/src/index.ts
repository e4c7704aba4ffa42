export { refusalOfFile, refusalOfOneMore } from './admission.ts'
export {
  CLOSE_REASONS,
  type CloseReason,
  isCloseReason,
  NAMED_TO_VERIFIED_CLIENTS,
  publicReason,
} from './close-codes.ts'
export { ProtocolError, type ProtocolErrorCode } from './errors.ts'
export {
  distinctName,
  extensionOf,
  MAX_GIVEN_NAME_UNITS,
  MAX_NAME_LENGTH,
  nameKey,
  safeFileName,
} from './file-names.ts'
export {
  BIND_TIMEOUT_MS,
  BindMessage,
  BoundMessage,
  type ClientMessage,
  CloseMessage,
  ClosingMessage,
  DATA_PLANE_PATH,
  MAX_BIND_BYTES,
  MAX_MESSAGE_BYTES,
  PROTOCOL_VERSION,
  parseBindMessage,
  parseClientMessage,
  parseServerMessage,
  RdpMessage,
  RUNTIME_TRANSPORTS,
  type RuntimeTransport,
  type ServerMessage,
} from './messages.ts'
export { destinationOf, formatProxyAuth, isDestinationOf, parseProxyAuth } from './proxy-auth.ts'
export {
  type BinaryChunk,
  CHUNK_HEADER_BYTES,
  decodeBinaryChunk,
  encodeChunkHeader,
  MAX_CHUNK_BYTES,
  type SideMessage,
  type Transfer,
  UPLOAD_REFUSALS,
  UPLOAD_WINDOW_BYTES,
  UPLOAD_WINDOW_CHUNKS,
  type UploadRefusal,
  type UploadRequest,
} from './transfers.ts'
