import {
  type BindMessage,
  CLOSE_REASONS,
  type CloseReason,
  decodeBinaryChunk,
  MAX_MESSAGE_BYTES,
  PROTOCOL_VERSION,
  ProtocolError,
  parseBindMessage,
  parseClientMessage,
} from '@rap/data-plane-protocol'
import { PROTOCOL } from '@rap/rdp'
import { isSideChannel } from '@rap/session-policy'
import type { EndWords } from '../relays/end-words.ts'
import type { SidePort } from '../side/side-channels.ts'
import type { Bind } from './bind.ts'
import type { Connection, Transport } from './connection.ts'
import { BindRefusal } from './refusal.ts'

/**
 * Bytes that may wait for a client beside its desktop: the longest list of transfers twice, with room for answers. One that asks on and on and
 * reads nothing is cut off.
 */
const SIDE_MAX_WAITING_BYTES = 1024 * 1024

const decoder = new TextDecoder('utf-8', { fatal: true })

/** Binds `json_v1` and `binary_v1`: both begin with the same JSON message (docs/protocols/data-plane.md §4, §5). */
export async function bindByJson(connection: Connection, first: Buffer): Promise<Transport | undefined> {
  const message = parseFirst(first)
  connection.closingText = closingText
  const bind = await connection.context.binder.bind({
    token: message.token,
    proof: message.proof,
    transport: message.runtime_transport,
    channels: message.channels,
    clientAddress: connection.address,
  })
  if (connection.closed) {
    if (bind.kind === 'desktop') bind.claim.abandon()
    return undefined
  }
  const { grant } = bind
  // Before the relay, which may have bytes of the target at once.
  const bound = {
    type: 'bound',
    protocol_version: PROTOCOL_VERSION,
    session_id: grant.session_id,
    attachment_id: grant.attachment_id,
    allowed_channels: grant.allowed_channels,
    runtime_transport: message.runtime_transport,
  }
  connection.send(JSON.stringify(bound), false)
  const transport = { connection, name: message.runtime_transport }
  return bind.kind === 'desktop' ? desktopTransport(transport, bind) : sideTransport(transport, bind)
}

function parseFirst(first: Buffer): BindMessage {
  try {
    return parseBindMessage(decoder.decode(first))
  } catch {
    throw new BindRefusal('ERR_BIND_MALFORMED')
  }
}

interface TransportOptions {
  readonly connection: Connection
  readonly name: 'json_v1' | 'binary_v1'
}

/** A connection with the desktop, and with what is beside it where it was bound for that too. */
function desktopTransport(
  { connection, name }: TransportOptions,
  { claim, grant, policy }: Bind & { kind: 'desktop' },
): Transport | undefined {
  const json = name === 'json_v1'
  const client = json ? connection.textPort(rdpMessage) : connection.binaryPort()
  const bound = claim.bound(
    { client, channels: grant.allowed_channels, clientRequestedProtocols: PROTOCOL.SSL },
    policy,
  )
  if (bound === undefined) return undefined
  const { relay, side } = bound
  const plain = sidePort(connection, () => undefined)
  const port: SidePort = {
    ...plain,
    send: message => {
      plain.send(message)
      relay.clientAnswered(plain.waitingBytes())
    },
  }
  if (grant.allowed_channels.some(isSideChannel)) side.bind(port, grant.allowed_channels)
  return {
    name,
    start: () => relay.start(),
    onMessage(message, isBinary) {
      if (isBinary && !json) {
        relay.fromClient(new Uint8Array(message))
        return
      }
      if (isBinary) throw new ProtocolError('ERR_MESSAGE_MALFORMED', 'message is binary')
      const parsed = parseClientMessage(textOf(message))
      if (parsed.type === 'close') relay.end('ERR_SESSION_DETACHED')
      else if (parsed.type !== 'rdp') side.request(port, parsed)
      else if (json) relay.fromClient(Buffer.from(parsed.data, 'base64'))
      else throw new ProtocolError('ERR_MESSAGE_UNKNOWN', 'RDP bytes are binary messages here')
    },
    onDrain: () => {
      relay.clientDrained()
      side.drained(port)
    },
    end: reason => {
      side.unbind(port)
      relay.end(reason)
    },
  }
}

/** A connection beside the desktop: uploads and notices. It may come and go while the desktop lives. */
function sideTransport(
  { connection, name }: TransportOptions,
  { claim, grant, policy }: Bind & { kind: 'side' },
): Transport | undefined {
  const bound = claim.bound(policy, reason => connection.close(reason))
  if (bound === undefined) return undefined
  const { channels, left } = bound
  const plain = sidePort(connection, why => {
    left()
    connection.close(why === 'policy' ? 'ERR_SESSION_POLICY' : 'ERR_SESSION_CHANNELS_BOUND_AGAIN')
  })
  const port: SidePort = {
    ...plain,
    send: message => {
      plain.send(message)
      if (plain.waitingBytes() > SIDE_MAX_WAITING_BYTES) end('ERR_RELAY_MEMORY_LIMIT')
    },
  }
  const end = (reason: CloseReason | 'client') => {
    channels.unbind(port)
    left()
    if (reason !== 'client') connection.close(reason)
  }
  return {
    name,
    start: () => channels.bind(port, grant.allowed_channels),
    onMessage(message, isBinary) {
      if (isBinary && name === 'binary_v1') {
        const { uploadId, offset, data } = decodeBinaryChunk(new Uint8Array(message))
        channels.chunk(port, uploadId, offset, data)
        return
      }
      if (isBinary) throw new ProtocolError('ERR_MESSAGE_MALFORMED', 'message is binary')
      const parsed = parseClientMessage(textOf(message))
      if (parsed.type === 'rdp') throw new ProtocolError('ERR_MESSAGE_UNKNOWN', 'no RDP on this connection')
      if (parsed.type === 'close') end('ERR_SESSION_DETACHED')
      else channels.request(port, parsed)
    },
    onDrain: () => channels.drained(port),
    end,
  }
}

function sidePort(connection: Connection, released: SidePort['released']): SidePort {
  return {
    send: message => connection.send(JSON.stringify(message), false),
    waitingBytes: () => connection.waitingBytes(),
    released,
  }
}

function textOf(message: ArrayBuffer): string {
  if (message.byteLength > MAX_MESSAGE_BYTES)
    throw new ProtocolError('ERR_MESSAGE_TOO_LARGE', 'message is over the bound')
  return decoder.decode(message)
}

/** Base64 needs no escapes in JSON. */
function rdpMessage(bytes: Uint8Array): string {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
  return `{"type":"rdp","data":"${data}"}`
}

function closingText(reason: CloseReason, { detail, remedy }: EndWords): string {
  const { code } = CLOSE_REASONS[reason]
  return JSON.stringify({ type: 'closing', code, reason, detail, ...(remedy !== undefined && { remedy }) })
}
