import { Type } from '@sinclair/typebox'

/** The one caller that changes secrets and master keys. */
export const CONTROL_PLANE = { kind: 'service', id: 'control-plane' } as const

export const Uuid = Type.String({ pattern: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' })
const RequestId = Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z0-9._-]+$' })

/** Whom the control plane acts for, and in which request: a part of the body of everything that changes something. */
export const actor = { actor_user_id: Uuid, request_id: RequestId }
