import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Value } from '@sinclair/typebox/value'
import { KeyProviderError } from '../errors.ts'
import type { SourceLogger } from '../logger.ts'
import type { KeySource } from '../source.ts'
import { authMethodOf } from './auth-methods.ts'
import { VaultClient } from './client.ts'
import { readCredential } from './credential-file.ts'
import { VaultConnection } from './exchange.ts'
import { VaultSourceOptions } from './options.ts'
import { TokenRequests } from './token-requests.ts'
import { TokenSession } from './token-session.ts'
import { VaultSource } from './vault-source.ts'

const DEFAULT_TIMEOUT_MS = 5000
const MAX_CA_BYTES = 1024 * 1024

export interface VaultSourceDeps {
  readonly logger?: SourceLogger
  /** Take an `http:` address; for development only, since tokens and data keys travel on it. */
  readonly allowPlainHttp?: boolean
}

/**
 * The keys of one Transit key of a Vault or OpenBao server. Reads and checks the files that are named, and asks the
 * server nothing: log-in happens at the first use.
 *
 * Throws KeyProviderError: ERR_KEY_CONFIGURATION for options out of form or an address without TLS, and
 * ERR_KEY_FILE_UNREADABLE, ERR_KEY_FILE_PERMISSIONS, ERR_KEY_ENCODING for a file.
 */
export async function openVaultSource(options: VaultSourceOptions, deps: VaultSourceDeps): Promise<KeySource> {
  assertForm(options)
  const { name, key, namespace } = options
  const mount = options.mount ?? 'transit'
  const origin = originOf(options, deps.allowPlainHttp === true)
  const ca = options.ca_file === undefined ? undefined : await readAuthorities(options.ca_file)
  const method = authMethodOf(options.auth)
  for (const file of method.files) (await readCredential(file)).fill(0)

  const timeoutMs = options.timeout_ms ?? DEFAULT_TIMEOUT_MS
  const { logger } = deps
  const connection = new VaultConnection({ origin, namespace, ca })
  const requests = new TokenRequests(connection, method, timeoutMs)
  const session = new TokenSession({ source: name, method, requests, logger })
  const client = new VaultClient(name, connection, session, timeoutMs)
  const location = `${origin} ${namespace === undefined ? '' : `${namespace}/`}${mount}/keys/${key}`
  return new VaultSource({ name, place: { mount, key }, location, client, logger })
}

function assertForm(options: VaultSourceOptions): void {
  const error = Value.Errors(VaultSourceOptions, options).First()
  if (error === undefined) return
  // The value is not told: a careless hand may have put a credential there.
  throw new KeyProviderError('ERR_KEY_CONFIGURATION', 'key source of Vault is out of form', { path: error.path })
}

function originOf({ name, address }: VaultSourceOptions, allowPlainHttp: boolean): string {
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url === undefined) {
    throw new KeyProviderError('ERR_KEY_CONFIGURATION', 'address of the Vault server is out of form', { source: name })
  }
  if (url.protocol === 'https:' || allowPlainHttp) return url.origin
  throw new KeyProviderError('ERR_KEY_CONFIGURATION', 'address of the Vault server is without TLS', { source: name })
}

async function readAuthorities(path: string): Promise<Buffer> {
  let pem: Buffer
  try {
    pem = await readFile(path)
  } catch (cause) {
    throw new KeyProviderError('ERR_KEY_FILE_UNREADABLE', 'file of authorities cannot be read', { path }, { cause })
  }
  try {
    if (pem.length > MAX_CA_BYTES) throw new RangeError('too large')
    new X509Certificate(pem)
    return pem
  } catch {
    throw new KeyProviderError('ERR_KEY_FILE_UNREADABLE', 'file of authorities is no PEM certificate', { path })
  }
}
