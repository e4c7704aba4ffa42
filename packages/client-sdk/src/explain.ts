import type { TraceStep } from './trace-step.ts'

type Who = 'worker' | 'gateway'

/** What a certificate was refused for, by OpenSSL's and Node's codes. */
const TLS_WORDS: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is of an authority that does not count here',
  UNABLE_TO_GET_ISSUER_CERT: 'its certificate is of an authority that does not count here',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is of an authority that does not count here',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is of an authority that does not count here',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is signed by itself',
  CERT_HAS_EXPIRED: 'its certificate has ended',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet',
  CERT_SIGNATURE_FAILURE: 'the signature of its certificate is wrong',
  CERT_REVOKED: 'its certificate was revoked',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name',
  HOSTNAME_MISMATCH: 'its certificate is for another name',
  INVALID_PURPOSE: 'its certificate is not for a server',
  INVALID_CA: 'a certificate of its chain may not issue others',
  PATH_LENGTH_EXCEEDED: 'the chain of its certificate is longer than an authority allows',
}

/** Why a TLS connection was refused; undefined where the platform does not tell, as in a browser. */
export function tlsWords(systemCode: string | undefined): string | undefined {
  if (systemCode === undefined) return undefined
  return Object.hasOwn(TLS_WORDS, systemCode) ? TLS_WORDS[systemCode] : 'no trusted TLS connection came about'
}

type Clause = (who: Who, step: TraceStep) => string

/** Why a candidate was passed over. */
const SKIPPED: Readonly<Record<string, Clause>> = {
  malformed: () => 'a way was offered that this client does not know',
  not_traffic_ready: who => `the ${who} does not carry desktops yet`,
  transport_not_offered: who => `the ${who} does not offer the transport that was asked for`,
  insecure_url: who => `the address of the ${who} is not a secure one`,
  smoke_only_in_production: () => 'the worker is for smoke tests only, and here the rules of production hold',
  no_trust_metadata: () => 'the worker does not say how it is trusted, which production asks for',
  not_production_trusted: () => 'the worker is not trusted for production',
  other_path_wanted: who => `the way over the ${who} was not asked for`,
  trust_bundle_unavailable: (_, { bundle }) =>
    bundle === undefined
      ? 'the worker does not name the trust bundle that it chains to'
      : `the trust bundle ${bundle}, which the worker chains to, is not held here and could not be fetched`,
  trust_bundle_unverified: (_, { bundle }) =>
    `the trust bundle ${bundle}, which the worker chains to, is not signed by one that is held here`,
}

/** Why a candidate that was tried did not lead on. */
const FAILED: Readonly<Record<string, Clause>> = {
  tls: (who, { detail }) => `the ${who} was reached, but ${detail ?? 'its certificate is not trusted here'}`,
  network: (who, { system_code }) =>
    system_code === undefined
      ? `the ${who} could not be reached, or its certificate is not trusted here`
      : `the ${who} could not be reached (${system_code})`,
  timeout: who => `the ${who} did not answer in time`,
  upgrade_refused: (who, { system_code }) => `the ${who} refused the connection (HTTP ${system_code ?? 'error'})`,
  aborted: () => 'the attempt was given up',
}

/** The path that was taken; undefined where none was, or none yet. */
export function outcomeOf(steps: readonly TraceStep[]): 'direct' | 'gateway' | undefined {
  const last = steps.findLast(({ event }) => event === 'bound' || event === 'chosen')
  if (last === undefined) return undefined
  return last.candidate === 'direct_worker_wss' ? 'direct' : 'gateway'
}

/** One or two sentences: which way was taken, and why not the better one. */
export function explainSteps(steps: readonly TraceStep[]): string {
  const outcome = outcomeOf(steps)
  const direct = clausesOf(steps, 'direct_worker_wss')
  const unknown = clausesOf(steps, 'unknown')
  if (outcome === 'direct') return `The direct way to the worker was taken: ${trustOf(steps)}.`
  const other = clausesOf(steps, 'backend_gateway')
  if (outcome === 'gateway') {
    const why = [...direct, ...unknown]
    return `The gateway was taken because ${why.length === 0 ? 'no direct way was offered' : why.join('; ')}.`
  }
  const all = [...direct, ...other, ...unknown]
  return `No way to the desktop was found: ${all.length === 0 ? 'none was offered' : all.join('; ')}.`
}

function trustOf(steps: readonly TraceStep[]): string {
  const used = steps.findLast(({ event }) => event === 'opened' || event === 'probed')
  if (used?.reason === 'certificate_not_checked') return 'its certificate was not checked, as smoke tests may'
  if (used?.bundle !== undefined) return `its certificate is of ${used.bundle}`
  return 'its certificate is trusted here'
}

/** What became of each candidate of a kind in the end, each reason once. */
function clausesOf(steps: readonly TraceStep[], candidate: TraceStep['candidate']): string[] {
  const ends = steps.filter(
    step => step.candidate === candidate && (step.event === 'skipped' || step.event === 'failed'),
  )
  const last = new Map(ends.map((step, index) => [candidate === 'unknown' ? index : step.url, step]))
  const who = candidate === 'backend_gateway' ? 'gateway' : 'worker'
  return [...new Set([...last.values()].map(step => clauseOf(who, step)))]
}

function clauseOf(who: Who, step: TraceStep): string {
  const words = step.event === 'skipped' ? SKIPPED : FAILED
  const clause = Object.hasOwn(words, step.reason) ? words[step.reason] : undefined
  return clause?.(who, step) ?? `the ${who} gave ${step.reason}`
}

/** Reasons that have words, for the guide. */
export const EXPLAINED = { skipped: Object.keys(SKIPPED), failed: Object.keys(FAILED) } as const
