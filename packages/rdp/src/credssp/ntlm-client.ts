import { AV_ID, type AvPair, addClientAvPairs, decodeAvPairs, encodeAvPairs, timestampOf } from './av-pairs.ts'
import { CredSspError } from './errors.ts'
import { computeNtlmV2Response, encryptSessionKey, hmacMd5, ntowfv2, utf16le } from './ntlm-crypto.ts'
import {
  type ChallengeMessage,
  decodeChallengeMessage,
  encodeAuthenticateMessage,
  encodeNegotiateMessage,
  NTLM_FLAG,
  NTLM_VERSION,
  writeMic,
} from './ntlm-messages.ts'
import { NtlmHandle } from './ntlm-session.ts'
import type { MechanismContext } from './security-context.ts'

export interface NtlmClientOptions {
  readonly username: string
  readonly domain: string
  /** UTF-16LE; read during `respond`, never copied into another lasting buffer. */
  readonly password: Uint8Array
  readonly workstation: string
  readonly targetName: string
  /** tls-server-end-point hash of the server's certificate. */
  readonly channelBindings?: Uint8Array
  readonly random: (size: number) => Uint8Array
  /** 100 ns units since 1601; used when the server sends no timestamp. */
  readonly nowFileTime: bigint
}

const OFFERED_FLAGS =
  NTLM_FLAG.NEGOTIATE_UNICODE |
  NTLM_FLAG.REQUEST_TARGET |
  NTLM_FLAG.NEGOTIATE_SIGN |
  NTLM_FLAG.NEGOTIATE_SEAL |
  NTLM_FLAG.NEGOTIATE_NTLM |
  NTLM_FLAG.NEGOTIATE_ALWAYS_SIGN |
  NTLM_FLAG.NEGOTIATE_EXTENDED_SESSIONSECURITY |
  NTLM_FLAG.NEGOTIATE_TARGET_INFO |
  NTLM_FLAG.NEGOTIATE_VERSION |
  NTLM_FLAG.NEGOTIATE_128 |
  NTLM_FLAG.NEGOTIATE_KEY_EXCH

/** What a server must agree to. Without one of these the session keys are weak or the response is NTLMv1. */
const REQUIRED_FLAGS =
  NTLM_FLAG.NEGOTIATE_UNICODE |
  NTLM_FLAG.NEGOTIATE_SIGN |
  NTLM_FLAG.NEGOTIATE_SEAL |
  NTLM_FLAG.NEGOTIATE_EXTENDED_SESSIONSECURITY |
  NTLM_FLAG.NEGOTIATE_TARGET_INFO |
  NTLM_FLAG.NEGOTIATE_128 |
  NTLM_FLAG.NEGOTIATE_KEY_EXCH

/**
 * The client side of connection-oriented NTLMv2.
 *
 * Spec: [MS-NLMP] §3.1.5.1. INVARIANT: NTLMv1 and LM responses are never computed; a challenge that does not agree to
 * Unicode, signing, sealing, extended session security, 128 bits and key exchange is refused before any response.
 * Throws WireError on a malformed challenge, CredSspError ERR_CREDSSP_WEAK_NEGOTIATION on a weak one.
 */
export class NtlmClient implements MechanismContext {
  readonly #options: NtlmClientOptions
  #negotiateMessage: Uint8Array | undefined
  #sending: NtlmHandle | undefined
  #receiving: NtlmHandle | undefined

  constructor(options: NtlmClientOptions) {
    this.#options = options
  }

  get established(): boolean {
    return this.#sending !== undefined
  }

  initiate(): Uint8Array {
    this.#negotiateMessage = encodeNegotiateMessage(OFFERED_FLAGS)
    return this.#negotiateMessage
  }

