import type { CredSspErrorCode } from './errors.ts'

export interface NtStatusReason {
  readonly code: CredSspErrorCode
  /** One plain sentence without a full stop. */
  readonly title: string
  /** What a person can do about it. */
  readonly remedy: string
}

/** Wrong user and wrong password read the same on purpose: the difference is for the audit, as `ntStatus`. */
const LOGON_FAILED: NtStatusReason = {
  code: 'ERR_CREDSSP_LOGON_FAILED',
  title: 'The target refused the user name or the password',
  remedy: 'Check the stored user name, domain and password of this resource and store them again.',
}
const PASSWORD_EXPIRED: NtStatusReason = {
  code: 'ERR_CREDSSP_PASSWORD_EXPIRED',
  title: 'The password of the target account has expired',
  remedy: 'Change the password of the account in its directory and store the new one.',
}
const PASSWORD_MUST_CHANGE: NtStatusReason = {
  code: 'ERR_CREDSSP_PASSWORD_MUST_CHANGE',
  title: 'The target account must change its password before the next logon',
  remedy: 'Change the password of the account in its directory and store the new one.',
}
const LOCKED: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCOUNT_LOCKED',
  title: 'The target account is locked',
  remedy: 'Unlock the account or wait for the lockout to end; check for an old password stored elsewhere.',
}
const DISABLED: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCOUNT_DISABLED',
  title: 'The target account is disabled',
  remedy: 'Enable the account in its directory or store another one for this resource.',
}
const EXPIRED: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCOUNT_EXPIRED',
  title: 'The target account has expired',
  remedy: 'Extend the account in its directory or store another one for this resource.',
}
const RESTRICTED: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCOUNT_RESTRICTED',
  title: 'A policy restricts the target account',
  remedy: 'Check that the account has a password and is not in Protected Users, which forbids NTLM.',
}
const LOGON_HOURS: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCOUNT_LOGON_HOURS',
  title: 'The target account may not log on at this hour',
  remedy: 'Try again within the logon hours of the account or change them.',
}
const WORKSTATION: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCOUNT_WORKSTATION',
  title: 'The target account may not log on from this workstation',
  remedy: 'Add the name of the worker to the workstations that the account may log on from.',
}
const LOGON_TYPE: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCOUNT_LOGON_TYPE',
  title: 'The target account may not log on through Remote Desktop',
  remedy: 'Add the account to Remote Desktop Users and check the logon rights of the target.',
}
const SMARTCARD: NtStatusReason = {
  code: 'ERR_CREDSSP_SMARTCARD_REQUIRED',
  title: 'The target account must log on with a smart card',
  remedy: 'Store an account that may log on with a password.',
}
const ACCESS_DENIED: NtStatusReason = {
  code: 'ERR_CREDSSP_ACCESS_DENIED',
  title: 'The target denied access to the account',
  remedy: 'Add the account to Remote Desktop Users on the target.',
}
const FIREWALL: NtStatusReason = {
  code: 'ERR_CREDSSP_AUTHENTICATION_FIREWALL',
  title: 'Selective authentication of a trust blocks the target account',
  remedy: 'Grant the account "Allowed to authenticate" on the computer object of the target.',
}
const NTLM_BLOCKED: NtStatusReason = {
  code: 'ERR_CREDSSP_NTLM_BLOCKED',
  title: 'The target or its domain does not accept NTLM',
  remedy: 'Use Kerberos for this resource or exempt the target from the NTLM restriction.',
}
const NO_LOGON_SERVER: NtStatusReason = {
  code: 'ERR_CREDSSP_NO_LOGON_SERVER',
  title: 'The target cannot reach a domain controller',
  remedy: 'Check the network and the DNS of the target, or store a local account.',
}
const DOMAIN_TRUST: NtStatusReason = {
  code: 'ERR_CREDSSP_DOMAIN_TRUST',
  title: 'The trust between the target and its domain is broken',
  remedy: 'Repair the secure channel of the target or join it to the domain again.',
}
const TIME_SKEW: NtStatusReason = {
  code: 'ERR_CREDSSP_TIME_SKEW',
  title: 'The clocks of the target and of its domain differ too much',
  remedy: 'Synchronise the clocks of the target, the domain controller and the worker.',
}
const CHANNEL_BINDING: NtStatusReason = {
  code: 'ERR_CREDSSP_CHANNEL_BINDING',
  title: 'The target sees another TLS connection than the one the worker made',
  remedy: 'Look for a device between worker and target that replaces the certificate.',
}
const MALFORMED: NtStatusReason = {
  code: 'ERR_CREDSSP_SERVER_ERROR',
  title: 'The target could not process the authentication messages',
  remedy: 'Check the security event log of the target; its policy may demand another mechanism.',
}
const OTHER: NtStatusReason = {
  code: 'ERR_CREDSSP_SERVER_ERROR',
  title: 'The target ended the logon with a status of its own',
  remedy: 'Look the status up in the security event log of the target.',
}

