import { acceptCandidates, Candidate, type CandidateDecision } from '@rap/candidate-metadata'
import type { RuntimeTransport } from '@rap/data-plane-protocol'
import { Value } from '@sinclair/typebox/value'
import { RapError } from './errors.ts'
import {
  type DataSocket,
  type OpenSocket,
  SocketOpenError,
  type TrustOptions,
  type TrustScope,
} from './platform/types.ts'
import type { Trace, TraceStep } from './trace.ts'

export type PathName = 'direct' | 'gateway'
/** `auto` is direct first, then the gateway; the other two are for a person who looks for a fault. */
export type PathChoice = 'auto' | PathName
export type Environment = 'production' | 'prod' | 'development' | 'smoke'

export interface RankOptions {
  readonly environment: Environment
  readonly runtimeTransport: RuntimeTransport
  readonly path: PathChoice
  readonly allowInsecureDirectDataPlaneTlsForSmoke: boolean
}

/** A candidate that the rules allow, best first. */
export interface UsableCandidate {
  readonly candidate: Candidate
  readonly path: PathName
  readonly trustScope: TrustScope
}

/** No candidate led to the desktop; `trace` says what became of each. */
export class RapPathError extends RapError {
  override readonly name = 'RapPathError'
  readonly trace: Trace

  constructor(code: 'ERR_NO_CANDIDATE' | 'ERR_NO_PATH', message: string, trace: Trace) {
    super(code, message, {
      detail: trace.toString().slice(0, 2000),
      remedy:
        code === 'ERR_NO_CANDIDATE'
          ? 'Ask an administrator for a trusted certificate on the workers, or for a gateway.'
          : 'Check that this machine reaches the worker or the gateway, and that it trusts their certificates.',
    })
    this.trace = trace
  }
}

export function pathOf(candidate: Candidate): PathName {
  return candidate.type === 'direct_worker_wss' ? 'direct' : 'gateway'
}

/**
 * The candidates that this client may use, in the order in which to try them; every one that is passed over is in the trace.
 * Throws RapPathError ERR_NO_CANDIDATE where none is left.
 */
export function rankCandidates(offered: readonly unknown[], options: RankOptions, trace: Trace): UsableCandidate[] {
  const known: Candidate[] = []
  for (const candidate of offered) {
    if (Value.Check(Candidate, candidate)) known.push(Value.Clean(Candidate, Value.Clone(candidate)) as Candidate)
    else trace.add({ candidate: 'unknown', url: '', event: 'skipped', reason: 'malformed' })
  }
  const usable = acceptCandidates(known, options).flatMap(decision => {
    const { candidate } = decision
    const reason = refusalOf(decision, options.path)
    if (reason === undefined) return [{ candidate, path: pathOf(candidate), trustScope: trustScopeOf(decision) }]
    trace.add({ ...placeOf(candidate), event: 'skipped', reason })
    return []
  })
  if (usable.length === 0) throw new RapPathError('ERR_NO_CANDIDATE', 'no candidate may be used', trace)
  return usable
}

function refusalOf(decision: CandidateDecision, wanted: PathChoice): string | undefined {
  if (!decision.accepted) return decision.reason
  return wanted === 'auto' || wanted === pathOf(decision.candidate) ? undefined : 'other_path_wanted'
}

/** A worker that says `platform_ca` must chain to the platform CA: a public authority does not vouch for it. */
function trustScopeOf({ candidate, allowInsecureTls }: CandidateDecision): TrustScope {
  if (allowInsecureTls) return 'insecure_smoke'
  return pathOf(candidate) === 'direct' && candidate.metadata.tls_trust_mode === 'platform_ca'
    ? 'platform_ca_only'
    : 'default'
}

export function placeOf(candidate: Candidate): Pick<TraceStep, 'candidate' | 'url'> {
  return { candidate: candidate.type, url: candidate.url }
}

export interface DialOptions {
  readonly openSocket: OpenSocket
  readonly trust: TrustOptions
  readonly timeoutMs: number
  readonly maxMessageBytes: number
  readonly signal?: AbortSignal | undefined
}

/** Opens one candidate's socket. Answers undefined, with the reason in the trace, where TLS or the network fails. */
export async function dial(
  usable: UsableCandidate,
  options: DialOptions,
  trace: Trace,
): Promise<DataSocket | undefined> {
  const { openSocket, ...rest } = options
  const { candidate, trustScope } = usable
  try {
    return await openSocket(candidate.url, { ...rest, trustScope })
  } catch (cause) {
    if (!(cause instanceof SocketOpenError)) throw cause
    const systemCode = cause.status === undefined ? cause.systemCode : String(cause.status)
    trace.add({
      ...placeOf(candidate),
      event: 'failed',
      reason: cause.status === undefined ? cause.failure : 'upgrade_refused',
      ...(systemCode !== undefined && { system_code: systemCode }),
    })
    if (cause.failure === 'aborted') throw new RapError('ERR_ABORTED', 'connecting was aborted', {}, { cause })
    return undefined
  }
}

/**
 * Chooses a candidate for a client that opens its own WebSocket.
 *
 * A direct worker is probed by opening a WebSocket, without a bind; the last candidate left is taken unprobed when it is
 * a gateway, since there is nothing else to take. Throws RapPathError, RapError ERR_ABORTED.
 */
export async function probeCandidates(
  usable: readonly UsableCandidate[],
  options: DialOptions,
  trace: Trace,
): Promise<UsableCandidate> {
  for (const entry of usable) {
    if (entry.path === 'gateway') return chosen(entry, 'fallback_or_only', trace)
    const socket = await dial(entry, options, trace)
    if (socket === undefined) continue
    trace.add({ ...placeOf(entry.candidate), event: 'probed', reason: 'ok' })
    socket.close(1000)
    return chosen(entry, 'preferred', trace)
  }
  throw new RapPathError('ERR_NO_PATH', 'no candidate can be reached', trace)
}

function chosen(entry: UsableCandidate, reason: string, trace: Trace): UsableCandidate {
  trace.add({ ...placeOf(entry.candidate), event: 'chosen', reason })
  return entry
}
