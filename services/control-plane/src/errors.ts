import { defineProblems } from '@rap/service-kit'

/** Every refusal of this service beside the common ones; the key is the stable `code`. */
export const problems = defineProblems({
  ERR_AUTH_INVALID_CREDENTIALS: { status: 401, title: 'E-mail address or password is wrong' },
  ERR_AUTH_REFRESH_INVALID: { status: 401, title: 'The refresh token is not valid; log in again' },
  ERR_AUTH_RATE_LIMITED: { status: 429, title: 'Too many attempts to log in; try again later' },
  ERR_AUTH_ORIGIN_REFUSED: { status: 403, title: 'The call does not come from the portal' },
  ERR_AUTH_PASSWORD_UNFIT: { status: 422, title: 'The new password does not fit the rules' },
  ERR_AUTH_BUSY: { status: 503, title: 'Too many people log in at this moment; try again' },

  ERR_LIST_CURSOR_INVALID: { status: 400, title: 'The cursor is not one of this list' },
  ERR_ORGANIZATION_REQUIRED: { status: 400, title: 'Name the organization with organization_id' },
  ERR_MEMBER_EXISTS: { status: 409, title: 'This person is a member already' },
  ERR_MEMBER_ACCOUNT_ELSEWHERE: { status: 409, title: 'The account belongs to another organization' },
  ERR_MEMBER_PASSWORD_REQUIRED: { status: 422, title: 'A new account needs a first password' },
  ERR_MEMBER_LAST_OWNER: { status: 409, title: 'An organization keeps at least one owner' },

  ERR_RESOURCE_ADDRESS_INVALID: { status: 422, title: 'The address is not a host and a port' },
  ERR_RESOURCE_METADATA_INVALID: { status: 422, title: 'The metadata does not fit the rules' },
  ERR_RESOURCE_PLAINTEXT_CREDENTIALS: { status: 422, title: 'The resource holds what looks like a credential' },
  ERR_RESOURCE_INSECURE_VERIFICATION: { status: 422, title: 'Certificate verification cannot be off in production' },
  ERR_RESOURCE_SECRET_REQUIRED: { status: 409, title: 'The resource has no secret yet' },

  ERR_SECRET_SEAL_INVALID: { status: 422, title: 'The sealed secret is not one for this resource' },
  ERR_SECRET_RESOLVER_UNAVAILABLE: { status: 503, title: 'The secret-resolver is not available' },

  ERR_IDEMPOTENCY_KEY_REUSED: { status: 422, title: 'The Idempotency-Key was used with another request' },
  ERR_SESSION_LIMIT_USER: { status: 429, title: 'You have too many sessions connected' },
  ERR_SESSION_LIMIT_ORGANIZATION: { status: 429, title: 'The organization has too many sessions connected' },
  ERR_SESSION_NO_WORKER: { status: 503, title: 'No worker can take the session' },
  ERR_SESSION_COORDINATION_UNAVAILABLE: { status: 503, title: 'Sessions cannot be coordinated at the moment' },
  ERR_SESSION_START_TIMEOUT: { status: 504, title: 'The worker did not get ready in time' },
  ERR_SESSION_ATTACHED: { status: 409, title: 'The session is attached already' },
  ERR_SESSION_ENDED: { status: 409, title: 'The session has ended' },
  ERR_SESSION_NOT_READY: { status: 409, title: 'The session has no attachment to bind to' },
  ERR_SESSION_EVENTS_LIMIT: { status: 429, title: 'Too many event streams are open' },

  ERR_WORKER_UNKNOWN: { status: 403, title: 'The worker has not announced itself' },
  ERR_WORKER_REVOKED: { status: 403, title: 'The worker is revoked' },
  ERR_WORKER_URL_INVALID: { status: 422, title: 'The public URL is not one of a data plane' },
  ERR_IDENTITY_REVOKED: { status: 403, title: 'The identity is revoked' },
  ERR_CERTIFICATE_REVOKED: { status: 403, title: 'The certificate is revoked' },
  ERR_ATTACHMENT_STATE: { status: 409, title: 'The attachment cannot go to that state' },
  ERR_AUDIT_EVENT_NOT_ALLOWED: { status: 403, title: 'The caller may not report this event' },

  // The worker is told precisely; what a client sees of it is the worker's business (data-plane-protocol, publicReason).
  ERR_BIND_TOKEN_INVALID: { status: 403, title: 'The data-plane token is not valid' },
  ERR_BIND_TOKEN_EXPIRED: { status: 403, title: 'The data-plane token has expired' },
  ERR_BIND_TOKEN_REPLAYED: { status: 403, title: 'The data-plane token was used before' },
  ERR_BIND_PROOF_INVALID: { status: 403, title: 'The token is bound to another key' },
  ERR_BIND_WRONG_WORKER: { status: 403, title: 'The token is for another worker' },
  ERR_BIND_WRONG_RESOURCE: { status: 403, title: 'The token is for another resource' },
  ERR_BIND_WRONG_ORGANIZATION: { status: 403, title: 'The token is for another organization' },
  ERR_BIND_WRONG_USER: { status: 403, title: 'The token is for another user' },
  ERR_BIND_ATTACHMENT_SUPERSEDED: { status: 403, title: 'Another attachment has taken the session over' },
  ERR_BIND_SESSION_ENDED: { status: 403, title: 'The session has ended' },
  ERR_BIND_CHANNELS_NOT_ALLOWED: { status: 403, title: 'A requested channel is not allowed' },
  ERR_BIND_UNAVAILABLE: { status: 503, title: 'The bind cannot be authorised at the moment' },
})
