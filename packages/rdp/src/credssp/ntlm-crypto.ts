/// <reference path="./js-md4.d.ts" />
import { createHash, createHmac } from 'node:crypto'
import md4 from 'js-md4'
import { rc4Once } from './rc4.ts'

/** UTF-16LE bytes of `text`. */
export function utf16le(text: string): Uint8Array {
  return Buffer.from(text, 'utf16le')
}

export function md5(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('md5')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

export function hmacMd5(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  const hmac = createHmac('md5', key)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}

/** MD4 of a secret; the working memory of the hash is zeroed. */
function md4OfSecret(secret: Uint8Array): Uint8Array {
  // The one-call form of js-md4 works in a buffer of the module, where the last 64 bytes of a password would stay.
  const hash = md4.create()
  try {
    return new Uint8Array(hash.update(secret).arrayBuffer())
  } finally {
    hash.buffer8.fill(0)
    hash.h0 = hash.h1 = hash.h2 = hash.h3 = 0
  }
}

/**
 * Upper case as Windows compares user names: one UTF-16 unit at a time, and only where the way back exists.
 *
 * Spec: [MS-NLMP] §6 UpperCase. The full Unicode mapping would make 'SS' of 'ß', which Windows does not.
 */
export function upperCaseUserName(userName: string): string {
  let upper = ''
  for (let index = 0; index < userName.length; index++) {
    const unit = userName.charAt(index)
    const mapped = unit.toUpperCase()
    upper += mapped.length === 1 && mapped.toLowerCase() === unit.toLowerCase() ? mapped : unit
  }
  return upper
}

/** NT hash of a UTF-16LE password: NTOWFv1 of [MS-NLMP] §3.3.1. The caller zeroes the result. */
export function ntowfv1(password: Uint8Array): Uint8Array {
  return md4OfSecret(password)
}

/** The key of all NTLMv2 responses: NTOWFv2 of [MS-NLMP] §3.3.2. The caller zeroes the result. */
export function ntowfv2(password: Uint8Array, userName: string, domainName: string): Uint8Array {
  const ntHash = ntowfv1(password)
  try {
    return hmacMd5(ntHash, utf16le(upperCaseUserName(userName) + domainName))
  } finally {
    ntHash.fill(0)
  }
}

export interface NtlmV2Input {
  readonly responseKeyNt: Uint8Array
  /** 8 bytes of the CHALLENGE_MESSAGE. */
  readonly serverChallenge: Uint8Array
  /** 8 random bytes. */
  readonly clientChallenge: Uint8Array
  /** FILETIME: 100 ns units since 1601. */
  readonly time: bigint
  /** Encoded AV_PAIRs, MsvAvEOL included. */
  readonly targetInfo: Uint8Array
}

export interface NtlmV2Response {
  readonly ntChallengeResponse: Uint8Array
  readonly lmChallengeResponse: Uint8Array
  /** The caller zeroes it. */
  readonly sessionBaseKey: Uint8Array
}

/**
 * The NTLMv2 and LMv2 responses and the session base key.
 *
 * Spec: [MS-NLMP] §3.3.2, §2.2.2.7 NTLMv2_CLIENT_CHALLENGE (`temp`), §2.2.2.4 LMv2_RESPONSE.
 */
export function computeNtlmV2Response(input: NtlmV2Input): NtlmV2Response {
  const { responseKeyNt, serverChallenge, clientChallenge, targetInfo } = input
  const temp = new Uint8Array(28 + targetInfo.length + 4)
  temp[0] = 1 // RespType
  temp[1] = 1 // HiRespType
  new DataView(temp.buffer).setBigUint64(8, input.time, true)
  temp.set(clientChallenge, 16)
  temp.set(targetInfo, 28)
  const ntProof = hmacMd5(responseKeyNt, serverChallenge, temp)
  return {
    ntChallengeResponse: Buffer.concat([ntProof, temp]),
    lmChallengeResponse: Buffer.concat([hmacMd5(responseKeyNt, serverChallenge, clientChallenge), clientChallenge]),
    sessionBaseKey: hmacMd5(responseKeyNt, ntProof),
  }
}

/** EncryptedRandomSessionKey of the AUTHENTICATE_MESSAGE: [MS-NLMP] §3.1.5.1.2. */
export function encryptSessionKey(keyExchangeKey: Uint8Array, exportedSessionKey: Uint8Array): Uint8Array {
  return rc4Once(keyExchangeKey, exportedSessionKey)
}

export type NtlmDirection = 'client-to-server' | 'server-to-client'

/** SIGNKEY of [MS-NLMP] §3.4.5.2, extended session security. */
export function signingKey(exportedSessionKey: Uint8Array, direction: NtlmDirection): Uint8Array {
  return md5(exportedSessionKey, keyMagic(direction, 'signing'))
}

/** SEALKEY of [MS-NLMP] §3.4.5.3, extended session security with 128 bits. */
export function sealingKey(exportedSessionKey: Uint8Array, direction: NtlmDirection): Uint8Array {
  return md5(exportedSessionKey, keyMagic(direction, 'sealing'))
}

function keyMagic(direction: NtlmDirection, purpose: 'signing' | 'sealing'): Uint8Array {
  return Buffer.from(`session key to ${direction} ${purpose} key magic constant\0`, 'latin1')
}

/** Value of MsvAvChannelBindings: MD5 of gss_channel_bindings_struct ([MS-NLMP] §2.2.2.1, RFC 4121 §4.1.1.2). */
export function channelBindingsHash(endPointHash: Uint8Array): Uint8Array {
  const applicationData = Buffer.concat([Buffer.from('tls-server-end-point:', 'latin1'), endPointHash])
  const header = new Uint8Array(20) // no initiator and no acceptor address
  new DataView(header.buffer).setUint32(16, applicationData.length, true)
  return md5(header, applicationData)
}
