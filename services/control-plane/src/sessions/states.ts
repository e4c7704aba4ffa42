/** States of a session. */
export const SESSION_STATES = ['assigning', 'ready', 'active', 'detached', 'terminated', 'failed'] as const
export type SessionState = (typeof SESSION_STATES)[number]

/** States of an attachment. */
export const ATTACHMENT_STATES = ['assigning', 'ready', 'active', 'closed', 'superseded', 'failed'] as const
export type AttachmentState = (typeof ATTACHMENT_STATES)[number]

/** From each state, the states that may follow. The database has the same rows in rap.state_transitions. */
export const SESSION_TRANSITIONS: Readonly<Record<SessionState, readonly SessionState[]>> = {
  assigning: ['ready', 'detached', 'terminated', 'failed'],
  ready: ['assigning', 'active', 'detached', 'terminated', 'failed'],
  active: ['assigning', 'detached', 'terminated', 'failed'],
  detached: ['assigning', 'terminated', 'failed'],
  terminated: [],
  failed: [],
}

/** From each state, the states that may follow. */
export const ATTACHMENT_TRANSITIONS: Readonly<Record<AttachmentState, readonly AttachmentState[]>> = {
  assigning: ['ready', 'closed', 'superseded', 'failed'],
  ready: ['active', 'closed', 'superseded', 'failed'],
  active: ['closed', 'superseded', 'failed'],
  closed: [],
  superseded: [],
  failed: [],
}

/** Attachments in these states hold a worker and a lease. */
export const LIVE_ATTACHMENT_STATES = ['assigning', 'ready', 'active'] as const satisfies readonly AttachmentState[]

/** True while the attachment holds a worker. */
export function isLive(state: AttachmentState): boolean {
  return (LIVE_ATTACHMENT_STATES as readonly AttachmentState[]).includes(state)
}

/** True once nothing can follow any more. */
export function hasEnded(state: SessionState): boolean {
  return SESSION_TRANSITIONS[state].length === 0
}
