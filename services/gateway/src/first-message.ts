import { MAX_BIND_BYTES, ProtocolError, parseBindMessage, parseProxyAuth } from '@rap/data-plane-protocol'
import { decodeRdCleanPathRequest, WireError } from '@rap/rdp'
import { Refusal } from './refusal.ts'

/** How a client speaks, which decides in what form it is told a refusal. */
export type Dialect = 'json' | 'rdcleanpath'

/** A DER SEQUENCE, with which every RDCleanPath PDU begins. */
const DER_SEQUENCE = 0x30

export interface FirstMessage {
  readonly dialect: Dialect
  /** The data-plane token inside; nothing about it is verified yet. */
  readonly token: string
}

export function dialectOf(isBinary: boolean): Dialect {
  return isBinary ? 'rdcleanpath' : 'json'
}

/**
 * Finds the token in the first message of a connection: a JSON bind, or an RDCleanPath request.
 * Throws Refusal ERR_BIND_MALFORMED or ERR_RELAY_MESSAGE_TOO_LARGE; the size is checked before anything is parsed.
 */
export function readFirstMessage(data: Buffer, isBinary: boolean): FirstMessage {
  if (data.length > MAX_BIND_BYTES) throw new Refusal('ERR_RELAY_MESSAGE_TOO_LARGE', 'first_message_too_large')
  try {
    if (!isBinary) return { dialect: 'json', token: parseBindMessage(data.toString('utf8')).token }
    if (data[0] !== DER_SEQUENCE) throw new Refusal('ERR_BIND_MALFORMED', 'not_rdcleanpath')
    return { dialect: 'rdcleanpath', token: parseProxyAuth(decodeRdCleanPathRequest(data).proxyAuth).token }
  } catch (cause) {
    if (cause instanceof ProtocolError || cause instanceof WireError) {
      throw new Refusal('ERR_BIND_MALFORMED', cause.code, { cause })
    }
    throw cause
  }
}
