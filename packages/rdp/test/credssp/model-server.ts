import { createHash } from 'node:crypto'
import { AV_ID, type AvPair, decodeAvPairs, encodeAvPairs } from '../../src/credssp/av-pairs.ts'
import { hmacMd5, ntowfv2, utf16le } from '../../src/credssp/ntlm-crypto.ts'
import { NtlmHandle } from '../../src/credssp/ntlm-session.ts'
import { rc4Once } from '../../src/credssp/rc4.ts'
import {
  decodeNegTokenResp,
  encodeMechTypeList,
  encodeNegTokenResp,
  MECHANISM,
  NEG_STATE,
  type NegTokenResp,
} from '../../src/credssp/spnego.ts'
import { decodeTsRequest, encodeTsRequest, type TsRequest } from '../../src/credssp/ts-request.ts'
import { DerReader } from '../../src/der.ts'
import { hex, PASSWORD, SERVER_PUBLIC_KEY, utf16 } from './helper.ts'

/** Flags of a Windows Server 2022 challenge, NEGOTIATE_56 left out. */
export const SERVER_FLAGS = 0x62898235
export const SERVER_TIMESTAMP = 0x01d61e99889281f8n

/** What a test may change; without changes the model is an honest server. */
export interface Mischief {
  readonly version: number
  readonly negotiation: 'ntlm' | 'spnego'
  readonly flags: number
  readonly avPairs: readonly AvPair[]
  readonly password: Uint8Array
  readonly publicKey: Uint8Array
  /** Changes the answer to message 1, 2 or 3 of the client before it is sent. */
  readonly answer: (answer: TsRequest, message: number, request: TsRequest) => TsRequest
  /** Changes the plaintext of the server's pubKeyAuth. */
  readonly proof: (honest: Uint8Array, nonce: Uint8Array | undefined) => Uint8Array
  readonly finalToken: (token: NegTokenResp) => NegTokenResp
}

export interface SeenAuthenticate {
  readonly userName: string
  readonly domainName: string
  readonly workstation: string
  readonly flags: number
  readonly lmResponse: Uint8Array
  readonly ntResponse: Uint8Array
  readonly avPairs: readonly AvPair[]
  readonly hasMic: boolean
}

const STATUS_LOGON_FAILURE = 0xc000006d
const MECH_TYPES = encodeMechTypeList([MECHANISM.NTLMSSP])
const SERVER_CHALLENGE = hex('0123456789abcdef')

export function timestampPair(time = SERVER_TIMESTAMP): AvPair {
  const value = new Uint8Array(8)
  new DataView(value.buffer).setBigUint64(0, time, true)
  return { id: AV_ID.MsvAvTimestamp, value }
}

export const SERVER_AV_PAIRS: readonly AvPair[] = [
  { id: AV_ID.MsvAvNbDomainName, value: utf16('CORP') },
  { id: AV_ID.MsvAvNbComputerName, value: utf16('HOST') },
  { id: AV_ID.MsvAvDnsDomainName, value: utf16('corp.example') },
  { id: AV_ID.MsvAvDnsComputerName, value: utf16('host.corp.example') },
  timestampPair(),
]

/** The server side of CredSSP with NTLMv2, as far as tests need it: it checks all that a server checks. */
export class ModelServer {
  readonly mischief: Mischief
  /** Set once a client has delegated. */
  credentials: { readonly domain: string; readonly username: string; readonly password: Uint8Array } | undefined
  authenticate: SeenAuthenticate | undefined
  #message = 0
  #negotiateMessage = new Uint8Array(0)
  #challengeMessage = new Uint8Array(0)
  #receiving: NtlmHandle | undefined
  #clientVersion: number | undefined

  constructor(mischief: Partial<Mischief> = {}) {
    this.mischief = {
      version: 6,
      negotiation: 'ntlm',
      flags: SERVER_FLAGS,
      avPairs: SERVER_AV_PAIRS,
      password: utf16(PASSWORD),
      publicKey: SERVER_PUBLIC_KEY,
      answer: answer => answer,
      proof: honest => honest,
      finalToken: token => token,
      ...mischief,
    }
  }

