import { type TSchema, Type } from '@sinclair/typebox'

/** Fields that many routes share. */
export const Uuid = Type.String({
  minLength: 36,
  maxLength: 36,
  pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
})

/** RFC 3339 in UTC. */
export const Time = Type.String({ format: 'date-time' })

export function Nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()])
}

export const IdParams = Type.Object({ id: Uuid })

/** Commands take no fields; clients that always send JSON send an empty object. */
export const NoBody = Type.Optional(Nullable(Type.Object({})))

/** Which organization a list or a new thing belongs to; not needed by members of exactly one. */
export const OrganizationQuery = {
  organization_id: Type.Optional(
    Type.String({ ...Uuid, description: 'Only this organization; all of the caller when absent' }),
  ),
}

/** Text that people read: no control characters. */
export function DisplayText(maxLength: number, options: { minLength?: number } = {}) {
  return Type.String({ minLength: options.minLength ?? 1, maxLength, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })
}

/** Pixels of a desktop, as RDP allows them. */
export const Display = Type.Object({
  width: Type.Integer({ minimum: 200, maximum: 8192 }),
  height: Type.Integer({ minimum: 200, maximum: 8192 }),
})

/** RFC 7638 thumbprint, SHA-256, base64url. */
export const Thumbprint = Type.String({ pattern: '^[A-Za-z0-9_-]{43}$' })

/** Security requirement of the OpenAPI page. */
export const BEARER = [{ access_token: [] }]