/** The statuses that are explained. Spec: [MS-ERREF] §2.3.1 (NTSTATUS) and §2.1.1 (SEC_E_* of SSPI). */
export const NT_STATUS_REASONS: ReadonlyMap<number, NtStatusReason> = new Map([
  [0xc000006d, LOGON_FAILED], // STATUS_LOGON_FAILURE
  [0xc000006a, LOGON_FAILED], // STATUS_WRONG_PASSWORD
  [0xc0000064, LOGON_FAILED], // STATUS_NO_SUCH_USER
  [0xc0000234, LOCKED], // STATUS_ACCOUNT_LOCKED_OUT
  [0xc0000071, PASSWORD_EXPIRED], // STATUS_PASSWORD_EXPIRED
  [0xc0000224, PASSWORD_MUST_CHANGE], // STATUS_PASSWORD_MUST_CHANGE
  [0xc0000072, DISABLED], // STATUS_ACCOUNT_DISABLED
  [0xc0000193, EXPIRED], // STATUS_ACCOUNT_EXPIRED
  [0xc000006e, RESTRICTED], // STATUS_ACCOUNT_RESTRICTION
  [0xc000006f, LOGON_HOURS], // STATUS_INVALID_LOGON_HOURS
  [0xc0000070, WORKSTATION], // STATUS_INVALID_WORKSTATION
  [0xc000015b, LOGON_TYPE], // STATUS_LOGON_TYPE_NOT_GRANTED
  [0xc0000022, ACCESS_DENIED], // STATUS_ACCESS_DENIED
  [0xc0000413, FIREWALL], // STATUS_AUTHENTICATION_FIREWALL_FAILED
  [0xc0000418, NTLM_BLOCKED], // STATUS_NTLM_BLOCKED
  [0xc000005e, NO_LOGON_SERVER], // STATUS_NO_LOGON_SERVERS
  [0xc0000192, NO_LOGON_SERVER], // STATUS_NETLOGON_NOT_STARTED
  [0xc00002f1, NO_LOGON_SERVER], // STATUS_NO_IP_ADDRESSES
  [0xc0000133, TIME_SKEW], // STATUS_TIME_DIFFERENCE_AT_DC
  [0xc000018a, DOMAIN_TRUST], // STATUS_NO_TRUST_LSA_SECRET
  [0xc000018b, DOMAIN_TRUST], // STATUS_NO_TRUST_SAM_ACCOUNT
  [0xc000018c, DOMAIN_TRUST], // STATUS_TRUSTED_DOMAIN_FAILURE
  [0xc000018d, DOMAIN_TRUST], // STATUS_TRUSTED_RELATIONSHIP_FAILURE
  [0xc00002fa, SMARTCARD], // STATUS_SMARTCARD_LOGON_REQUIRED
  [0xc0000380, SMARTCARD], // STATUS_SMARTCARD_WRONG_PIN
  [0xc0000381, SMARTCARD], // STATUS_SMARTCARD_CARD_BLOCKED
  [0xc0000382, SMARTCARD], // STATUS_SMARTCARD_CARD_NOT_AUTHENTICATED
  [0xc0000383, SMARTCARD], // STATUS_SMARTCARD_NO_CARD
  [0xc0000384, SMARTCARD], // STATUS_SMARTCARD_NO_KEY_CONTAINER
  [0xc0000385, SMARTCARD], // STATUS_SMARTCARD_NO_CERTIFICATE
  [0xc0000386, SMARTCARD], // STATUS_SMARTCARD_NO_KEYSET
  [0xc0000387, SMARTCARD], // STATUS_SMARTCARD_IO_ERROR
  [0xc0000388, NTLM_BLOCKED], // STATUS_DOWNGRADE_DETECTED
  [0xc0000389, SMARTCARD], // STATUS_SMARTCARD_CERT_REVOKED
  [0x80090302, NTLM_BLOCKED], // SEC_E_UNSUPPORTED_FUNCTION
  [0x80090305, NTLM_BLOCKED], // SEC_E_SECPKG_NOT_FOUND
  [0x80090308, MALFORMED], // SEC_E_INVALID_TOKEN
  [0x8009030c, LOGON_FAILED], // SEC_E_LOGON_DENIED
  [0x8009030d, LOGON_FAILED], // SEC_E_UNKNOWN_CREDENTIALS
  [0x8009030e, LOGON_FAILED], // SEC_E_NO_CREDENTIALS
  [0x8009030f, MALFORMED], // SEC_E_MESSAGE_ALTERED
  [0x80090311, NO_LOGON_SERVER], // SEC_E_NO_AUTHENTICATING_AUTHORITY
  [0x80090322, LOGON_FAILED], // SEC_E_WRONG_PRINCIPAL
  [0x80090324, TIME_SKEW], // SEC_E_TIME_SKEW
  [0x8009033e, SMARTCARD], // SEC_E_SMARTCARD_LOGON_REQUIRED
  [0x80090346, CHANNEL_BINDING], // SEC_E_BAD_BINDINGS
  [0x80090350, NTLM_BLOCKED], // SEC_E_DOWNGRADE_DETECTED
  [0x8009035f, NTLM_BLOCKED], // SEC_E_POLICY_NLTM_ONLY
  [0x80090363, MALFORMED], // SEC_E_MUTUAL_AUTH_FAILED
])

/** What the errorCode of a TSRequest means; a status that is not in the table has the code ERR_CREDSSP_SERVER_ERROR. */
export function ntStatusReason(status: number): NtStatusReason {
  return NT_STATUS_REASONS.get(status >>> 0) ?? OTHER
}
