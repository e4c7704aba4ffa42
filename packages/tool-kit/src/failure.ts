import { ConfigError, EXIT_CONFIG, ProblemError } from '@rap/service-kit'

export interface Failure {
  readonly exitCode: number
  readonly code: string
  readonly message: string
  /** What to do about it. */
  readonly hints: readonly string[]
  readonly facts: Readonly<Record<string, unknown>>
}

/** What one tool knows of its failures. */
export interface KnownFailures {
  /** What to do about a wrong environment. */
  readonly environmentHint: string
  /** Hints by SQLSTATE, or by the code of any other error. */
  readonly hints: Readonly<Record<string, string>>
  /** Errors whose message and facts are written for people. */
  readonly speaking: readonly (abstract new (
    ...args: never[]
  ) => Error & { code: string; facts: object })[]
}

const AWAY = 'is Postgres running where DATABASE_URL says?'
const COMMON_HINTS: Readonly<Record<string, string>> = {
  '28P01': 'check the password in DATABASE_URL',
  ECONNREFUSED: AWAY,
  ENOTFOUND: AWAY,
}

/** What a person is told about an error, without anything that a provider or the database echoed. */
export function failureOf(error: unknown, { environmentHint, hints, speaking }: KnownFailures): Failure {
  if (error instanceof ConfigError) {
    return { exitCode: EXIT_CONFIG, code: error.code, message: error.message, hints: [environmentHint], facts: {} }
  }
  if (error instanceof ProblemError) {
    const detail = error.detail === undefined ? [] : [error.detail]
    return { exitCode: 1, code: error.code, message: error.title, hints: detail, facts: { ...error.extras } }
  }
  const known = speaking.find(kind => error instanceof kind) && (error as Error & { code: string; facts: object })
  if (known !== undefined) {
    return { exitCode: 1, code: known.code, message: known.message, hints: [], facts: { ...known.facts } }
  }
  const code = String((error as { code?: unknown } | null)?.code ?? 'ERR_INTERNAL')
  const message = error instanceof Error ? error.message : 'unknown error'
  const hint = hints[code] ?? COMMON_HINTS[code]
  return { exitCode: 1, code, message, hints: hint === undefined ? [] : [hint], facts: {} }
}

/** `error:` and `hint:` lines. */
export function failureText({ code, message, hints, facts }: Failure): string {
  const named = Object.entries(facts).map(
    ([name, value]) => `${name}: ${Array.isArray(value) ? value.join(', ') : value}`,
  )
  const lines = [
    `error: ${message} (${code})`,
    ...named.map(fact => `       ${fact}`),
    ...hints.map(hint => `hint:  ${hint}`),
  ]
  return `${lines.join('\n')}\n`
}
