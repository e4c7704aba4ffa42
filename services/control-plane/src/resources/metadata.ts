import { type Static, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { problems } from '../errors.ts'

const MAX_ENTRIES = 48
const MAX_PINS = 8
/** As the table bounds it: bytes of the text that Postgres makes of it (migration 006). */
const MAX_STORED_BYTES = 16_384

/** The metadata that the platform itself reads. */
const KnownMetadata = Type.Object({
  certificate_verification_mode: Type.Optional(
    Type.Union([Type.Literal('strict'), Type.Literal('platform_ca'), Type.Literal('pinned'), Type.Literal('insecure')]),
  ),
  certificate_pins: Type.Optional(
    Type.Array(Type.String({ pattern: '^[0-9a-f]{64}$' }), { maxItems: MAX_PINS, uniqueItems: true }),
  ),
  security: Type.Optional(Type.Union([Type.Literal('auto'), Type.Literal('nla'), Type.Literal('tls')])),
  render_quality_profile: Type.Optional(
    Type.Union([Type.Literal('low'), Type.Literal('balanced'), Type.Literal('high')]),
  ),
})

const OtherName = /^[A-Za-z][A-Za-z0-9_. -]{0,63}$/
const MAX_TEXT_CHARACTERS = 1024
/** The smallest and the longest double: a sign, `0.`, 323 zeros and 17 digits. */
const MAX_NUMBER_BYTES = 343

/** What a session asks the worker for; every absent value is the safe one. */
export interface TargetRules {
  readonly certificate_verification_mode: 'strict' | 'platform_ca' | 'pinned' | 'insecure'
  readonly certificate_pins?: string[]
  readonly security: 'auto' | 'nla' | 'tls'
  readonly render_quality_profile: 'low' | 'balanced' | 'high'
}

export type Metadata = Readonly<Record<string, unknown>>

/** RFC 7396 merge patch of one level: null removes a key. */
export function mergeMetadata(current: Metadata, patch: Metadata): Record<string, unknown> {
  const merged = { ...current, ...patch }
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null))
}

/**
 * Checks the metadata of a resource and returns it with pins in their one spelling.
 *
 * Throws ProblemError ERR_RESOURCE_METADATA_INVALID, and in production ERR_RESOURCE_INSECURE_VERIFICATION. The error names
 * keys, never values. Credentials are looked for before (`refuseCredentials`), so that nothing here repeats one as a key.
 */
export function checkMetadata(given: Metadata, { production }: { production: boolean }): Record<string, unknown> {
  const entries = Object.entries(given)
  if (entries.length > MAX_ENTRIES) throw invalid('too many entries')
  const known: Record<string, unknown> = {}
  for (const [key, value] of entries) {
    if (Object.hasOwn(KnownMetadata.properties, key)) known[key] = key === 'certificate_pins' ? plainPins(value) : value
    else if (!OtherName.test(key)) throw invalid('a name is out of form')
    else if (!isShortScalar(value)) throw invalid(`the value of ${key} is not a short text, number or boolean`)
  }
  if (!Value.Check(KnownMetadata, known)) {
    const field = Value.Errors(KnownMetadata, known).First()?.path.split('/')[1]
    throw invalid(`the value of ${field ?? 'metadata'} is not one of those allowed`)
  }
  const checked: Record<string, unknown> & Static<typeof KnownMetadata> = { ...given, ...known }
  if (storedBytes(checked) > MAX_STORED_BYTES) throw invalid('it is too large as a whole')
  if (production && checked.certificate_verification_mode === 'insecure') {
    throw problems.ERR_RESOURCE_INSECURE_VERIFICATION()
  }
  return checked
}

/** What the metadata says about the target, with the safe defaults. */
export function targetRulesOf(metadata: Metadata): TargetRules {
  const known = Object.fromEntries(
    Object.keys(KnownMetadata.properties).flatMap(key => (key in metadata ? [[key, metadata[key]]] : [])),
  ) as Partial<TargetRules>
  const { certificate_pins: pins } = known
  return {
    certificate_verification_mode: known.certificate_verification_mode ?? 'strict',
    ...(pins === undefined ? {} : { certificate_pins: pins }),
    security: known.security ?? 'auto',
    render_quality_profile: known.render_quality_profile ?? 'balanced',
  }
}

/** Fingerprints as tools print them: upper case and colons are taken and dropped. */
function plainPins(value: unknown): unknown {
  if (!Array.isArray(value)) return value
  return value.map(pin => (typeof pin === 'string' && pin.length <= 128 ? pin.replaceAll(':', '').toLowerCase() : pin))
}

function isShortScalar(value: unknown): boolean {
  if (typeof value === 'string') return value.length <= MAX_TEXT_CHARACTERS
  return typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value))
}

/** At least as many bytes as Postgres needs: it writes `": "`, `", "` also between pins, and numbers without an exponent. */
function storedBytes(metadata: Metadata): number {
  return Object.entries(metadata).reduce((bytes, [key, value]) => {
    const text = JSON.stringify(value)
    const written = typeof value === 'number' && text.includes('e') ? MAX_NUMBER_BYTES : Buffer.byteLength(text)
    return bytes + Buffer.byteLength(JSON.stringify(key)) + written + 4
  }, MAX_PINS + 2)
}

function invalid(detail: string) {
  return problems.ERR_RESOURCE_METADATA_INVALID({ detail })
}
