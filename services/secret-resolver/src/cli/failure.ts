import { KeyProviderError } from '@rap/key-provider'
import { ConfigError, EXIT_CONFIG, ProblemError } from '@rap/service-kit'
import { MasterKeyError } from '../master-keys/start-checks.ts'

export interface Failure {
  readonly exitCode: number
  readonly code: string
  readonly message: string
  /** What to do about it. */
  readonly hints: readonly string[]
  readonly facts: Readonly<Record<string, unknown>>
}

/** SQLSTATE and what it means here. */
const DATABASE_HINTS: Readonly<Record<string, string>> = {
  '42P01': 'start the secret-resolver once: it makes its tables',
  '3F000': 'start the secret-resolver once: it makes its tables',
  '42501': 'use the DATABASE_URL of the secret-resolver, whose role owns the schema secrets',
  '28P01': 'check the password in DATABASE_URL',
  ECONNREFUSED: 'is Postgres running where DATABASE_URL says?',
  ENOTFOUND: 'is Postgres running where DATABASE_URL says?',
}

/** What a person is told about an error, without anything that a provider or the database echoed. */
export function failureOf(error: unknown): Failure {
  if (error instanceof ConfigError) {
    const hints = ['the environment is the one of the secret-resolver; --env-file PATH reads it from a file']
    return { exitCode: EXIT_CONFIG, code: error.code, message: error.message, hints, facts: {} }
  }
  if (error instanceof ProblemError) {
    const facts = { ...error.extras }
    const hints = error.detail === undefined ? [] : [error.detail]
    return { exitCode: 1, code: error.code, message: error.title, hints, facts }
  }
  if (error instanceof KeyProviderError || error instanceof MasterKeyError) {
    return { exitCode: 1, code: error.code, message: error.message, hints: [], facts: error.facts }
  }
  const code = String((error as { code?: unknown } | null)?.code ?? 'ERR_INTERNAL')
  const message = error instanceof Error ? error.message : 'unknown error'
  const hint = DATABASE_HINTS[code]
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
