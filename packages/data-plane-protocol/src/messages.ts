import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { ProtocolError } from './errors.ts'
import { SIDE_MESSAGES, type SideMessage, UPLOAD_REQUESTS, type UploadRequest } from './transfers.ts'

/** The one path of the data plane, on the worker and on the gateway. */
export const DATA_PLANE_PATH = '/data-plane/v1'
/** Version of the control messages. */
export const PROTOCOL_VERSION = 1
/** How long an unbound connection may stay, in milliseconds. */
export const BIND_TIMEOUT_MS = 10_000
/** Largest first message, in bytes: a bind or an RDCleanPath request. Bounds what a stranger makes us hold. */
export const MAX_BIND_BYTES = 16 * 1024
/** Largest message after the bind, in bytes. An RDP PDU is at most 65535 bytes; several may share a message. */
export const MAX_MESSAGE_BYTES = 1024 * 1024

/** The runtime transports, by their names in candidate metadata. */
export const RUNTIME_TRANSPORTS = ['rdcleanpath_v1', 'binary_v1', 'json_v1'] as const
export type RuntimeTransport = (typeof RUNTIME_TRANSPORTS)[number]

const closed = { additionalProperties: false } as const
const Channels = Type.Array(Type.String({ maxLength: 40 }), { minItems: 1, maxItems: 8, uniqueItems: true })

/** First message of json_v1 and binary_v1. */
export const BindMessage = Type.Object(
  {
    type: Type.Literal('bind'),
    protocol_version: Type.Literal(PROTOCOL_VERSION),
    runtime_transport: Type.Union([Type.Literal('json_v1'), Type.Literal('binary_v1')]),
    token: Type.String({ minLength: 1, maxLength: 8192 }),
    proof: Type.String({ minLength: 1, maxLength: 2048 }),
    channels: Channels,
  },
  closed,
)
export type BindMessage = Static<typeof BindMessage>

/** RDP bytes in json_v1, both ways; standard base64 (RFC 4648 §4) with padding. */
export const RdpMessage = Type.Object(
  {
    type: Type.Literal('rdp'),
    data: Type.String({ minLength: 1, maxLength: MAX_MESSAGE_BYTES, pattern: '^[A-Za-z0-9+/]+={0,2}$' }),
  },
  closed,
)
export type RdpMessage = Static<typeof RdpMessage>

/** The client ends the connection in order. */
export const CloseMessage = Type.Object({ type: Type.Literal('close') }, closed)

/** Answer to a bind that holds. */
export const BoundMessage = Type.Object(
  {
    type: Type.Literal('bound'),
    protocol_version: Type.Literal(PROTOCOL_VERSION),
    session_id: Type.String({ maxLength: 36 }),
    attachment_id: Type.String({ maxLength: 36 }),
    allowed_channels: Type.Array(Type.String({ maxLength: 40 }), { maxItems: 8 }),
    runtime_transport: Type.Union(RUNTIME_TRANSPORTS.map(name => Type.Literal(name))),
  },
  closed,
)
export type BoundMessage = Static<typeof BoundMessage>

/** Last message before a close frame in json_v1 and binary_v1: the same reason, with words for a person. */
export const ClosingMessage = Type.Object(
  {
    type: Type.Literal('closing'),
    code: Type.Integer({ minimum: 4000, maximum: 4999 }),
    reason: Type.String({ maxLength: 123 }),
    detail: Type.Optional(Type.String({ maxLength: 1000 })),
    remedy: Type.Optional(Type.String({ maxLength: 1000 })),
  },
  closed,
)
export type ClosingMessage = Static<typeof ClosingMessage>

/** What a bound client may send as text. */
export type ClientMessage = RdpMessage | Static<typeof CloseMessage> | UploadRequest
/** What a server sends as text. */
export type ServerMessage = BoundMessage | RdpMessage | ClosingMessage | SideMessage

const CLIENT_MESSAGES: Readonly<Record<string, TSchema>> = {
  __proto__: null as never,
  rdp: RdpMessage,
  close: CloseMessage,
  ...UPLOAD_REQUESTS,
}
const SERVER_MESSAGES: Readonly<Record<string, TSchema>> = {
  __proto__: null as never,
  bound: BoundMessage,
  rdp: RdpMessage,
  closing: ClosingMessage,
  ...SIDE_MESSAGES,
}

/** Parses the first text message. Throws ProtocolError; its bound is MAX_BIND_BYTES. */
export function parseBindMessage(text: string): BindMessage {
  return parse(text, MAX_BIND_BYTES, { __proto__: null as never, bind: BindMessage }) as BindMessage
}

/** Parses a text message of a bound client. Throws ProtocolError; its bound is MAX_MESSAGE_BYTES. */
export function parseClientMessage(text: string): ClientMessage {
  return parse(text, MAX_MESSAGE_BYTES, CLIENT_MESSAGES) as ClientMessage
}

/** Parses a text message of a server. Throws ProtocolError; its bound is MAX_MESSAGE_BYTES. */
export function parseServerMessage(text: string): ServerMessage {
  return parse(text, MAX_MESSAGE_BYTES, SERVER_MESSAGES) as ServerMessage
}

function parse(text: string, maxLength: number, messages: Readonly<Record<string, TSchema>>): unknown {
  if (text.length > maxLength) throw new ProtocolError('ERR_MESSAGE_TOO_LARGE', 'message is over the bound')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ProtocolError('ERR_MESSAGE_MALFORMED', 'message is not JSON')
  }
  const type = (value as { type?: unknown } | null)?.type
  const schema = typeof type === 'string' ? messages[type] : undefined
  if (schema === undefined) throw new ProtocolError('ERR_MESSAGE_UNKNOWN', 'message type is not known here')
  if (!Value.Check(schema, value)) {
    throw new ProtocolError(
      'ERR_MESSAGE_MALFORMED',
      'message is not of its type',
      Value.Errors(schema, value).First()?.path,
    )
  }
  return value
}
