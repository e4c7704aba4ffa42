/** One way in which a target cannot be logged on to, in words for a person. */
export interface FailureWords {
  readonly title: string
  readonly detail: string
  readonly remedy: string
}

/**
 * Every logon failure, from the name of the target to its licence. docs/operations/logon-failures.md is made from this table.
 *
 * INVARIANT: no text names the target's address, account or certificate; those go into facts, for the audit alone.
 */
export const FAILURES = {
  ERR_TARGET_ADDRESS_INVALID: {
    title: 'The address of the desktop is not valid',
    detail: 'The stored address is not a host and a port.',
    remedy: 'An administrator has to correct the address of this desktop.',
  },
  ERR_TARGET_DNS: {
    title: 'The desktop was not found',
    detail: 'Its name cannot be resolved by the worker.',
    remedy: 'Check the name of this desktop, and the name service of the worker.',
  },
  ERR_TARGET_ADDRESS_NOT_ALLOWED: {
    title: 'The address of the desktop is not allowed',
    detail: 'The worker may not connect to the address that this name resolves to.',
    remedy: 'An administrator can add the network to RDP_WORKER_TARGET_ALLOW of the worker.',
  },
  ERR_TARGET_REFUSED: {
    title: 'The desktop refused the connection',
    detail: 'Nothing listens on its Remote Desktop port.',
    remedy: 'Check that the machine is on and that Remote Desktop is enabled on the stored port.',
  },
  ERR_TARGET_UNREACHABLE: {
    title: 'The desktop cannot be reached',
    detail: 'The network between the worker and the desktop has no way there.',
    remedy: 'Check routes and firewalls between the worker and the desktop.',
  },
  ERR_TARGET_TIMEOUT: {
    title: 'The desktop did not answer in time',
    detail: 'A step of the connection took longer than its limit.',
    remedy: 'Check that the machine is on and that no firewall drops the connection, then try again.',
  },
  ERR_TARGET_CLOSED: {
    title: 'The desktop closed the connection',
    detail: 'It ended the connection before the logon was done.',
    remedy: 'Look into the event log of the desktop; it may be out of sessions or still starting.',
  },
  ERR_TARGET_PROTOCOL: {
    title: 'The desktop does not speak Remote Desktop',
    detail: 'Its answer is not RDP, or is malformed.',
    remedy: 'Check the port of this desktop: another service may listen there.',
  },
  ERR_TARGET_SECURITY_TOO_WEAK: {
    title: 'The desktop offers no TLS',
    detail: 'It speaks plain RDP security only, which RAP never uses.',
    remedy: 'Enable TLS or Network Level Authentication on the desktop.',
  },
  ERR_TARGET_SSL_REQUIRED: {
    title: 'The desktop requires TLS',
    detail: 'It answered SSL_REQUIRED_BY_SERVER to what was offered.',
    remedy: 'Set the security of this desktop to auto or tls.',
  },
  ERR_TARGET_SSL_NOT_ALLOWED: {
    title: 'The desktop does not allow TLS',
    detail: 'It answered SSL_NOT_ALLOWED_BY_SERVER.',
    remedy: 'Set the security layer of the desktop to SSL or Negotiate.',
  },
  ERR_TARGET_NO_CERTIFICATE: {
    title: 'The desktop has no certificate',
    detail: 'It answered SSL_CERT_NOT_ON_SERVER.',
    remedy: 'Install a Remote Desktop certificate on the desktop, or let it make its own.',
  },
  ERR_TARGET_INCONSISTENT_FLAGS: {
    title: 'The desktop refused the negotiation',
    detail: 'It answered INCONSISTENT_FLAGS.',
    remedy: 'Tell your administrator; the desktop expects another kind of client.',
  },
  ERR_TARGET_NLA_REQUIRED: {
    title: 'The desktop requires Network Level Authentication',
    detail: 'It answered HYBRID_REQUIRED_BY_SERVER, but this desktop is set to TLS only.',
    remedy: 'Set the security of this desktop to auto or nla.',
  },
  ERR_TARGET_SMARTCARD_REQUIRED: {
    title: 'The desktop requires a client certificate',
    detail: 'It answered SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER.',
    remedy: 'This kind of logon is not supported; enable Network Level Authentication instead.',
  },
  ERR_TARGET_NLA_NOT_OFFERED: {
    title: 'The desktop does not offer Network Level Authentication',
    detail: 'This desktop is set to NLA only, and the server chose something weaker.',
    remedy: 'Enable Network Level Authentication on the desktop, or set its security to auto.',
  },
  ERR_TARGET_TLS: {
    title: 'The secure connection to the desktop failed',
    detail: 'The TLS handshake with the desktop did not succeed.',
    remedy: 'The desktop has to offer TLS 1.2 or newer with a common cipher suite.',
  },
  ERR_TARGET_CERTIFICATE_UNTRUSTED: {
    title: 'The certificate of the desktop is not trusted',
    detail: 'It does not chain to an authority that is trusted for this desktop. No password was sent.',
    remedy:
      'An administrator can compare its fingerprint with that of the machine and approve it, enrol its authority, or install a certificate of a trusted one.',
  },
  ERR_TARGET_CERTIFICATE_NAME: {
    title: 'The certificate of the desktop is for another name',
    detail: 'Its subject alternative names do not include the stored address. No password was sent.',
    remedy: 'Use a name that the certificate carries as the address, or let an administrator approve the certificate.',
  },
  ERR_TARGET_CERTIFICATE_EXPIRED: {
    title: 'The certificate of the desktop is out of date',
    detail: 'It has expired or is not valid yet. No password was sent.',
    remedy: 'Renew the certificate, and check the clocks of the desktop and of the worker.',
  },
  ERR_TARGET_CERTIFICATE_UNKNOWN: {
    title: 'The certificate of the desktop waits for its approval',
    detail: 'No certificate is approved for this desktop yet. No password was sent.',
    remedy: 'An administrator has to compare its fingerprint with that of the machine, and approve it.',
  },
  ERR_TARGET_CERTIFICATE_MISMATCH: {
    title: 'The certificate of the desktop has changed',
    detail: 'It is not an approved one. No password was sent.',
    remedy:
      'If the change was planned, an administrator can compare the new fingerprint and approve it. If not, treat it as an attack.',
  },
  ERR_TARGET_CERTIFICATE_REJECTED: {
    title: 'The certificate of the desktop is rejected',
    detail: 'An administrator has said that it is not that of this desktop. No password was sent.',
    remedy: 'Find out which machine answers at the stored address.',
  },
  ERR_TARGET_IDENTITY_CHANGED: {
    title: 'The desktop showed another identity than the approved one',
    detail: 'No session starts before an administrator has decided about it. No password was sent.',
    remedy: 'An administrator finds the alarm on the page of this desktop.',
  },
  ERR_TARGET_IDENTITY_UNAVAILABLE: {
    title: 'The identity of the desktop cannot be checked now',
    detail: 'The control plane did not confirm the certificate of the desktop. No password was sent.',
    remedy: 'Try again; if it happens again, tell your administrator.',
  },
  ERR_TARGET_VERIFICATION_MODE: {
    title: 'The certificate check of the desktop is not allowed',
    detail: 'The mode insecure is refused in production.',
    remedy: 'Set certificate_verification_mode to strict, platform_ca or pinned.',
  },
  ERR_TARGET_CREDENTIALS_MISSING: {
    title: 'No account is stored for this desktop',
    detail: 'The logon needs an account and a password.',
    remedy: 'An administrator has to store the account of this desktop.',
  },
  ERR_TARGET_CREDENTIALS_DENIED: {
    title: 'The account of this desktop was not released',
    detail: 'The secret resolver refused the request of the worker.',
    remedy: 'Try again; if it happens again, an administrator finds the reason in the audit.',
  },
  ERR_TARGET_CREDENTIALS_UNAVAILABLE: {
    title: 'The account of this desktop cannot be read now',
    detail: 'The secret resolver did not answer.',
    remedy: 'Try again; if it happens again, tell your administrator.',
  },
  ERR_TARGET_LOGON_FAILED: {
    title: 'The desktop refused the account',
    detail: 'Account name or password is wrong.',
    remedy: 'An administrator has to store the right account and password of this desktop.',
  },
  ERR_TARGET_PUBLIC_KEY_MISMATCH: {
    title: 'Somebody may stand between the worker and the desktop',
    detail: 'The server proved another key than that of its TLS connection. No password was sent.',
    remedy: 'Treat it as an attack until the cause is found.',
  },
  ERR_TARGET_CREDSSP_VERSION: {
    title: 'The desktop speaks an outdated logon protocol',
    detail: 'Its CredSSP version is refused.',
    remedy: 'Install the security updates of the desktop.',
  },
  ERR_TARGET_CREDSSP: {
    title: 'The logon protocol failed',
    detail: 'The desktop answered the logon with a message that is not allowed.',
    remedy: 'Look into the event log of the desktop, and tell your administrator the code.',
  },
  ERR_TARGET_ACCESS_DENIED: {
    title: 'The account may not use Remote Desktop there',
    detail: 'The desktop knows the account and denied it the remote logon.',
    remedy: 'Add the account to the Remote Desktop Users of the desktop.',
  },
  ERR_WORKER_FULL: {
    title: 'The worker has no room',
    detail: 'The worker reached its session limit between the choice and the start.',
    remedy: 'Try again.',
  },
  ERR_WORKER_DRAINING: {
    title: 'The worker is shutting down',
    detail: 'The worker was told to stop between the choice and the start.',
    remedy: 'Try again; another worker takes the session.',
  },
  ERR_WORKER_INTERNAL: {
    title: 'The session could not be started',
    detail: 'The worker met an unexpected failure.',
    remedy: 'Try again; if it happens again, tell your administrator the request id.',
  },
} as const satisfies Record<string, FailureWords>

