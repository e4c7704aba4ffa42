import { acceptCandidates, Candidate, type CandidateDecision } from '@rap/candidate-metadata'
import type { RuntimeTransport } from '@rap/data-plane-protocol'
import { Value } from '@sinclair/typebox/value'
import { RapError } from './errors.ts'
import { type Authorities, type DataSocket, type OpenSocket, SocketOpenError } from './platform/types.ts'
import type { Trace } from './trace.ts'
import type { TraceStep } from './trace-step.ts'

export type PathName = 'direct' | 'gateway'
/** `auto` is direct first, then the gateway; the other two are for a person who looks for a fault. */
export type PathChoice = 'auto' | PathName
export type Environment = 'production' | 'prod' | 'development' | 'smoke' | 'test'
/** Which authorities may vouch for a candidate. */
export type TrustScope = 'default' | 'system' | 'platform_ca_only' | 'insecure_smoke'

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
      detail: trace.explain().slice(0, 2000),
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

/** A worker that says `platform_ca` must chain to the platform CA, one that says `public_ca` to an authority of the system. */
function trustScopeOf({ candidate, allowInsecureTls }: CandidateDecision): TrustScope {
  if (allowInsecureTls) return 'insecure_smoke'
  if (pathOf(candidate) === 'gateway') return 'default'
  const scopes = { platform_ca: 'platform_ca_only', public_ca: 'system', smoke_insecure: 'default' } as const
  return scopes[candidate.metadata.tls_trust_mode ?? 'smoke_insecure']
}

export function placeOf(candidate: Candidate): Pick<TraceStep, 'candidate' | 'url'> {
  return { candidate: candidate.type, url: candidate.url }
}

export interface DialOptions {
  readonly openSocket: OpenSocket
  /** Answers undefined, with the reason in the trace, where a candidate may not be dialled. */
  readonly authoritiesFor: (
    usable: UsableCandidate,
    options: { trace: Trace; signal: AbortSignal | undefined },
  ) => Promise<Authorities | undefined>
  readonly timeoutMs: number
  readonly maxMessageBytes: number
  readonly sendsFiles?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** An open socket, and how its certificate was looked at. */
export interface Dialled {
  readonly socket: DataSocket
  /** For the trace. */
  readonly opened: Pick<TraceStep, 'reason' | 'bundle'>
}

/** Opens one candidate's socket. Answers undefined, with the reason in the trace, where trust, TLS or the network fails. */
export async function dial(usable: UsableCandidate, options: DialOptions, trace: Trace): Promise<Dialled | undefined> {
  const { openSocket, authoritiesFor, timeoutMs, maxMessageBytes, sendsFiles, signal } = options
  const { candidate } = usable
  const authorities = await authoritiesFor(usable, { trace, signal })
  if (authorities === undefined) return undefined
  try {
    const socket = await openSocket(candidate.url, { timeoutMs, maxMessageBytes, authorities, sendsFiles, signal })
    const bundle = authorities.kind === 'only' ? authorities.bundle : undefined
    return {
      socket,
      opened: {
        reason: authorities.kind === 'unchecked' ? 'certificate_not_checked' : 'ok',
        ...(bundle !== undefined && { bundle }),
      },
    }
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
    const dialled = await dial(entry, options, trace)
    if (dialled === undefined) continue
    trace.add({ ...placeOf(entry.candidate), event: 'probed', ...dialled.opened })
    dialled.socket.close(1000)
    return chosen(entry, 'preferred', trace)
  }
  throw new RapPathError('ERR_NO_PATH', 'no candidate can be reached', trace)
}

function chosen(entry: UsableCandidate, reason: string, trace: Trace): UsableCandidate {
  trace.add({ ...placeOf(entry.candidate), event: 'chosen', reason })
  return entry
}
