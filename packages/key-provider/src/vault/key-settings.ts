import { KeyProviderError } from '../errors.ts'
import { decoded, memberOf } from './json-bytes.ts'
import type { TransitPlace } from './transit-place.ts'

/** What Read Key says about a Transit key, as far as it matters here. */
export interface KeySettings {
  readonly type: string
  readonly derived: boolean
  readonly convergent: boolean
  readonly exportable: boolean
  readonly plaintextBackup: boolean
  readonly deletionAllowed: boolean
  readonly encrypts: boolean
  readonly latestVersion: number
  /** Versions below it do not decrypt; 0 or 1 for none. */
  readonly minDecryptionVersion: number
  /** Versions below it do not encrypt; 0 for none. */
  readonly minEncryptionVersion: number
}

/** Types that authenticate, and that derive a key for each context. */
const AEAD_TYPES = ['aes256-gcm96', 'aes128-gcm96', 'chacha20-poly1305', 'xchacha20-poly1305']

/** The settings in an answer to Read Key; undefined where one is missing. */
export function settingsOf(body: Buffer): KeySettings | undefined {
  const read = (name: string) => decoded(memberOf(body, 'data', name))
  const type = read('type')
  const latestVersion = versionOf(read('latest_version'))
  const minDecryptionVersion = versionOf(read('min_decryption_version'))
  const minEncryptionVersion = versionOf(read('min_encryption_version'))
  const flags = {
    derived: read('derived'),
    exportable: read('exportable'),
    deletionAllowed: read('deletion_allowed'),
    encrypts: read('supports_encryption'),
    // Older servers leave these out where they are off.
    plaintextBackup: read('allow_plaintext_backup') ?? false,
    convergent: read('convergent_encryption') ?? false,
  }
  if (typeof type !== 'string' || latestVersion === undefined) return undefined
  if (minDecryptionVersion === undefined || minEncryptionVersion === undefined) return undefined
  if (!areFlags(flags)) return undefined
  return { type: type.slice(0, 64), ...flags, latestVersion, minDecryptionVersion, minEncryptionVersion }
}

function areFlags<K extends string>(flags: Record<K, unknown>): flags is Record<K, boolean> {
  return Object.values(flags).every(flag => typeof flag === 'boolean')
}

function versionOf(value: unknown): number | undefined {
  return Number.isInteger(value) && 0 <= (value as number) && (value as number) <= 999_999_999
    ? (value as number)
    : undefined
}

interface Rule {
  readonly rule: string
  readonly isBroken: (settings: KeySettings) => boolean
  readonly message: string
}

/** Without these, a wrapped key is not bound to its context, or does not open at all. */
const NEEDED: readonly Rule[] = [
  {
    rule: 'derived',
    isBroken: key => !key.derived,
    message: 'the Transit key is not derived, so it would ignore the context',
  },
  {
    rule: 'type',
    isBroken: key => !AEAD_TYPES.includes(key.type),
    message: 'the Transit key is of a type that authenticates no ciphertext',
  },
  { rule: 'supports_encryption', isBroken: key => !key.encrypts, message: 'the Transit key does not encrypt' },
  {
    rule: 'convergent_encryption',
    isBroken: key => key.convergent,
    message: 'the Transit key encrypts equal data keys to equal bytes',
  },
  { rule: 'latest_version', isBroken: key => key.latestVersion === 0, message: 'the Transit key has no version' },
]

/** The key may leave the server. What it wrapped before still opens, so that setting one of these loses no row. */
const NEEDED_TO_WRAP: readonly Rule[] = [
  { rule: 'exportable', isBroken: key => key.exportable, message: 'the Transit key can be exported' },
  {
    rule: 'allow_plaintext_backup',
    isBroken: key => key.plaintextBackup,
    message: 'the Transit key can be backed up in the clear',
  },
]

export type KeyUse = 'wrap' | 'unwrap'

/**
 * Throws KeyProviderError ERR_KEY_CONFIGURATION for a key that must not be used so, with the rule that it breaks and the
 * commands that make a key which breaks none.
 */
export function assertUsable(settings: KeySettings, use: KeyUse, place: TransitPlace): void {
  const rules = use === 'wrap' ? [...NEEDED, ...NEEDED_TO_WRAP] : NEEDED
  const broken = rules.find(rule => rule.isBroken(settings))
  if (broken === undefined) return
  // No setting of these can be changed back: it takes another key.
  const write = `write -f ${place.mount}/keys/${place.key}-2 type=aes256-gcm96 derived=true`
  throw new KeyProviderError('ERR_KEY_CONFIGURATION', broken.message, {
    key: `${place.mount}/keys/${place.key}`,
    rule: broken.rule,
    type: settings.type,
    remedy: `make another key and name it in the source's configuration: vault ${write} (with OpenBao: bao ${write})`,
  })
}

/** What an operator is warned of: what may be deleted by one request, and what only refuses to wrap. */
export function warningsOf(settings: KeySettings): string[] {
  return [
    ...(settings.deletionAllowed ? ['deletion_allowed'] : []),
    ...NEEDED_TO_WRAP.filter(rule => rule.isBroken(settings)).map(({ rule }) => rule),
  ]
}