/** The stable code of a logon failure. */
export type FailureCode = keyof typeof FAILURES

/** True for a code of the table. */
export function isFailureCode(code: string): code is FailureCode {
  return Object.hasOwn(FAILURES, code)
}

/** The code of a logon failure that a target has explained by an NTSTATUS: the area is the target, whatever the protocol. */
export function codeOfCredSsp(code: string): string {
  return code.replace(/^ERR_CREDSSP_/, 'ERR_TARGET_')
}

/** A failure as the control plane and the client get it. */
export interface SessionFailure extends FailureWords {
  readonly code: string
}

/**
 * The target cannot be logged on to. `facts` are for the worker's log and the audit; the client gets `failure` alone.
 *
 * INVARIANT: neither holds a credential.
 */
export class TargetFailure extends Error {
  override readonly name = 'TargetFailure'
  readonly code: string
  readonly failure: SessionFailure
  readonly facts: Readonly<Record<string, string | number | boolean>>

  constructor(
    code: FailureCode,
    facts: Readonly<Record<string, string | number | boolean>> = {},
    options: ErrorOptions & { words?: Partial<SessionFailure> } = {},
  ) {
    super(FAILURES[code].title.toLowerCase(), options.cause === undefined ? undefined : { cause: options.cause })
    this.failure = { code, ...FAILURES[code], ...options.words }
    this.code = this.failure.code
    this.facts = facts
  }
}
