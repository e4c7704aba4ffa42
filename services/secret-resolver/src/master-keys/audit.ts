import type { AuditEvent } from '@rap/service-kit'

/** Who changes master keys: a user through the control plane, somebody at a shell, or the service by itself. */
export interface KeyActor {
  readonly actor: AuditEvent['actor']
  readonly requestId?: string | undefined
}

/** What a start and the rounds of the service do by themselves. */
export const SERVICE_ACTOR: KeyActor = { actor: { kind: 'service', id: 'secret-resolver' } }

/** An event about master keys; they belong to the platform and to no organization. */
export function keyEvent(
  event: `secret_key_${string}`,
  { actor, requestId }: KeyActor,
  rest: Partial<AuditEvent> = {},
) {
  return {
    organization_id: null,
    event,
    actor,
    ...(actor.kind === 'user' && { user_id: actor.id }),
    outcome: 'ok',
    request_id: requestId,
    ...rest,
  } satisfies AuditEvent
}
