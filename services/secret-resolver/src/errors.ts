import { KeyProviderError } from '@rap/key-provider'
import { commonProblems, defineProblems, type ProblemError } from '@rap/service-kit'
import { SealError, type SealRule } from './sealing/sealed-secret.ts'
import { PayloadError } from './secrets/payload.ts'

/** The problems of this service, beside the common ones of service-kit. */
export const problems = defineProblems({
  ERR_RESOURCE_NOT_FOUND: { status: 404, title: 'The organization has no such resource' },
  ERR_SECRET_NOT_FOUND: { status: 404, title: 'The resource has no secret' },
  ERR_SECRET_VERSION_NOT_FOUND: {
    status: 404,
    title: 'The secret has no such older version',
    detail: 'It never was, it is in force now, or its time for a rollback is over.',
  },
  ERR_SECRET_UNREADABLE: { status: 409, title: 'The stored version does not open' },
  ERR_SECRET_VERSION_CONFLICT: { status: 409, title: 'The secret has another version than expected' },
  ERR_SECRET_PAYLOAD_INVALID: { status: 422, title: 'The sealed payload is not a secret of version 1' },
  ERR_SEALED_SECRET_INVALID: { status: 422, title: 'The sealed secret does not open' },
  ERR_SEALED_SECRET_MISDIRECTED: { status: 422, title: 'The sealed secret is meant for another resource' },
  ERR_SEALING_KEY_UNKNOWN: {
    status: 422,
    title: 'The secret is sealed to a key that is not in use',
    detail: 'Fetch the sealing key again and seal the payload to it.',
  },
  ERR_MASTER_KEY_NONE_ACTIVE: { status: 503, title: 'No master key is active' },
  ERR_MASTER_KEY_UNKNOWN: { status: 404, title: 'There is no such master key' },
  ERR_MASTER_KEY_SOURCE_UNKNOWN: {
    status: 404,
    title: 'No key source of this name is configured',
    detail: 'Add it to SECRET_KEY_PROVIDERS_FILE; running resolvers read the file again within seconds.',
  },
  ERR_MASTER_KEY_ALREADY_ACTIVE: {
    status: 409,
    title: 'The key is active already',
    detail: 'This source is one key. Configure a source with a new key, and rotate to that one.',
  },
  ERR_MASTER_KEY_NOT_EVERYWHERE: {
    status: 409,
    title: 'A running resolver does not have the key',
    detail: 'Configure the key source for every resolver first; one without it could not open what the key wraps.',
  },
  ERR_MASTER_KEY_RETIRED: { status: 409, title: 'The key is retired', detail: 'Its name is not used again.' },
  ERR_MASTER_KEY_ACTIVE: {
    status: 409,
    title: 'The active key cannot be retired',
    detail: 'Rotate to another key, and re-wrap, first.',
  },
  ERR_MASTER_KEY_IN_USE: {
    status: 409,
    title: 'Stored rows are still wrapped with this key',
    detail: 'Re-wrap first.',
  },
  ERR_MASTER_KEY_CHANGED: {
    status: 409,
    title: 'Another master key became active meanwhile',
    detail: 'What was done stays done. Start the re-wrap again.',
  },
  ERR_MASTER_KEY_PROVIDER: { status: 502, title: 'The place of the master key refuses or does not answer' },
  ERR_REWRAP_RUNNING: { status: 409, title: 'A re-wrap is running already' },
  ERR_REWRAP_UNKNOWN: { status: 404, title: 'There is no such re-wrap' },
  // One shape for every refusal: a worker without the right learns nothing from it. The reason is in audit and log.
  ERR_RESOLVE_DENIED: { status: 403, title: 'The secret is not resolved' },
})

const CODE_OF_SEAL_RULE = {
  too_large: 'ERR_SEALED_SECRET_INVALID',
  malformed: 'ERR_SEALED_SECRET_INVALID',
  header: 'ERR_SEALED_SECRET_INVALID',
  does_not_open: 'ERR_SEALED_SECRET_INVALID',
  misdirected: 'ERR_SEALED_SECRET_MISDIRECTED',
  unknown_key: 'ERR_SEALING_KEY_UNKNOWN',
} as const satisfies Record<SealRule, keyof typeof problems>

/**
 * A refused secret as a problem that names the rule, and writes `resource_secret_write_refused` into the audit.
 * Undefined for everything else.
 */
export function problemOfRefusedSecret(error: unknown): ProblemError | undefined {
  if (error instanceof SealError) {
    const { rule } = error
    const code = CODE_OF_SEAL_RULE[rule]
    return problems[code]({ extras: { rule }, facts: { rule }, audit: refusal(code, rule) })
  }
  if (error instanceof PayloadError) {
    const { rule, field, code } = error
    const facts = { rule, ...(field !== undefined && { field }) }
    return problems.ERR_SECRET_PAYLOAD_INVALID({ extras: facts, facts, audit: refusal(code, rule) })
  }
  return undefined
}

function refusal(code: string, reason: string) {
  return { event: 'resource_secret_write_refused', outcome: 'refused', code, details: { reason } } as const
}

/** A key provider that cannot do its part now, as ERR_UPSTREAM_UNAVAILABLE: what it says of itself is for the log. */
export function problemOfKeyProvider(error: unknown): ProblemError | undefined {
  if (!(error instanceof KeyProviderError)) return undefined
  return commonProblems.ERR_UPSTREAM_UNAVAILABLE({
    cause: error,
    facts: { ...error.facts, component: 'key_provider', code: error.code },
  })
}

/** postgres.js' own codes for a server that is not there, and the system's. */
const CONNECTION_CODES = new Set([
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
  'CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ETIMEDOUT',
])

/**
 * SQLSTATE classes and codes that pass: connection (08), resources (53), shutdown and cancel (57), a lock that was not
 * had in time (55P03); and a schema, table, function or right of the control plane's that is not there yet.
 */
const PASSING_SQLSTATE = /^(08|53|57)|^(55P03|42501|42P01|42883|3F000)$/

/** A database that cannot do its part now, as ERR_UPSTREAM_UNAVAILABLE: the caller may try again. Undefined for the rest. */
export function problemOfDatabase(error: unknown): ProblemError | undefined {
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code !== 'string' || !(CONNECTION_CODES.has(code) || PASSING_SQLSTATE.test(code))) return undefined
  return commonProblems.ERR_UPSTREAM_UNAVAILABLE({ cause: error, facts: { component: 'database' } })
}
