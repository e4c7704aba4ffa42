import { type Static, Type } from '@sinclair/typebox'
import { MAX_TRUST_BUNDLE_VERSION } from './ref.ts'

/** Most roots in one bundle: two in a rotation, a few more of other platforms. */
export const MAX_CERTIFICATES = 16
/** Longest PEM of one root, in characters (16 KiB). */
const MAX_CERTIFICATE_CHARACTERS = 16_384
/** Longest payload that is looked at, in characters of base64url: sixteen roots of the longest kind. */
const MAX_PAYLOAD_CHARACTERS = 393_216
/** Most signatures: one for each generation that takes part in a step, and room for one more. */
const MAX_SIGNATURES = 4
/** Longest signed bundle as JSON text that is parsed, in characters (512 KiB). */
export const MAX_TRUST_BUNDLE_CHARACTERS = 524_288

const BASE64URL = '^[A-Za-z0-9_-]+$'
const SHA256 = '^[A-Za-z0-9_-]{43}$'

/** What a bundle says: the payload of the JWS. */
export const TrustBundle = Type.Object(
  {
    ref: Type.String({ maxLength: 104, description: 'Name and version, rap-platform-ca:v1' }),
    version: Type.Integer({ minimum: 1, maximum: MAX_TRUST_BUNDLE_VERSION }),
    trust_domain: Type.String({ pattern: '^[a-z0-9._-]{1,255}$' }),
    certificates: Type.Array(Type.String({ maxLength: MAX_CERTIFICATE_CHARACTERS }), {
      minItems: 1,
      maxItems: MAX_CERTIFICATES,
      description: 'Self-signed root certificates, PEM, one each',
    }),
    issued_at: Type.String({
      pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$',
      description: 'RFC 3339, UTC',
    }),
    previous_sha256: Type.Union([Type.String({ pattern: SHA256 }), Type.Null()], {
      description: 'Base64url of SHA-256 over the payload of the bundle before, null in the first',
    }),
  },
  { additionalProperties: false },
)
export type TrustBundle = Static<typeof TrustBundle>

/** A bundle with its signatures: RFC 7515 §7.2.1, general JSON serialization, without unprotected headers. */
export const SignedTrustBundle = Type.Object(
  {
    payload: Type.String({ pattern: BASE64URL, maxLength: MAX_PAYLOAD_CHARACTERS }),
    signatures: Type.Array(
      Type.Object(
        {
          protected: Type.String({ pattern: BASE64URL, maxLength: 512 }),
          signature: Type.String({ pattern: BASE64URL, maxLength: 2048 }),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: MAX_SIGNATURES },
    ),
  },
  { additionalProperties: false },
)
export type SignedTrustBundle = Static<typeof SignedTrustBundle>

/** The type of the JWS (RFC 7515 §4.1.9); no token of this platform has it. */
export const TRUST_BUNDLE_TYPE = 'rap-trust-bundle+jws'

/** The protected header of one signature: these three and nothing else. */
export const SignatureHeader = Type.Object(
  {
    alg: Type.Union([Type.Literal('ES256'), Type.Literal('ES384'), Type.Literal('RS256')]),
    typ: Type.Literal(TRUST_BUNDLE_TYPE),
    'x5t#S256': Type.String({ pattern: SHA256, description: 'Which root signed' }),
  },
  { additionalProperties: false },
)
export type SignatureHeader = Static<typeof SignatureHeader>
