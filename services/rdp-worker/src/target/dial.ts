import { lookup } from 'node:dns/promises'
import { connect, isIP, type Socket } from 'node:net'
import type { TargetAddress, TargetPolicy } from './address.ts'
import { TargetFailure } from './failure.ts'

/** Most addresses of one name that are tried. */
const MAX_ADDRESSES = 4
/** Time for one address, in milliseconds: a dead first address leaves time for the second. */
const ATTEMPT_TIMEOUT_MS = 5000

/** Resolves a name to addresses; rejects with the `code` of the name service. */
export type LookupAll = (host: string) => Promise<readonly string[]>

export interface DialOptions {
  readonly signal: AbortSignal
  /** Default: the resolver of the system. */
  readonly lookupAll?: LookupAll | undefined
}

const lookupBySystem: LookupAll = async host =>
  (await lookup(host, { all: true, order: 'verbatim' })).map(({ address }) => address)

/**
 * Opens the TCP connection to a target.
 *
 * The name is resolved once and the checked address is dialled, so that a name which resolves differently the second time (DNS rebinding)
 * gains nothing. One forbidden address among the answers is passed over. Throws TargetFailure.
 */
export async function dialTarget(
  target: TargetAddress,
  policy: TargetPolicy,
  { signal, lookupAll = lookupBySystem }: DialOptions,
): Promise<Socket> {
  const addresses = await resolve(target.host, signal, lookupAll)
  const byName = policy.allowsName(target.host)
  const allowed = addresses.filter(address => policy.allowsAddress(address, byName)).slice(0, MAX_ADDRESSES)
  if (allowed.length === 0) throw new TargetFailure('ERR_TARGET_ADDRESS_NOT_ALLOWED', { addresses: addresses.length })
  let last: unknown
  for (const address of allowed) {
    signal.throwIfAborted()
    try {
      return await dial(address, target.port, signal)
    } catch (error) {
      last = error
    }
  }
  throw last
}

async function resolve(host: string, signal: AbortSignal, lookupAll: LookupAll): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host]
  try {
    // The name service takes no signal; what comes too late is dropped.
    const answers = await raceAbort(lookupAll(host), signal)
    if (answers.length > 0) return answers
  } catch (cause) {
    if (signal.aborted) throw cause
    throw new TargetFailure('ERR_TARGET_DNS', { cause_code: String((cause as NodeJS.ErrnoException).code) })
  }
  throw new TargetFailure('ERR_TARGET_DNS')
}

async function dial(address: string, port: number, signal: AbortSignal): Promise<Socket> {
  const socket = connect({ host: address, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
  // Between two steps nobody waits for the socket; an error then is found by the next step, and must not end the process.
  socket.on('error', () => undefined)
  const limit = AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_TIMEOUT_MS)])
  try {
    await new Promise<void>((resolve, reject) => {
      const done = (settle: () => void): void => {
        limit.removeEventListener('abort', onAbort)
        socket.off('connect', onConnect).off('error', onError)
        settle()
      }
      const onConnect = (): void => done(resolve)
      const onError = (error: Error): void => done(() => reject(tcpFailure(error)))
      const onAbort = (): void =>
        done(() => reject(signal.aborted ? signal.reason : new TargetFailure('ERR_TARGET_TIMEOUT', { step: 'tcp' })))
      limit.addEventListener('abort', onAbort, { once: true })
      socket.once('connect', onConnect).once('error', onError)
    })
    return socket
  } catch (error) {
    socket.destroy()
    throw error
  }
}

const TCP_FAILURES = {
  ECONNREFUSED: 'ERR_TARGET_REFUSED',
  ECONNRESET: 'ERR_TARGET_CLOSED',
  EPIPE: 'ERR_TARGET_CLOSED',
  ETIMEDOUT: 'ERR_TARGET_TIMEOUT',
  EHOSTUNREACH: 'ERR_TARGET_UNREACHABLE',
  ENETUNREACH: 'ERR_TARGET_UNREACHABLE',
  EHOSTDOWN: 'ERR_TARGET_UNREACHABLE',
  EACCES: 'ERR_TARGET_UNREACHABLE',
} as const

/** A system error of the connection as a failure of the target. */
export function tcpFailure(error: NodeJS.ErrnoException): TargetFailure {
  const code = error.code ?? 'unknown'
  const known = Object.hasOwn(TCP_FAILURES, code) ? TCP_FAILURES[code as keyof typeof TCP_FAILURES] : undefined
  return new TargetFailure(known ?? 'ERR_TARGET_UNREACHABLE', { cause_code: code })
}

async function raceAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  return await new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
