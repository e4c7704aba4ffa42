import { Candidate } from '@rap/candidate-metadata'
import { SessionLimits } from '@rap/session-policy'
import { Type } from '@sinclair/typebox'
import { Nullable, Time, Uuid } from '../http/schemas.ts'
import { Failure } from './failure.ts'
import type { Started } from './ready.ts'
import type { AttachmentRow, SessionRow } from './storage.ts'

export const Session = Type.Object({
  id: Uuid,
  organization_id: Uuid,
  resource_id: Uuid,
  user_id: Uuid,
  state: Type.String({ description: 'assigning, ready, active, detached, terminated or failed' }),
  failure: Nullable(Failure),
  end_reason: Nullable(Type.String()),
  created_at: Time,
  updated_at: Time,
  ended_at: Nullable(Time),
  ends_at: Type.Union([Time, Type.Null()], { description: 'When the policy ends it; null where nothing does' }),
})

export const Attachment = Type.Object({
  id: Uuid,
  session_id: Uuid,
  ordinal: Type.Integer(),
  worker_id: Uuid,
  state: Type.String({ description: 'assigning, ready, active, closed, superseded or failed' }),
  reason: Type.Union([Type.String(), Type.Null()], { description: 'Why it was closed; null while it is live' }),
  allowed_channels: Type.Array(Type.String()),
  limits: SessionLimits,
  session_ends_at: Nullable(Time),
  created_at: Time,
  closed_at: Nullable(Time),
})

export const DataPlaneAnswer = Type.Object({
  token: Type.String({ description: 'For one bind, within a minute, by the holder of the key that dpop_jkt names' }),
  expires_at: Time,
  candidates: Type.Array(Candidate),
})

export const StartedAnswer = Type.Object({ session: Session, attachment: Attachment, data_plane: DataPlaneAnswer })

export const SessionWithAttachment = Type.Composite([Session, Type.Object({ attachment: Nullable(Attachment) })])

export function sessionView(row: SessionRow) {
  return {
    id: row.id,
    organization_id: row.organization_id,
    resource_id: row.resource_id,
    user_id: row.user_id,
    state: row.state,
    failure: row.failure,
    end_reason: row.end_reason,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    ended_at: row.ended_at?.toISOString() ?? null,
    ends_at: row.ends_at?.toISOString() ?? null,
  }
}

export function attachmentView(row: AttachmentRow, { ends_at: endsAt }: Pick<SessionRow, 'ends_at'>) {
  return {
    id: row.id,
    session_id: row.session_id,
    ordinal: row.ordinal,
    worker_id: row.worker_id,
    state: row.state,
    reason: row.close_reason,
    allowed_channels: row.allowed_channels,
    limits: row.limits,
    session_ends_at: endsAt?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
    closed_at: row.closed_at?.toISOString() ?? null,
  }
}

export function startedView({ session, attachment, dataPlane }: Started) {
  return { session: sessionView(session), attachment: attachmentView(attachment, session), data_plane: dataPlane }
}
