import { CHANNELS, type Channel, Channels, SessionLimits } from '@rap/session-policy'
import { type Static, type TObject, type TProperties, Type } from '@sinclair/typebox'

export { CHANNELS, type Channel }

const Id = Type.String({ format: 'uuid' })
const Jti = Type.String({ minLength: 16, maxLength: 64, pattern: '^[A-Za-z0-9_-]+$' })
const Seconds = Type.Integer({ minimum: 0, maximum: 2 ** 40 })
const Thumbprint = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })

/** `rap-secret://org/<organization>/resources/<resource>/rdp-primary`. */
export const SecretRef = Type.String({
  maxLength: 256,
  pattern: '^rap-secret://org/[0-9a-f-]{36}/resources/[0-9a-f-]{36}/[a-z0-9-]{1,32}$',
})

const registered = {
  iss: Type.String({ maxLength: 256 }),
  aud: Type.String({ maxLength: 64 }),
  iat: Seconds,
  nbf: Seconds,
  exp: Seconds,
  jti: Jti,
}

const place = { organization_id: Id, resource_id: Id, worker_id: Id, session_id: Id, attachment_id: Id }

const closed = <T extends TProperties>(properties: T): TObject<T> =>
  Type.Object(properties, { additionalProperties: false })

/** What a data-plane token says: who may bind to which attachment, with which channels and which key (RFC 7800 `cnf.jkt`). */
export const DataPlaneClaims = closed({
  ...registered,
  ...place,
  sub: Id,
  allowed_channels: Channels,
  cnf: closed({ jkt: Thumbprint }),
})
export type DataPlaneClaims = Static<typeof DataPlaneClaims>

/** What a lease token says: which worker, by its certificate (RFC 8705 `x5t#S256`), may resolve which secret for which lease. */
export const LeaseClaims = closed({
  ...registered,
  ...place,
  lease_id: Id,
  secret_ref: Type.Union([SecretRef, Type.Null()]),
  cnf: closed({ 'x5t#S256': Thumbprint }),
})
export type LeaseClaims = Static<typeof LeaseClaims>

/** SHA-256, lower-case hexadecimal. */
const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' })
/** Most pins of one kind that a target has: 8 in the resource's metadata, and 8 that somebody decided about. */
export const MAX_TARGET_PINS = 16
/** Most certificates of a target's own authority. */
export const MAX_TARGET_AUTHORITIES = 3
/** Longest of them together, in base64 characters: three CAs with keys of 4096 bits. */
export const MAX_TARGET_AUTHORITY_CHARACTERS = 8192

const Target = closed({
  protocol: Type.Literal('rdp'),
  address: Type.String({ minLength: 1, maxLength: 300 }),
  certificate_verification_mode: Type.Union([
    Type.Literal('strict'),
    Type.Literal('platform_ca'),
    Type.Literal('pinned'),
    Type.Literal('insecure'),
  ]),
  /** SHA-256 of the DER of certificates that are accepted in mode `pinned`. */
  certificate_pins: Type.Optional(Type.Array(Sha256, { maxItems: MAX_TARGET_PINS })),
  /** SHA-256 of the SubjectPublicKeyInfo (RFC 7469 §2.4) of keys that are accepted in mode `pinned`. */
  public_key_pins: Type.Optional(Type.Array(Sha256, { maxItems: MAX_TARGET_PINS })),
  /** Base64 DER of the authorities that alone count in mode `strict`; the system's where absent. */
  certificate_authorities: Type.Optional(
    Type.Array(
      Type.String({ minLength: 4, maxLength: MAX_TARGET_AUTHORITY_CHARACTERS, pattern: '^[A-Za-z0-9+/]+={0,2}$' }),
      {
        minItems: 1,
        maxItems: MAX_TARGET_AUTHORITIES,
      },
    ),
  ),
  security: Type.Union([Type.Literal('auto'), Type.Literal('nla'), Type.Literal('tls')]),
  render_quality_profile: Type.Union([Type.Literal('low'), Type.Literal('balanced'), Type.Literal('high')]),
})

const Pixels = Type.Integer({ minimum: 200, maximum: 8192 })

/**
 * What an assignment says: the whole order to one worker.
 * INVARIANT: it is signed as a whole, so that write access to Redis sends no credential to another target.
 */
export const AssignmentClaims = closed({
  ...registered,
  ...place,
  assignment_id: Id,
  user_id: Id,
  lease_id: Id,
  lease_token: Type.String({ maxLength: 4096 }),
  secret_ref: Type.Union([SecretRef, Type.Null()]),
  allowed_channels: Channels,
  limits: SessionLimits,
  bind_urls: Type.Array(Type.String({ maxLength: 512 }), { minItems: 1, maxItems: 4 }),
  target: Target,
  display: Type.Optional(closed({ width: Pixels, height: Pixels })),
  supersedes_attachment_id: Type.Optional(Id),
})
export type AssignmentClaims = Static<typeof AssignmentClaims>

/** Longest compact token that is looked at, in characters. */
const MAX_CHARACTERS = 12_288
/** An assignment carries a lease token, the limits and, twice in base64, the authorities of a target inside. */
const MAX_ASSIGNMENT_CHARACTERS = 32_768

/**
 * The purposes a token can have; `typ` and `aud` keep them apart, `maxLifetimeSeconds` bounds what a leak is worth, and `maxCharacters` what is
 * looked at.
 */
export const PURPOSES = {
  data_plane: {
    typ: 'rap-dp+jwt',
    aud: 'rap-data-plane',
    maxLifetimeSeconds: 60,
    maxCharacters: MAX_CHARACTERS,
    claims: DataPlaneClaims,
  },
  lease: {
    typ: 'rap-lease+jwt',
    aud: 'rap-secret-resolver',
    maxLifetimeSeconds: 120,
    maxCharacters: MAX_CHARACTERS,
    claims: LeaseClaims,
  },
  assignment: {
    typ: 'rap-assignment+jwt',
    aud: 'rap-rdp-worker',
    maxLifetimeSeconds: 60,
    maxCharacters: MAX_ASSIGNMENT_CHARACTERS,
    claims: AssignmentClaims,
  },
} as const

/** One purpose's name. */
export type Purpose = keyof typeof PURPOSES

/** The claims of a purpose. */
export type ClaimsOf<P extends Purpose> = Static<(typeof PURPOSES)[P]['claims']>
