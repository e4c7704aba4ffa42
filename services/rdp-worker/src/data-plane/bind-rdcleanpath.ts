import { CLOSE_REASONS, type CloseReason, isDestinationOf, parseProxyAuth } from '@rap/data-plane-protocol'
import {
  decodeRdCleanPathRequest,
  decodeX224ConnectionRequest,
  encodeRdCleanPathAnswer,
  encodeX224ConnectionConfirm,
  PROTOCOL,
  RDCLEANPATH_ERROR,
} from '@rap/rdp'
import type { Connection, Transport } from './connection.ts'
import { BindRefusal } from './refusal.ts'

/** What the client is told instead of the target's address. */
const SERVER_ADDR = 'rap'

/** HTTP status of a refusal, as RDCleanPath clients show it; the close code carries the reason. */
const STATUS: Readonly<Record<number, number>> = {
  4400: 400,
  4401: 401,
  4403: 403,
  4408: 408,
  4409: 409,
  4410: 410,
  4429: 429,
  4503: 503,
}

/** Binds `rdcleanpath_v1` (docs/protocols/data-plane.md §6): what the IronRDP web component speaks. */
export async function bindByRdCleanPath(connection: Connection, first: Buffer): Promise<Transport | undefined> {
  connection.closingText = errorPdu
  const { token, proof, destination, clientRequestedProtocols } = parseRequest(first)
  const bind = await connection.context.binder.bind({
    token,
    proof,
    transport: 'rdcleanpath_v1',
    channels: undefined,
    clientAddress: connection.address,
    namesResource: resourceId => isDestinationOf(destination, resourceId),
  })
  if (bind.kind !== 'desktop') throw new BindRefusal('ERR_BIND_CHANNELS_NOT_ALLOWED', { verified: true })
  const { claim, grant, policy } = bind
  if (connection.closed) {
    claim.abandon()
    return undefined
  }
  connection.closingText = undefined
  connection.send(answer(connection.context.certificateChain()), true)
  const bound = claim.bound(
    { client: connection.binaryPort(), channels: grant.allowed_channels, clientRequestedProtocols },
    policy,
  )
  if (bound === undefined) return undefined
  const { relay } = bound
  return {
    name: 'rdcleanpath_v1',
    start: () => relay.start(),
    onMessage(message, isBinary) {
      // RDP bytes are all that this transport has after its first message.
      if (!isBinary) throw new BindRefusal('ERR_RELAY_MALFORMED_MESSAGE')
      relay.fromClient(new Uint8Array(message))
    },
    onDrain: () => relay.clientDrained(),
    end: reason => relay.end(reason),
  }
}

interface ParsedRequest {
  readonly token: string
  readonly proof: string
  readonly destination: string
  readonly clientRequestedProtocols: number
}

function parseRequest(first: Buffer): ParsedRequest {
  try {
    const { destination, proxyAuth, x224ConnectionPdu } = decodeRdCleanPathRequest(first)
    if (x224ConnectionPdu === undefined) throw new BindRefusal('ERR_BIND_MALFORMED')
    const requested = decodeX224ConnectionRequest(x224ConnectionPdu).negotiation?.requestedProtocols ?? PROTOCOL.RDP
    if ((requested & PROTOCOL.SSL) === 0) throw new BindRefusal('ERR_BIND_MALFORMED')
    return { ...parseProxyAuth(proxyAuth), destination, clientRequestedProtocols: requested }
  } catch {
    throw new BindRefusal('ERR_BIND_MALFORMED')
  }
}

function answer(certificateChain: readonly Uint8Array[]): Uint8Array {
  return encodeRdCleanPathAnswer({
    type: 'response',
    serverAddr: SERVER_ADDR,
    x224ConnectionPdu: encodeX224ConnectionConfirm({
      sourceReference: 0,
      negotiation: { type: 'response', flags: 0, selectedProtocol: PROTOCOL.SSL },
    }),
    serverCertChain: certificateChain,
  })
}

function errorPdu(reason: CloseReason): Uint8Array {
  return encodeRdCleanPathAnswer({
    type: 'error',
    errorCode: RDCLEANPATH_ERROR.GENERAL,
    httpStatusCode: STATUS[CLOSE_REASONS[reason].code] ?? 500,
  })
}