  /** The server's answer to one TSRequest, or undefined at the end. Throws when the client breaks the protocol. */
  receive(frame: Uint8Array): Uint8Array | undefined {
    const request = decodeTsRequest(frame)
    this.#clientVersion ??= request.version
    if (request.version !== this.#clientVersion) throw new Error('client changed its version')
    this.#message++
    const answer = this.#answer(request)
    if (answer === undefined) return undefined
    const { version } = this.mischief
    return encodeTsRequest(this.mischief.answer({ version, ...answer }, this.#message, request))
  }

  #answer(request: TsRequest): Omit<TsRequest, 'version'> | undefined {
    if (this.#message === 1) return { negoToken: this.#challenge(request) }
    if (this.#message === 2) return this.#verify(request)
    this.#takeCredentials(request)
    return undefined
  }

  #challenge({ negoToken }: TsRequest): Uint8Array {
    this.#negotiateMessage = Uint8Array.from(this.#unwrapInit(present(negoToken)))
    const targetName = utf16le('CORP')
    const targetInfo = encodeAvPairs(this.mischief.avPairs)
    const header = Buffer.alloc(56)
    header.write('NTLMSSP\0', 'latin1')
    header.writeUInt32LE(2, 8)
    header.writeUInt16LE(targetName.length, 12)
    header.writeUInt16LE(targetName.length, 14)
    header.writeUInt32LE(56, 16)
    header.writeUInt32LE(this.mischief.flags >>> 0, 20)
    header.set(SERVER_CHALLENGE, 24)
    header.writeUInt16LE(targetInfo.length, 40)
    header.writeUInt16LE(targetInfo.length, 42)
    header.writeUInt32LE(56 + targetName.length, 44)
    header.set(hex('0a007c4f0000000f'), 48)
    this.#challengeMessage = Uint8Array.from(Buffer.concat([header, targetName, targetInfo]))
    if (this.mischief.negotiation === 'ntlm') return this.#challengeMessage
    return encodeNegTokenResp({
      negState: NEG_STATE.ACCEPT_INCOMPLETE,
      supportedMech: MECHANISM.NTLMSSP,
      responseToken: this.#challengeMessage,
    })
  }

  #unwrapInit(token: Uint8Array): Uint8Array {
    if (this.mischief.negotiation === 'ntlm') return token
    const initial = new DerReader(token, 'InitialContextToken').constructed(0x60, 'InitialContextToken')
    if (initial.oid('thisMech') !== MECHANISM.SPNEGO) throw new Error('not SPNEGO')
    const init = initial.explicit(0, 'negTokenInit').sequence('negTokenInit')
    if (init.explicit(0, 'mechTypes').sequence('mechTypes').oid('mech') !== MECHANISM.NTLMSSP) throw new Error('mech')
    return init.explicit(2, 'mechToken').octetString('mechToken')
  }

  #verify(request: TsRequest): Omit<TsRequest, 'version'> {
    let token = present(request.negoToken)
    let clientMic: Uint8Array | undefined
    if (this.mischief.negotiation === 'spnego') {
      const response = decodeNegTokenResp(token)
      token = present(response.responseToken)
      clientMic = present(response.mechListMic)
    }
    const exportedSessionKey = this.#authenticate(token)
    if (exportedSessionKey === undefined) return { errorCode: STATUS_LOGON_FAILURE }
    this.#receiving = new NtlmHandle(exportedSessionKey, 'client-to-server')
    const sending = new NtlmHandle(exportedSessionKey, 'server-to-client')
    let negoToken: Uint8Array | undefined
    if (clientMic !== undefined) {
      this.#receiving.verifyMechListMic(MECH_TYPES, clientMic)
      const mechListMic = sending.getMechListMic(MECH_TYPES)
      negoToken = encodeNegTokenResp(this.mischief.finalToken({ negState: NEG_STATE.ACCEPT_COMPLETED, mechListMic }))
    }
    const proof = this.#receiving.unseal(present(request.pubKeyAuth))
    if (!Buffer.from(this.#proof('Client-To-Server', request.clientNonce)).equals(proof)) {
      throw new Error('public key of the client does not match')
    }
    const honest = this.#proof('Server-To-Client', request.clientNonce)
    const pubKeyAuth = sending.seal(this.mischief.proof(honest, request.clientNonce))
    return { ...(negoToken && { negoToken }), pubKeyAuth }
  }

  /** The exported session key, or undefined for a wrong password. */
  #authenticate(message: Uint8Array): Uint8Array | undefined {
    const buffer = Buffer.from(message)
    const field = (at: number) => {
      const offset = buffer.readUInt32LE(at + 4)
      return buffer.subarray(offset, offset + buffer.readUInt16LE(at))
    }
    const [lmResponse, ntResponse] = [field(12), field(20)]
    const domainName = field(28).toString('utf16le')
    const userName = field(36).toString('utf16le')
    const avPairs = decodeAvPairs(ntResponse.subarray(44, ntResponse.length - 4))
    const hasMic = ((avPairs.find(pair => pair.id === AV_ID.MsvAvFlags)?.value[0] ?? 0) & 2) !== 0
    const workstation = field(44).toString('utf16le')
    const flags = buffer.readUInt32LE(60)
    this.authenticate = { userName, domainName, workstation, flags, lmResponse, ntResponse, avPairs, hasMic }
    const responseKey = ntowfv2(this.mischief.password, userName, domainName)
    const proof = hmacMd5(responseKey, SERVER_CHALLENGE, ntResponse.subarray(16))
    if (!Buffer.from(proof).equals(ntResponse.subarray(0, 16))) return undefined
    const exportedSessionKey = rc4Once(hmacMd5(responseKey, proof), field(52))
    if (hasMic) {
      const withoutMic = Buffer.from(message)
      withoutMic.fill(0, 72, 88)
      const mic = hmacMd5(exportedSessionKey, this.#negotiateMessage, this.#challengeMessage, withoutMic)
      if (!Buffer.from(mic).equals(buffer.subarray(72, 88))) throw new Error('MIC does not verify')
    }
    return exportedSessionKey
  }

  #proof(direction: 'Client-To-Server' | 'Server-To-Client', nonce: Uint8Array | undefined): Uint8Array {
    const { publicKey, version } = this.mischief
    if (Math.min(version, this.#clientVersion ?? 0) >= 5) {
      const magic = Buffer.from(`CredSSP ${direction} Binding Hash\0`)
      return createHash('sha256').update(magic).update(present(nonce)).update(publicKey).digest()
    }
    if (nonce !== undefined) throw new Error('nonce before version 5')
    const proof = Uint8Array.from(publicKey)
    if (direction === 'Server-To-Client') proof[0] = (proof[0] ?? 0) + 1
    return proof
  }

  #takeCredentials({ authInfo }: TsRequest): void {
    const reader = new DerReader(present(this.#receiving).unseal(present(authInfo)), 'TSCredentials')
    const fields = reader.sequence('TSCredentials')
    if (fields.explicit(0, 'credType').integer('credType', 0, 9) !== 1) throw new Error('credType')
    const inner = new DerReader(fields.explicit(1, 'credentials').octetString('credentials'), 'TSPasswordCreds')
    const creds = inner.sequence('TSPasswordCreds')
    const [domain, username, password] = [0, 1, 2].map(tag => creds.explicit(tag, 'field').octetString('field'))
    const text = (bytes: Uint8Array | undefined) => Buffer.from(present(bytes)).toString('utf16le')
    this.credentials = { domain: text(domain), username: text(username), password: present(password) }
  }
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('client left a field out')
  return value
}
