import { Reader } from '../cursor.ts'
import { WireError } from '../errors.ts'

/** NegotiateFlags of [MS-NLMP] §2.2.2.5, the ones this client reads or writes. */
export const NTLM_FLAG = {
  NEGOTIATE_UNICODE: 0x00000001,
  REQUEST_TARGET: 0x00000004,
  NEGOTIATE_SIGN: 0x00000010,
  NEGOTIATE_SEAL: 0x00000020,
  NEGOTIATE_NTLM: 0x00000200,
  NEGOTIATE_ALWAYS_SIGN: 0x00008000,
  NEGOTIATE_EXTENDED_SESSIONSECURITY: 0x00080000,
  NEGOTIATE_TARGET_INFO: 0x00800000,
  NEGOTIATE_VERSION: 0x02000000,
  NEGOTIATE_128: 0x20000000,
  NEGOTIATE_KEY_EXCH: 0x40000000,
} as const

/** 8 KiB: far above what a server sends, far below what the 16 bit lengths of our answer can hold. */
export const MAX_TARGET_INFO_BYTES = 8192
/** 64 bytes of fields and 8 of Version. */
const AUTHENTICATE_FIELDS_BYTES = 72
const MIC_OFFSET = AUTHENTICATE_FIELDS_BYTES
const MIC_BYTES = 16
const SIGNATURE = 'NTLMSSP\0'

/** VERSION of [MS-NLMP] §2.2.2.10: Windows 10.0, NTLMSSP_REVISION_W2K3. Informational only. */
export const NTLM_VERSION: Uint8Array = Uint8Array.of(10, 0, 0, 0, 0, 0, 0, 0x0f)

/** NEGOTIATE_MESSAGE without domain and workstation: [MS-NLMP] §2.2.1.1. */
export function encodeNegotiateMessage(flags: number): Uint8Array {
  const message = new Uint8Array(40)
  writeHeader(message, 1)
  new DataView(message.buffer).setUint32(12, flags >>> 0, true)
  message.set(NTLM_VERSION, 32)
  return message
}

export interface ChallengeMessage {
  readonly negotiateFlags: number
  /** 8 bytes. */
  readonly serverChallenge: Uint8Array
  /** Encoded AV_PAIRs, empty when the server sent none. */
  readonly targetInfo: Uint8Array
}

/**
 * CHALLENGE_MESSAGE of the server.
 *
 * Spec: [MS-NLMP] §2.2.1.2. INVARIANT: every payload field lies behind the fixed fields and inside the message.
 * Throws WireError: TRUNCATED, UNEXPECTED_MESSAGE (MessageType), INVALID_FIELD, TOO_LARGE (TargetInfo).
 */
export function decodeChallengeMessage(bytes: Uint8Array): ChallengeMessage {
  const structure = 'CHALLENGE_MESSAGE'
  const reader = new Reader(bytes, structure)
  const signature = reader.take(SIGNATURE.length, 'Signature')
  if (Buffer.from(signature).toString('latin1') !== SIGNATURE) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'signature is not NTLMSSP', { structure, field: 'Signature' })
  }
  const type = reader.u32le('MessageType')
  if (type !== 2) {
    throw new WireError('ERR_WIRE_UNEXPECTED_MESSAGE', 'message is not a challenge', {
      structure,
      field: 'MessageType',
      received: type,
      expected: 2,
    })
  }
  const targetName = readField(reader, 'TargetNameFields')
  const negotiateFlags = reader.u32le('NegotiateFlags')
  const serverChallenge = reader.take(8, 'ServerChallenge')
  reader.skip(8, 'Reserved')
  const targetInfo = readField(reader, 'TargetInfoFields')
  // Version is informational, and servers that announce it may leave it out: the payload starts here or behind it.
  const payload = { bytes, start: reader.offset, structure }
  payloadOf(payload, targetName, 'TargetName')
  if (targetInfo.size > MAX_TARGET_INFO_BYTES) {
    throw new WireError('ERR_WIRE_TOO_LARGE', 'target information is larger than its limit', {
      structure,
      field: 'TargetInfo',
      received: targetInfo.size,
      expected: MAX_TARGET_INFO_BYTES,
    })
  }
  return { negotiateFlags, serverChallenge, targetInfo: payloadOf(payload, targetInfo, 'TargetInfo') }
}

