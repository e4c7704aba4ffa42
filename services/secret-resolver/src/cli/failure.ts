import { KeyProviderError } from '@rap/key-provider'
import type { KnownFailures } from '@rap/tool-kit'
import { MasterKeyError } from '../master-keys/start-checks.ts'

/** What `rap-secrets` says about its failures. */
export const KNOWN_FAILURES: KnownFailures = {
  environmentHint: 'the environment is the one of the secret-resolver; --env-file PATH reads it from a file',
  hints: {
    '42P01': 'start the secret-resolver once: it makes its tables',
    '3F000': 'start the secret-resolver once: it makes its tables',
    '42501': 'use the DATABASE_URL of the secret-resolver, whose role owns the schema secrets',
  },
  speaking: [KeyProviderError, MasterKeyError],
}
