import {
  type BindMessage,
  CLOSE_REASONS,
  type CloseReason,
  MAX_MESSAGE_BYTES,
  PROTOCOL_VERSION,
  ProtocolError,
  parseBindMessage,
  parseClientMessage,
} from '@rap/data-plane-protocol'
import { PROTOCOL } from '@rap/rdp'
import type { EndWords } from '../relays/end-words.ts'
import type { Relay } from '../relays/relay.ts'
import type { Connection, Transport } from './connection.ts'
import { BindRefusal } from './refusal.ts'

const decoder = new TextDecoder('utf-8', { fatal: true })

/** Binds `json_v1` and `binary_v1`: both begin with the same JSON message (docs/protocols/data-plane.md §4, §5). */
export async function bindByJson(connection: Connection, first: Buffer): Promise<Transport | undefined> {
  const message = parseFirst(first)
  connection.closingText = closingText
  const json = message.runtime_transport === 'json_v1'
  const { claim, grant } = await connection.context.binder.bind({
    token: message.token,
    proof: message.proof,
    transport: message.runtime_transport,
    channels: message.channels,
    clientAddress: connection.address,
  })
  if (connection.closed) {
    claim.abandon()
    return undefined
  }
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
  const port = json ? connection.textPort(rdpMessage) : connection.binaryPort()
  const relay = claim.bound({
    client: port,
    channels: grant.allowed_channels as never,
    clientRequestedProtocols: PROTOCOL.SSL,
  })
  return relay && (json ? jsonTransport(relay) : binaryTransport(relay))
}

function parseFirst(first: Buffer): BindMessage {
  try {
    return parseBindMessage(decoder.decode(first))
  } catch {
    throw new BindRefusal('ERR_BIND_MALFORMED')
  }
}

function jsonTransport(relay: Relay): Transport {
  return {
    name: 'json_v1',
    relay,
    onMessage(_connection, message, isBinary) {
      if (isBinary) throw new ProtocolError('ERR_MESSAGE_MALFORMED', 'message is binary')
      const parsed = parseClientMessage(textOf(message))
      if (parsed.type === 'close') relay.end('ERR_SESSION_DETACHED')
      else relay.fromClient(Buffer.from(parsed.data, 'base64'))
    },
  }
}

function binaryTransport(relay: Relay): Transport {
  return {
    name: 'binary_v1',
    relay,
    onMessage(_connection, message, isBinary) {
      if (isBinary) return relay.fromClient(new Uint8Array(message))
      if (parseClientMessage(textOf(message)).type !== 'close') {
        throw new ProtocolError('ERR_MESSAGE_UNKNOWN', 'RDP bytes are binary messages here')
      }
      relay.end('ERR_SESSION_DETACHED')
    },
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
