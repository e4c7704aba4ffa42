/**
 * Every way the data plane closes a connection (RFC 6455 §7.4.2, private range 4000–4999).
 *
 * `code` is the WebSocket close code, the key is the reason that travels in the close frame and stays stable.
 * `open` says who may see it: a stranger, who has shown no valid token and proof, only ever sees ERR_BIND_REFUSED.
 */
export const CLOSE_REASONS = {
  ERR_BIND_REFUSED: { code: 4401, open: true, detail: 'The connection was refused.' },
  ERR_BIND_TIMEOUT: { code: 4408, open: true, detail: 'No bind arrived in time.' },
  ERR_BIND_MALFORMED: { code: 4400, open: true, detail: 'The first message is not a bind.' },
  ERR_BIND_TOKEN_INVALID: { code: 4401, open: false, detail: 'The data-plane token is not valid.' },
  ERR_BIND_TOKEN_EXPIRED: { code: 4401, open: false, detail: 'The data-plane token has expired; ask for a new one.' },
  ERR_BIND_TOKEN_REPLAYED: { code: 4401, open: false, detail: 'The data-plane token was used before.' },
  ERR_BIND_PROOF_INVALID: { code: 4401, open: false, detail: 'The proof of the key does not fit the token.' },
  ERR_BIND_WRONG_WORKER: { code: 4403, open: false, detail: 'The token is for another worker.' },
  ERR_BIND_WRONG_RESOURCE: { code: 4403, open: false, detail: 'The token is for another resource.' },
  ERR_BIND_WRONG_ORGANIZATION: { code: 4403, open: false, detail: 'The token is for another organization.' },
  ERR_BIND_WRONG_USER: { code: 4403, open: false, detail: 'The token is for another user.' },
  ERR_BIND_CHANNELS_NOT_ALLOWED: { code: 4403, open: false, detail: 'A requested channel is not allowed by policy.' },
  ERR_BIND_ATTACHMENT_SUPERSEDED: {
    code: 4409,
    open: false,
    detail: 'Another attachment has taken this session over.',
  },
  ERR_BIND_SESSION_ENDED: { code: 4410, open: false, detail: 'The session has ended.' },
  ERR_BIND_UNAVAILABLE: { code: 4503, open: false, detail: 'The bind could not be authorised; try again.' },
  ERR_RELAY_MALFORMED_MESSAGE: { code: 4400, open: true, detail: 'A message is not of the bound transport.' },
  ERR_RELAY_MESSAGE_TOO_LARGE: { code: 4413, open: true, detail: 'A message is over the bound.' },
  ERR_RELAY_CLIENT_PROTOCOL: {
    code: 4422,
    open: true,
    detail: 'The client sent RDP that is malformed or not allowed.',
  },
  ERR_RELAY_TARGET_PROTOCOL: {
    code: 4502,
    open: true,
    detail: 'The target sent RDP that is malformed or not allowed.',
  },
  ERR_RELAY_SERVER_REDIRECTION: {
    code: 4502,
    open: true,
    detail: 'The target asked for a redirection, which is refused.',
  },
  ERR_RELAY_TARGET_CLOSED: { code: 4504, open: true, detail: 'The target closed the connection.' },
  ERR_RELAY_TARGET_LOST: { code: 4504, open: true, detail: 'The connection to the target was lost.' },
  ERR_RELAY_CLIENT_TOO_SLOW: { code: 4429, open: true, detail: 'The client reads too slowly.' },
  ERR_RELAY_MEMORY_LIMIT: { code: 4429, open: true, detail: 'The relay reached its memory bound.' },
  ERR_SESSION_DETACHED: { code: 4000, open: true, detail: 'The session was detached.' },
  ERR_SESSION_TERMINATED: { code: 4001, open: true, detail: 'The session was ended.' },
  ERR_SESSION_TAKEN_OVER: { code: 4002, open: true, detail: 'The session was taken over by another connection.' },
  ERR_SESSION_IDLE_LIMIT: { code: 4006, open: true, detail: 'Nothing was done for as long as the policy allows.' },
  ERR_SESSION_TIME_LIMIT: { code: 4007, open: true, detail: 'The session lasted as long as the policy allows.' },
  ERR_SESSION_POLICY: { code: 4008, open: true, detail: 'The policy no longer allows this connection.' },
  ERR_SESSION_CHANNELS_BOUND_AGAIN: { code: 4009, open: true, detail: 'A newer connection has these channels.' },
  ERR_SESSION_LEASE_LOST: { code: 4003, open: true, detail: 'The worker lost its lease on the session.' },
  ERR_WORKER_DRAINING: { code: 4004, open: true, detail: 'The worker is shutting down.' },
  ERR_GATEWAY_DRAINING: { code: 4004, open: true, detail: 'The gateway is shutting down; connect again.' },
  ERR_WORKER_REVOKED: { code: 4005, open: true, detail: 'The worker was revoked by an administrator.' },
  ERR_WORKER_BUSY: { code: 4429, open: true, detail: 'Too many connections; try again.' },
  ERR_WORKER_UNREACHABLE: { code: 4502, open: true, detail: 'The gateway cannot reach the worker.' },
  ERR_INTERNAL: { code: 4500, open: true, detail: 'An internal error ended the connection.' },
} as const satisfies Record<string, { code: number; open: boolean; detail: string }>

/** The stable reason of a close frame. */
export type CloseReason = keyof typeof CLOSE_REASONS

/** The refusals that a client whose token and proof verify may see by name: each tells it what to do next. */
export const NAMED_TO_VERIFIED_CLIENTS: ReadonlySet<CloseReason> = new Set<CloseReason>([
  'ERR_BIND_TOKEN_EXPIRED',
  'ERR_BIND_ATTACHMENT_SUPERSEDED',
  'ERR_BIND_SESSION_ENDED',
  'ERR_BIND_CHANNELS_NOT_ALLOWED',
  'ERR_BIND_UNAVAILABLE',
])

/** What the client is told of a reason: the reason itself, or ERR_BIND_REFUSED where it would tell a stranger too much. */
export function publicReason(reason: CloseReason, clientVerified: boolean): CloseReason {
  if (CLOSE_REASONS[reason].open) return reason
  return clientVerified && NAMED_TO_VERIFIED_CLIENTS.has(reason) ? reason : 'ERR_BIND_REFUSED'
}

/** True for a string that is one of the stable reasons. */
export function isCloseReason(value: string): value is CloseReason {
  return Object.hasOwn(CLOSE_REASONS, value)
}