  respond(token: Uint8Array): Uint8Array {
    const negotiateMessage = this.#negotiateMessage
    if (negotiateMessage === undefined || this.established) {
      throw new CredSspError('ERR_CREDSSP_UNEXPECTED_MESSAGE', 'challenge comes out of turn')
    }
    const challenge = decodeChallengeMessage(token)
    const serverPairs = acceptableTargetInfo(challenge)
    const timestamp = timestampOf(serverPairs)
    const mic = timestamp !== undefined
    const { exportedSessionKey, message } = this.#authenticate(challenge, serverPairs, timestamp)
    try {
      if (mic) writeMic(message, hmacMd5(exportedSessionKey, negotiateMessage, token, message))
      this.#sending = new NtlmHandle(exportedSessionKey, 'client-to-server')
      this.#receiving = new NtlmHandle(exportedSessionKey, 'server-to-client')
      return message
    } finally {
      exportedSessionKey.fill(0)
    }
  }

  seal(plaintext: Uint8Array): Uint8Array {
    return this.#handle(this.#sending).seal(plaintext)
  }

  unseal(sealed: Uint8Array): Uint8Array {
    return this.#handle(this.#receiving).unseal(sealed)
  }

  getMechListMic(mechList: Uint8Array): Uint8Array {
    return this.#handle(this.#sending).getMechListMic(mechList)
  }

  verifyMechListMic(mechList: Uint8Array, mic: Uint8Array): void {
    this.#handle(this.#receiving).verifyMechListMic(mechList, mic)
  }

  finish(token: Uint8Array | undefined): void {
    if (token !== undefined) {
      throw new CredSspError('ERR_CREDSSP_UNEXPECTED_MESSAGE', 'server sent a token after the authenticate message')
    }
  }

  destroy(): void {
    this.#sending?.destroy()
    this.#receiving?.destroy()
  }

  /** The AUTHENTICATE_MESSAGE, its MIC still zero, and the key that the caller zeroes. */
  #authenticate(challenge: ChallengeMessage, serverPairs: readonly AvPair[], timestamp: bigint | undefined) {
    const { username, domain, password, workstation, targetName, channelBindings, random, nowFileTime } = this.#options
    const mic = timestamp !== undefined
    const responseKeyNt = ntowfv2(password, username, domain)
    const response = computeNtlmV2Response({
      responseKeyNt,
      serverChallenge: challenge.serverChallenge,
      clientChallenge: random(8),
      time: timestamp ?? nowFileTime,
      targetInfo: encodeAvPairs(addClientAvPairs(serverPairs, { mic, targetName, channelBindings })),
    })
    responseKeyNt.fill(0)
    const exportedSessionKey = Uint8Array.from(random(16))
    const message = encodeAuthenticateMessage({
      negotiateFlags: challenge.negotiateFlags & OFFERED_FLAGS,
      domainName: utf16le(domain),
      userName: utf16le(username),
      workstation: utf16le(workstation),
      // With a timestamp the server can verify NTLMv2, and the weaker LMv2 response stays out ([MS-NLMP] §3.1.5.1.2).
      lmChallengeResponse: mic ? new Uint8Array(24) : response.lmChallengeResponse,
      ntChallengeResponse: response.ntChallengeResponse,
      encryptedRandomSessionKey: encryptSessionKey(response.sessionBaseKey, exportedSessionKey),
      version: NTLM_VERSION,
      mic,
    })
    response.sessionBaseKey.fill(0)
    return { exportedSessionKey, message }
  }

  #handle(handle: NtlmHandle | undefined): NtlmHandle {
    if (handle === undefined) throw new TypeError('session keys do not exist yet')
    return handle
  }
}

/** The server's AV_PAIRs, if its challenge permits strong NTLMv2. */
function acceptableTargetInfo(challenge: ChallengeMessage): readonly AvPair[] {
  if ((challenge.negotiateFlags & REQUIRED_FLAGS) !== REQUIRED_FLAGS) {
    throw new CredSspError('ERR_CREDSSP_WEAK_NEGOTIATION', 'server does not agree to 128 bit NTLMv2 session security')
  }
  const pairs = decodeAvPairs(challenge.targetInfo)
  // [MS-NLMP] §3.1.5.1.2: without both names a client that wants integrity gives up.
  for (const id of [AV_ID.MsvAvNbComputerName, AV_ID.MsvAvNbDomainName]) {
    if (!pairs.some(pair => pair.id === id)) {
      throw new CredSspError('ERR_CREDSSP_WEAK_NEGOTIATION', 'server does not name itself in its challenge')
    }
  }
  return pairs
}
