import { randomBytes } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { PROTOCOL, WireError } from '@rap/rdp'
import {
  CredSspClient,
  CredSspError,
  decodeEarlyUserAuthorizationResult,
  EARLY_USER_AUTHORIZATION_RESULT_BYTES,
  ntStatusReason,
  subjectPublicKeyOf,
  tlsServerEndPointOf,
} from '@rap/rdp/credssp'
import { codeOfCredSsp, TargetFailure } from './failure.ts'
import { FrameReader } from './frame-reader.ts'

/** 100 ns units between 1601 and 1970 (MS-DTYP 2.3.3). */
const FILETIME_EPOCH = 116_444_736_000_000_000n

/** First byte of a TSRequest: a DER SEQUENCE (MS-CSSP 2.2.1). */
const TS_REQUEST_TAG = 0x30

/** The account as the logon needs it. */
export interface LogonCredentials {
  readonly username: string
  readonly domain: string
  /** UTF-16LE; the caller zeroes it. */
  readonly password: Buffer
}

/**
 * Network Level Authentication on a verified TLS connection: CredSSP (MS-CSSP 3.1.5), and for HYBRID_EX the early user authorization result
 * (MS-RDPBCGR 2.2.10.2). Throws TargetFailure.
 *
 * A target may refuse the delegated password after the last message of the worker: `refusalOf` reads that from what it sends then.
 */
export async function logonToTarget(
  secure: TLSSocket,
  options: {
    readonly host: string
    readonly credentials: LogonCredentials
    readonly selectedProtocol: number
    /** Lowest CredSSP version that the target may speak. */
    readonly minimumVersion: number
    readonly signal: AbortSignal
  },
): Promise<{ readonly refusalOf: (bytes: Uint8Array) => TargetFailure }> {
  const { host, credentials, selectedProtocol, minimumVersion, signal } = options
  const certificate = secure.getPeerCertificate().raw
  const channelBindings = tlsServerEndPointOf(certificate)
  const client = new CredSspClient({
    ...credentials,
    serverPublicKey: subjectPublicKeyOf(certificate),
    ...(channelBindings && { channelBindings }),
    targetName: `TERMSRV/${host}`,
    workstation: 'RAP',
    minimumVersion,
    random: randomBytes,
    nowFileTime: BigInt(Date.now()) * 10_000n + FILETIME_EPOCH,
  })
  const reader = new FrameReader(secure, signal)
  try {
    secure.write(client.start())
    while (!client.done) {
      const { send } = client.step(await reader.next(buffered => client.frameSize(buffered)))
      for (const message of send) secure.write(message)
    }
    if (selectedProtocol === PROTOCOL.HYBRID_EX) await readEarlyUserAuthorization(reader, client)
    const refusalOf = (bytes: Uint8Array): TargetFailure => refusalAfterLogon(client, bytes)
    // What comes before MCS Connect Initial is an answer to the password, and never a good one.
    if (reader.rest().length > 0) throw refusalOf(reader.rest())
    return { refusalOf }
  } catch (error) {
    const failure = logonFailure(error, client)
    client.destroy()
    throw failure
  }
}

/** Why a target without a CredSSP answer is refused that speaks first: in RDP the client does (MS-RDPBCGR 1.3.1.1). */
export function spokeTooSoon(): TargetFailure {
  return new TargetFailure('ERR_TARGET_PROTOCOL', { step: 'before_connect_initial' })
}

function refusalAfterLogon(client: CredSspClient, bytes: Uint8Array): TargetFailure {
  try {
    const size = client.frameSize(bytes)
    if (size !== undefined && size <= bytes.length) client.step(bytes.subarray(0, size))
  } catch (error) {
    if (error instanceof CredSspError && error.ntStatus !== undefined) return credSspFailure(error)
  }
  return spokeTooSoon()
}

async function readEarlyUserAuthorization(reader: FrameReader, client: CredSspClient): Promise<void> {
  const answer = await reader.next(buffered => {
    // In its place may be a TSRequest that refuses the password; a result begins with 0 or 5.
    if (buffered[0] === TS_REQUEST_TAG) return client.frameSize(buffered)
    return buffered.length < EARLY_USER_AUTHORIZATION_RESULT_BYTES ? undefined : EARLY_USER_AUTHORIZATION_RESULT_BYTES
  })
  if (answer[0] === TS_REQUEST_TAG) throw refusalAfterLogon(client, answer)
  if (decodeEarlyUserAuthorizationResult(answer) !== 'success') throw new TargetFailure('ERR_TARGET_ACCESS_DENIED')
}

function logonFailure(error: unknown, client: CredSspClient): unknown {
  if (error instanceof WireError)
    return new TargetFailure('ERR_TARGET_CREDSSP', { structure: error.facts.structure }, { cause: error })
  if (error instanceof CredSspError) return credSspFailure(error)
  // A server may say that the password is wrong only by closing.
  if (error instanceof TargetFailure && error.code === 'ERR_TARGET_CLOSED' && client.state !== 'done') {
    return credSspFailure(client.peerClosed())
  }
  return error
}

function credSspFailure(error: CredSspError): TargetFailure {
  const { ntStatus } = error
  if (ntStatus !== undefined) {
    const { code, title, remedy } = ntStatusReason(ntStatus)
    const words = {
      code: codeOfCredSsp(code),
      title,
      detail: `The desktop answered the logon with NTSTATUS 0x${ntStatus.toString(16).padStart(8, '0')}.`,
      remedy,
    }
    return new TargetFailure('ERR_TARGET_LOGON_FAILED', { nt_status: ntStatus }, { cause: error, words })
  }
  switch (error.code) {
    case 'ERR_CREDSSP_LOGON_FAILED':
      return new TargetFailure('ERR_TARGET_LOGON_FAILED', {}, { cause: error })
    case 'ERR_CREDSSP_PUBLIC_KEY_MISMATCH':
      return new TargetFailure('ERR_TARGET_PUBLIC_KEY_MISMATCH', {}, { cause: error })
    case 'ERR_CREDSSP_VERSION':
      return new TargetFailure('ERR_TARGET_CREDSSP_VERSION', {}, { cause: error })
    case 'ERR_CREDSSP_PEER_CLOSED':
      return new TargetFailure('ERR_TARGET_CLOSED', { step: 'credssp' }, { cause: error })
    default:
      return new TargetFailure('ERR_TARGET_CREDSSP', { credssp_code: error.code }, { cause: error })
  }
}
