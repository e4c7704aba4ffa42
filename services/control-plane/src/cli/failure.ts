import { KeyProviderError } from '@rap/key-provider'
import { PkiError } from '@rap/pki'
import type { KnownFailures } from '@rap/tool-kit'
import { KeyFileError } from './root-key.ts'

/** What `rap-pki` says about its failures. */
export const KNOWN_FAILURES: KnownFailures = {
  environmentHint: 'the environment is the one of the control plane; --env-file PATH reads it from a file',
  hints: { '42501': 'use the DATABASE_URL of the control plane, whose role owns the schema rap' },
  speaking: [KeyProviderError, PkiError, KeyFileError],
}
