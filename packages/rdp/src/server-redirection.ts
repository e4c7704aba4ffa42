import { Reader, Writer } from './cursor.ts'
import { WireError } from './errors.ts'

/** Spec: [MS-RDPBCGR] §2.2.13.1 RedirFlags. */
export const LB = {
  TARGET_NET_ADDRESS: 0x00000001,
  LOAD_BALANCE_INFO: 0x00000002,
  USERNAME: 0x00000004,
  DOMAIN: 0x00000008,
  PASSWORD: 0x00000010,
  DONTSTOREUSERNAME: 0x00000020,
  SMARTCARD_LOGON: 0x00000040,
  NOREDIRECT: 0x00000080,
  TARGET_FQDN: 0x00000100,
  TARGET_NETBIOS_NAME: 0x00000200,
  TARGET_NET_ADDRESSES: 0x00000800,
  CLIENT_TSV_URL: 0x00001000,
  SERVER_TSV_CAPABLE: 0x00002000,
  PASSWORD_IS_PK_ENCRYPTED: 0x00004000,
  REDIRECTION_GUID: 0x00008000,
  TARGET_CERTIFICATE: 0x00010000,
} as const

/** In the order of the wire, which is not the order of the bits. */
const FIELDS = [
  ['targetNetAddress', LB.TARGET_NET_ADDRESS],
  ['loadBalanceInfo', LB.LOAD_BALANCE_INFO],
  ['userName', LB.USERNAME],
  ['domain', LB.DOMAIN],
  ['password', LB.PASSWORD],
  ['targetFqdn', LB.TARGET_FQDN],
  ['targetNetBiosName', LB.TARGET_NETBIOS_NAME],
  ['tsvUrl', LB.CLIENT_TSV_URL],
  ['redirectionGuid', LB.REDIRECTION_GUID],
  ['targetCertificate', LB.TARGET_CERTIFICATE],
  ['targetNetAddresses', LB.TARGET_NET_ADDRESSES],
] as const

/** Bounds one field, in bytes; a target certificate is the largest real one. */
const MAX_FIELD_BYTES = 16_384
const SEC_REDIRECTION_PKT = 0x0400

type FieldName = (typeof FIELDS)[number][0]

/** Every field is raw bytes, as a view; `password` is a secret whoever reads it must zero. */
export type ServerRedirection = {
  readonly sessionId: number
  readonly redirFlags: number
} & { readonly [Name in FieldName]?: Uint8Array }

/**
 * Where the server wants the client to connect instead, credentials included: it never reaches a client.
 *
 * Spec: [MS-RDPBCGR] §2.2.13.1 RDP_SERVER_REDIRECTION_PACKET, as the body of a share PDU of type SERVER_REDIR behind
 * two padding bytes (§2.2.13.3.1), or behind a security header with SEC_REDIRECTION_PKT less its flags (§2.2.13.2.1).
 * Up to 8 bytes of padding may follow. Throws WireError: TRUNCATED, INVALID_FIELD, TOO_LARGE, TRAILING_BYTES.
 */
export function decodeServerRedirection(bytes: Uint8Array): ServerRedirection {
  const reader = new Reader(bytes, 'RDP_SERVER_REDIRECTION_PACKET')
  const flags = reader.u16le('Flags')
  if (flags !== SEC_REDIRECTION_PKT) throw invalid('Flags', flags, SEC_REDIRECTION_PKT)
  const length = reader.u16le('Length')
  if (length < 12) throw invalid('Length', length, 12)
  const packet = new Reader(reader.bytes.subarray(0, length), reader.structure, reader.offset)
  const redirection: { sessionId: number; redirFlags: number } & { [Name in FieldName]?: Uint8Array } = {
    sessionId: packet.u32le('SessionID'),
    redirFlags: packet.u32le('RedirFlags'),
  }
  for (const [name, flag] of FIELDS) {
    if ((redirection.redirFlags & flag) === 0) continue
    const size = packet.u32le(name)
    if (size > MAX_FIELD_BYTES) {
      throw new WireError('ERR_WIRE_TOO_LARGE', 'field is larger than its limit', {
        structure: reader.structure,
        field: name,
        received: size,
        expected: MAX_FIELD_BYTES,
      })
    }
    redirection[name] = packet.take(size, name)
  }
  // Length counts the padding in some servers and leaves it out in others.
  reader.skip(packet.offset - reader.offset, 'fields')
  if (reader.remaining > 8) reader.end()
  return redirection
}

/** RedirFlags are taken from the fields that are there, beside the flags that name no field. */
export function encodeServerRedirection(redirection: ServerRedirection): Uint8Array {
  const fields = FIELDS.flatMap(([name, flag]) => {
    const value = redirection[name]
    return value === undefined ? [] : [{ flag, value }]
  })
  const fieldFlags = FIELDS.reduce((mask, [, flag]) => mask | flag, 0)
  const redirFlags = fields.reduce((mask, { flag }) => mask | flag, redirection.redirFlags & ~fieldFlags)
  const length = 12 + fields.reduce((sum, { value }) => sum + 4 + value.length, 0)
  const writer = new Writer(length).u16le(SEC_REDIRECTION_PKT).u16le(length)
  writer.u32le(redirection.sessionId).u32le(redirFlags)
  for (const { value } of fields) writer.u32le(value.length).bytes(value)
  return writer.finish()
}

function invalid(field: string, received: number, expected: number): WireError {
  return new WireError('ERR_WIRE_INVALID_FIELD', 'field has another value', {
    structure: 'RDP_SERVER_REDIRECTION_PACKET',
    field,
    received,
    expected,
  })
}
