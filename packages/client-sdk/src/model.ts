import { SessionLimits } from '@rap/session-policy'
import { type Static, Type } from '@sinclair/typebox'

export const Id = Type.String({ pattern: '^[0-9a-fA-F-]{36}$' })
export const Time = Type.String({ maxLength: 40 })
export const Name = Type.String({ maxLength: 256 })
const Text = Type.String({ maxLength: 2000 })
/** Two tokens are opaque to us; the bound keeps a wrong server from filling our memory. */
const Token = Type.String({ minLength: 1, maxLength: 8192, pattern: '^[\\x21-\\x7e]+$' })
const Open = Type.Record(Type.String({ maxLength: 128 }), Type.Unknown())

/** The schema, or null. */
export const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()])

/** Answer to a log-in and to a refresh. `refresh_token` is absent where the refresh token travels in a cookie. */
export const TokenGrant = Type.Object({
  access_token: Token,
  expires_in: Type.Integer({ minimum: 1, maximum: 86_400 }),
  refresh_token: Type.Optional(Token),
})
export type TokenGrant = Static<typeof TokenGrant>

export const User = Type.Object({
  id: Id,
  email: Type.String({ maxLength: 320 }),
  display_name: Name,
  /** `owner` for the owner of the whole installation. */
  platform_role: nullable(Name),
})

/** An organization that a person belongs to, and what the role there permits. */
export const Membership = Type.Object({
  organization_id: Id,
  organization_name: Name,
  role: Name,
  permissions: Type.Array(Name, { maxItems: 200 }),
})
export type Membership = Static<typeof Membership>

/** Answer of `/v1/me`. */
export const MeAnswer = Type.Object({ user: User, memberships: Type.Array(Membership, { maxItems: 1000 }) })

/** Who is logged in. */
export interface Me extends Static<typeof User> {
  readonly memberships: readonly Membership[]
}

export const Organization = Type.Object({ id: Id, name: Name, role: Name, created_at: Time })
export type Organization = Static<typeof Organization>

/** A person's place in an organization. */
export const Member = Type.Object({
  user_id: Id,
  email: Type.String({ maxLength: 320 }),
  display_name: Name,
  role: Name,
  created_at: Time,
})
export type Member = Static<typeof Member>

export const Resource = Type.Object({
  id: Id,
  organization_id: Id,
  name: Name,
  protocol: Type.Literal('rdp'),
  address: Type.String({ maxLength: 300 }),
  secret_ref: nullable(Type.String({ maxLength: 256 })),
  metadata: Open,
  labels: Type.Record(Type.String({ maxLength: 128 }), Type.String({ maxLength: 256 })),
  created_at: Time,
  updated_at: Time,
})
export type Resource = Static<typeof Resource>

/** What is told about a secret: never the secret. */
export const SecretMetadata = Type.Object({
  secret_ref: Type.String({ maxLength: 256 }),
  version: Type.Integer({ minimum: 1 }),
  key_id: Name,
  algorithm: Name,
  payload_sha256: Type.String({ maxLength: 128 }),
  created_at: Time,
  created_by: Type.Optional(nullable(Name)),
})
export type SecretMetadata = Static<typeof SecretMetadata>

/** One entry of a secret's history. */
export const SecretVersion = Type.Composite([
  SecretMetadata,
  Type.Object({
    /** `live` is in force, `superseded` can be rolled back to, `destroyed` has no content any more. */
    state: Type.Union([Type.Literal('live'), Type.Literal('superseded'), Type.Literal('destroyed')]),
    superseded_at: nullable(Time),
    destroy_after: nullable(Time),
    destroyed_at: nullable(Time),
  }),
])
export type SecretVersion = Static<typeof SecretVersion>

export const SecretHistory = Type.Object({ items: Type.Array(SecretVersion, { maxItems: 1000 }) })

export const SESSION_STATES = ['assigning', 'ready', 'active', 'detached', 'terminated', 'failed'] as const
export type SessionState = (typeof SESSION_STATES)[number]

/** Why a session failed: a stable code, and words for a person. */
export const SessionFailure = Type.Object({
  code: Type.String({ maxLength: 128 }),
  title: Text,
  detail: Type.Optional(Text),
  remedy: Type.Optional(Text),
})
export type SessionFailure = Static<typeof SessionFailure>

export const SessionRecord = Type.Object({
  id: Id,
  organization_id: Id,
  resource_id: Id,
  user_id: Id,
  state: Type.Union(SESSION_STATES.map(state => Type.Literal(state))),
  failure: nullable(SessionFailure),
  /** Why a session that has ended did so. */
  end_reason: nullable(Name),
  created_at: Time,
  updated_at: Time,
  ended_at: nullable(Time),
  /** When its time is over by policy; null without a limit. */
  ends_at: nullable(Time),
})
export type SessionRecord = Static<typeof SessionRecord>

export const Attachment = Type.Object({
  id: Id,
  session_id: Id,
  /** 1 for the first attachment of a session. */
  ordinal: Type.Integer({ minimum: 0 }),
  worker_id: Id,
  state: Name,
  /** What is left of the channels that it began with; a policy that is narrowed takes more away. */
  allowed_channels: Type.Array(Type.String({ maxLength: 40 }), { maxItems: 8 }),
  limits: SessionLimits,
  session_ends_at: nullable(Time),
  /** Why it was closed. */
  reason: Type.Optional(nullable(Name)),
})
export type Attachment = Static<typeof Attachment>

/** A session by itself is answered with its newest attachment. */
export const SessionWithAttachment = Type.Composite([SessionRecord, Type.Object({ attachment: nullable(Attachment) })])
export type SessionWithAttachment = Static<typeof SessionWithAttachment>

/** Candidates are looked at one by one, so that one of a kind this client does not know spoils no other. */
export const DataPlane = Type.Object({
  token: Type.String({ maxLength: 8192, pattern: '^[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$' }),
  expires_at: Time,
  candidates: Type.Array(Type.Unknown(), { maxItems: 16 }),
})
export type DataPlane = Static<typeof DataPlane>

/** Answer to the wish for a fresh token. */
export const FreshToken = Type.Object({ data_plane: DataPlane })

/** Answer to a session start and to an attach. */
export const StartedSession = Type.Object({ session: SessionRecord, attachment: Attachment, data_plane: DataPlane })
export type StartedSession = Static<typeof StartedSession>

/** One page of a list; `next_cursor` asks for the next one. */
export interface Page<T> {
  readonly items: T[]
  readonly next_cursor: string | null
}