interface PayloadField {
  readonly size: number
  readonly offset: number
}

function readField(reader: Reader, field: string): PayloadField {
  const size = reader.u16le(field)
  reader.skip(2, field) // MaxLen is ignored on receipt.
  return { size, offset: reader.u32le(field) }
}

interface Payload {
  readonly bytes: Uint8Array
  /** First byte behind the fixed fields. */
  readonly start: number
  readonly structure: string
}

function payloadOf(payload: Payload, { size, offset }: PayloadField, field: string): Uint8Array {
  const { bytes, start, structure } = payload
  if (size === 0) return new Uint8Array(0)
  if (offset < start || offset + size > bytes.length) {
    throw new WireError('ERR_WIRE_INVALID_FIELD', 'payload field lies outside of the payload', {
      structure,
      field,
      received: offset,
      expected: start,
    })
  }
  return bytes.subarray(offset, offset + size)
}

export interface AuthenticateMessage {
  readonly negotiateFlags: number
  /** UTF-16LE. */
  readonly domainName: Uint8Array
  readonly userName: Uint8Array
  readonly workstation: Uint8Array
  readonly lmChallengeResponse: Uint8Array
  readonly ntChallengeResponse: Uint8Array
  readonly encryptedRandomSessionKey: Uint8Array
  /** 8 bytes. */
  readonly version: Uint8Array
  /** Leaves 16 zero bytes for the MIC, see {@link writeMic}. */
  readonly mic: boolean
}

/**
 * AUTHENTICATE_MESSAGE of the client.
 *
 * Spec: [MS-NLMP] §2.2.1.3. The payload is in the order of the examples in §4.2; a server of FreeRDP 2 computes the
 * MIC over the message up to the end of EncryptedRandomSessionKey, which therefore comes last.
 */
export function encodeAuthenticateMessage(fields: AuthenticateMessage): Uint8Array {
  const payloadStart = AUTHENTICATE_FIELDS_BYTES + (fields.mic ? MIC_BYTES : 0)
  // Offset of the fields in the fixed part and their payload, in payload order.
  const payload: readonly (readonly [number, Uint8Array])[] = [
    [28, fields.domainName],
    [36, fields.userName],
    [44, fields.workstation],
    [12, fields.lmChallengeResponse],
    [20, fields.ntChallengeResponse],
    [52, fields.encryptedRandomSessionKey],
  ]
  const message = new Uint8Array(payload.reduce((sum, [, bytes]) => sum + bytes.length, payloadStart))
  const view = new DataView(message.buffer)
  writeHeader(message, 3)
  view.setUint32(60, fields.negotiateFlags >>> 0, true)
  message.set(fields.version, 64)
  let offset = payloadStart
  for (const [at, bytes] of payload) {
    if (bytes.length > 0xffff) throw new TypeError('payload field is longer than 65535 bytes')
    view.setUint16(at, bytes.length, true)
    view.setUint16(at + 2, bytes.length, true)
    view.setUint32(at + 4, offset, true)
    message.set(bytes, offset)
    offset += bytes.length
  }
  return message
}

/** Puts the MIC into an AUTHENTICATE_MESSAGE that was encoded with room for it. */
export function writeMic(authenticateMessage: Uint8Array, mic: Uint8Array): void {
  authenticateMessage.set(mic.subarray(0, MIC_BYTES), MIC_OFFSET)
}

function writeHeader(message: Uint8Array, messageType: number): void {
  message.set(Buffer.from(SIGNATURE, 'latin1'))
  message[8] = messageType
}
