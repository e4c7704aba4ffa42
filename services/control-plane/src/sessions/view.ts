import { Candidate } from '@rap/candidate-metadata'
import { SessionLimits } from '@rap/session-policy'
import { Type } from '@sinclair/typebox'
import { Nullable, Time, Uuid } from '../http/schemas.ts'
import { Failure } from './failure.ts'
import type { Started } from './ready.ts'
import { hasEnded, isLive } from './states.ts'
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

/** A session as it is refused or not: one whose time has passed is over, also where the sweep has not come by yet. */
export function asItIs(row: SessionRow): SessionRow {
  if (!row.is_over || hasEnded(row.state)) return row
  return { ...row, state: 'terminated', end_reason: 'ERR_SESSION_TIME_LIMIT', ended_at: row.ends_at }
}

export function sessionView(noted: SessionRow) {
  const row = asItIs(noted)
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

export function attachmentView(row: AttachmentRow, noted: SessionRow) {
  const { state, ended_at: endedAt, end_reason: reason, ends_at: endsAt } = asItIs(noted)
  const isCut = hasEnded(state) && isLive(row.state)
  return {
    id: row.id,
    session_id: row.session_id,
    ordinal: row.ordinal,
    worker_id: row.worker_id,
    state: isCut ? 'closed' : row.state,
    reason: isCut ? reason : row.close_reason,
    allowed_channels: row.allowed_channels,
    limits: row.limits,
    session_ends_at: endsAt?.toISOString() ?? null,
    created_at: row.created_at.toISOString(),
    closed_at: (isCut ? endedAt : row.closed_at)?.toISOString() ?? null,
  }
}

export function startedView({ session, attachment, dataPlane }: Started) {
  return { session: sessionView(session), attachment: attachmentView(attachment, session), data_plane: dataPlane }
}
