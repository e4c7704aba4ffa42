import { createHash } from 'node:crypto'
import type { Static, TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { TrustBundleError } from './errors.ts'
import { parseTrustBundleRef } from './ref.ts'
import { type Root, readRoot } from './roots.ts'
import { MAX_TRUST_BUNDLE_CHARACTERS, SignatureHeader, SignedTrustBundle, TrustBundle } from './schema.ts'

/** A bundle that is well-formed, and whose signatures nobody has verified yet. */
export interface UnverifiedBundle {
  readonly bundle: TrustBundle
  readonly name: string
  /** Base64url of SHA-256 over the payload. */
  readonly sha256: string
  readonly signed: SignedTrustBundle
  readonly roots: readonly Root[]
  /** In the order of `signed.signatures`; no root is named twice. */
  readonly headers: readonly SignatureHeader[]
}

const decoder = new TextDecoder('utf-8', { fatal: true })

/**
 * Takes a signed bundle apart, from JSON text or parsed already. Every bound is checked first, and nothing is passed over: no extra
 * member, header parameter (so no `crit`, `jwk`, `b64`) or spelling. Throws TrustBundleError MALFORMED.
 */
export function readBundle(document: unknown): UnverifiedBundle {
  const signed = conforming(SignedTrustBundle, typeof document === 'string' ? parseDocument(document) : document, '')
  const payload = decode(signed.payload, 'payload')
  const bundle = conforming(TrustBundle, parse(payload, 'payload'), 'payload')
  const ref = parseTrustBundleRef(bundle.ref)
  if (ref?.version !== bundle.version) throw malformed('the ref does not name the version', 'ref')
  if ((bundle.version === 1) !== (bundle.previous_sha256 === null)) {
    throw malformed('the first bundle, and no other, has no predecessor', 'previous_sha256')
  }
  const issuedAt = new Date(bundle.issued_at)
  if (Number.isNaN(issuedAt.getTime())) throw malformed('not a time', 'issued_at')
  const roots = bundle.certificates.map(pem => readRoot(pem, issuedAt))
  requireDistinct(
    roots.map(root => root.thumbprint),
    'certificates',
  )

  const headers = signed.signatures.map(entry =>
    conforming(SignatureHeader, parse(decode(entry.protected, 'protected'), 'protected'), 'protected'),
  )
  requireDistinct(
    headers.map(header => header['x5t#S256']),
    'signatures',
  )
  for (const entry of signed.signatures) decode(entry.signature, 'signature')
  const sha256 = createHash('sha256').update(payload).digest('base64url')
  return { bundle, name: ref.name, sha256, signed, roots, headers }
}

function parseDocument(text: string): unknown {
  if (text.length > MAX_TRUST_BUNDLE_CHARACTERS) throw malformed('over the bound')
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw malformed('not JSON', undefined, cause)
  }
}

function conforming<T extends TSchema>(schema: T, value: unknown, field: string): Static<T> {
  if (!Value.Check(schema, value)) {
    const { path = '' } = Value.Errors(schema, value).First() ?? {}
    throw malformed('a member is missing, foreign or out of bounds', `${field}${path}`)
  }
  // A copy: what was checked cannot be changed afterwards by whoever holds the document.
  return Value.Clone(value)
}

function decode(text: string, field: string): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  // RFC 4648 §3.5: a second spelling of the same bytes would be a second hash, or a second signature.
  if (bytes.toString('base64url') !== text) throw malformed('not base64url', field)
  return bytes
}

function parse(bytes: Buffer, field: string): unknown {
  try {
    return JSON.parse(decoder.decode(bytes))
  } catch (cause) {
    throw malformed('not JSON', field, cause)
  }
}

function requireDistinct(values: readonly string[], field: string): void {
  if (new Set(values).size !== values.length) throw malformed('stands twice', field)
}

function malformed(message: string, field?: string, cause?: unknown): TrustBundleError {
  return new TrustBundleError('ERR_TRUST_BUNDLE_MALFORMED', message, field, { cause })
}
