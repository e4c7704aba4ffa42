import { Channels, SessionLimits } from '@rap/session-policy'
import { type Static, Type } from '@sinclair/typebox'
import { ProtocolError } from './errors.ts'

/** Largest piece of a file in one message, in bytes. */
export const MAX_CHUNK_BYTES = 256 * 1024
/** Bytes that may be under way on one connection without an acknowledgement, all its uploads together; a client that sends more is cut off. */
export const UPLOAD_WINDOW_BYTES = 2 * 1024 * 1024
/** The same in chunks. */
export const UPLOAD_WINDOW_CHUNKS = 64
/** Most entries of a list of transfers: the largest `upload_files` of a policy. */
const MAX_TRANSFERS = 1000
/** Length of the header in front of a binary chunk: upload id (16) and offset (8). */
export const CHUNK_HEADER_BYTES = 24

const closed = { additionalProperties: false } as const
const UploadId = Type.String({ pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' })
const Offset = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' })
const Code = Type.String({ maxLength: 100, pattern: '^ERR_[A-Z0-9_]+$' })
const Words = Type.String({ maxLength: 1000 })

/** Begins an upload, or goes on with the one of this id, name and size. The client makes the id: a random UUID. */
export const UploadBegin = Type.Object(
  {
    type: Type.Literal('upload_begin'),
    upload_id: UploadId,
    /** As the person's machine calls it; the worker makes it safe. */
    name: Type.String({ minLength: 1, maxLength: 1024 }),
    size: Offset,
  },
  closed,
)
/** The next bytes at `offset`, which is where the last ones ended; standard base64 (RFC 4648 §4) with padding. */
export const UploadChunk = Type.Object(
  {
    type: Type.Literal('upload_chunk'),
    upload_id: UploadId,
    offset: Offset,
    data: Type.String({
      minLength: 4,
      maxLength: Math.ceil(MAX_CHUNK_BYTES / 3) * 4,
      pattern: '^[A-Za-z0-9+/]+={0,2}$',
    }),
  },
  closed,
)
/** All bytes are sent; their SHA-256, lower-case hexadecimal. */
export const UploadEnd = Type.Object({ type: Type.Literal('upload_end'), upload_id: UploadId, sha256: Sha256 }, closed)
/** Gives up an upload, or takes a finished one out of RAP_Transfers. */
export const UploadCancel = Type.Object({ type: Type.Literal('upload_cancel'), upload_id: UploadId }, closed)

/** What a client says on the channel `file_upload`. */
export const UPLOAD_REQUESTS = {
  upload_begin: UploadBegin,
  upload_chunk: UploadChunk,
  upload_end: UploadEnd,
  upload_cancel: UploadCancel,
} as const
export type UploadRequest =
  | Static<typeof UploadBegin>
  | Static<typeof UploadChunk>
  | Static<typeof UploadEnd>
  | Static<typeof UploadCancel>

/** The worker has everything up to `offset`: the answer to a begin, and the acknowledgement of chunks. */
export const UploadProgress = Type.Object(
  { type: Type.Literal('upload_progress'), upload_id: UploadId, offset: Offset },
  closed,
)
/** The file is whole, and in RAP_Transfers under `name`. */
export const UploadDone = Type.Object(
  { type: Type.Literal('upload_done'), upload_id: UploadId, name: Type.String({ maxLength: 255 }) },
  closed,
)
/** The upload is over without a file: refused, failed or cancelled. `code` is one of UPLOAD_REFUSALS. */
export const UploadRefused = Type.Object(
  {
    type: Type.Literal('upload_refused'),
    upload_id: UploadId,
    code: Code,
    detail: Words,
    remedy: Type.Optional(Words),
  },
  closed,
)
/** One upload of the session as the worker has it. */
export const Transfer = Type.Object(
  {
    upload_id: UploadId,
    /** Its name in RAP_Transfers. */
    name: Type.String({ maxLength: 255 }),
    size: Offset,
    /** Bytes that the worker has. */
    offset: Offset,
    state: Type.Union([Type.Literal('receiving'), Type.Literal('ready')]),
  },
  closed,
)
export type Transfer = Static<typeof Transfer>
/** All uploads of the session: sent after the bind, and after every change but progress. */
export const Transfers = Type.Object(
  {
    type: Type.Literal('transfers'),
    /** Whether the target has mounted the drive; false until the target asks for its devices, and for one that never does. */
    drive_mounted: Type.Boolean(),
    items: Type.Array(Transfer, { maxItems: MAX_TRANSFERS }),
  },
  closed,
)

/** What the attachment may do now, over all its connections. */
export const PolicyChanged = Type.Object(
  {
    type: Type.Literal('policy'),
    allowed_channels: Channels,
    limits: SessionLimits,
    /** When the session is over, RFC 3339; null without a limit. */
    session_ends_at: Type.Union([Type.String({ maxLength: 40 }), Type.Null()]),
  },
  closed,
)
/** A limit is near. */
export const LimitNear = Type.Object(
  {
    type: Type.Literal('limit_near'),
    limit: Type.Union([Type.Literal('idle_seconds'), Type.Literal('session_seconds')]),
    seconds_left: Type.Integer({ minimum: 0 }),
  },
  closed,
)
/** The relay held something back that the person should know of: once for each channel and code in ten seconds at most. */
export const Withheld = Type.Object(
  {
    type: Type.Literal('withheld'),
    /** The channel of the policy, or the RDP channel's name. */
    channel: Type.String({ maxLength: 256 }),
    code: Code,
    detail: Words,
  },
  closed,
)

/** What a server says on the channels `file_upload` and `events`. */
export const SIDE_MESSAGES = {
  upload_progress: UploadProgress,
  upload_done: UploadDone,
  upload_refused: UploadRefused,
  transfers: Transfers,
  policy: PolicyChanged,
  limit_near: LimitNear,
  withheld: Withheld,
} as const
export type SideMessage =
  | Static<typeof UploadProgress>
  | Static<typeof UploadDone>
  | Static<typeof UploadRefused>
  | Static<typeof Transfers>
  | Static<typeof PolicyChanged>
  | Static<typeof LimitNear>
  | Static<typeof Withheld>

/** Every way an upload ends without a file, with the words for the person. The channel and the other uploads go on. */
export const UPLOAD_REFUSALS = {
  ERR_UPLOAD_NOT_ALLOWED: { detail: 'Sending files is off by policy.', remedy: 'Ask your administrator.' },
  ERR_UPLOAD_NAME: {
    detail: 'This file name cannot be used.',
    remedy: 'Rename the file and send it again; shortcuts and the like can be sent in an archive.',
  },
  ERR_UPLOAD_EXTENSION: {
    detail: 'Files of this kind may not be sent.',
    remedy: 'Ask your administrator which kinds may.',
  },
  ERR_UPLOAD_FILE_TOO_LARGE: {
    detail: 'The file is larger than the policy allows.',
    remedy: 'Ask your administrator.',
  },
  ERR_UPLOAD_QUOTA: {
    detail: 'The files of this session together would be larger than the policy allows.',
    remedy: 'Remove files that are no longer needed, or ask your administrator.',
  },
  ERR_UPLOAD_TOO_MANY: {
    detail: 'This session has as many files as the policy allows.',
    remedy: 'Remove files that are no longer needed.',
  },
  ERR_UPLOAD_DISK_FULL: {
    detail: 'The worker has no room for this file.',
    remedy: 'Try again later, or tell your administrator.',
  },
  ERR_UPLOAD_UNKNOWN: { detail: 'There is no such upload.', remedy: 'Send the file again.' },
  ERR_UPLOAD_CONFLICT: {
    detail: 'Another file has this id with another name or size.',
    remedy: 'Send the file again.',
  },
  ERR_UPLOAD_OFFSET: { detail: 'A piece of the file is missing.', remedy: 'Send the file again.' },
  ERR_UPLOAD_HASH_MISMATCH: {
    detail: 'What arrived is not what was sent.',
    remedy: 'Send the file again; it may have changed meanwhile.',
  },
  ERR_UPLOAD_DAMAGED: {
    detail: 'Somebody has changed this file on the disk of the worker, and it was taken away.',
    remedy: 'Tell your administrator, and send the file again.',
  },
  ERR_UPLOAD_CANCELLED: { detail: 'The upload was cancelled.', remedy: undefined },
  ERR_UPLOAD_FAILED: { detail: 'The worker could not keep the file.', remedy: 'Try again.' },
} as const satisfies Record<string, { detail: string; remedy: string | undefined }>

/** The stable code of an upload that ended without a file. */
export type UploadRefusal = keyof typeof UPLOAD_REFUSALS

/** The next bytes of an upload as one binary message, on a `binary_v1` connection without RDP channels. */
export interface BinaryChunk {
  readonly uploadId: string
  readonly offset: number
  /** A view of the message. */
  readonly data: Uint8Array
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** The header in front of the bytes of a chunk: upload id (16, RFC 9562 byte order) · offset (8, big-endian). */
export function encodeChunkHeader(uploadId: string, offset: number): Uint8Array {
  if (!UUID.test(uploadId)) throw new TypeError('upload id is not a UUID')
  const header = new Uint8Array(CHUNK_HEADER_BYTES)
  const hex = uploadId.replaceAll('-', '')
  for (let index = 0; index < 16; index++) header[index] = Number.parseInt(hex.slice(2 * index, 2 * index + 2), 16)
  new DataView(header.buffer).setBigUint64(16, BigInt(offset))
  return header
}

/** Reads a binary chunk. Throws ProtocolError: MALFORMED, TOO_LARGE. */
export function decodeBinaryChunk(message: Uint8Array): BinaryChunk {
  if (message.length <= CHUNK_HEADER_BYTES) throw new ProtocolError('ERR_MESSAGE_MALFORMED', 'chunk has no bytes')
  if (message.length > CHUNK_HEADER_BYTES + MAX_CHUNK_BYTES) {
    throw new ProtocolError('ERR_MESSAGE_TOO_LARGE', 'chunk is over the bound')
  }
  const offset = new DataView(message.buffer, message.byteOffset).getBigUint64(16)
  if (offset > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolError('ERR_MESSAGE_MALFORMED', 'offset is too large')
  const hex = Array.from(message.subarray(0, 16), byte => byte.toString(16).padStart(2, '0')).join('')
  const uploadId = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  return { uploadId, offset: Number(offset), data: message.subarray(CHUNK_HEADER_BYTES) }
}
