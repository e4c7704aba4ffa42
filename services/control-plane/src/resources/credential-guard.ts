/** Names of metadata that hold credentials, without separators and in lower case. */
const CREDENTIAL_NAMES: ReadonlySet<string> = new Set([
  'password',
  'passwd',
  'passphrase',
  'pwd',
  'username',
  'user',
  'login',
  'domain',
  'token',
  'accesstoken',
  'refreshtoken',
  'authtoken',
  'apikey',
  'privatekey',
  'clientsecret',
  'credential',
  'credentials',
  'secret',
])

/**
 * The metadata keys that look like credentials, in the order they were found.
 *
 * Case and the separators `_`, `-`, `.` and space do not hide a name. This function is the one place that decides; a
 * fuller guard replaces its body and nothing else.
 */
export function credentialKeysOf(metadata: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(metadata).filter(key => CREDENTIAL_NAMES.has(key.toLowerCase().replaceAll(/[_\-. ]/g, '')))
}

/** A copy of the metadata without what looks like a credential: what leaves this service, in every APP_ENV. */
export function withoutCredentials(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const hidden = new Set(credentialKeysOf(metadata))
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !hidden.has(key)))
}
