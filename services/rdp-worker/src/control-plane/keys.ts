import { readFile } from 'node:fs/promises'
import { type Logger, type RemoteKeySet, remoteKeySet, type TlsMaterial } from '@rap/service-kit'
import { keyLookupOfPem } from '@rap/token-claims'
import type { Config } from '../config.ts'

/** Largest PEM file that is read, in bytes. */
const MAX_PEM_BYTES = 16_384

/**
 * The keys that tokens are verified with: the control plane's key set, so that they rotate without a restart, or one PEM key.
 * Throws where the PEM cannot be read: a worker without keys would refuse everybody, and says so at its start.
 */
export async function verificationKeys(config: Config, tls: () => TlsMaterial, logger: Logger): Promise<RemoteKeySet> {
  const { CONTROL_PLANE_JWKS_URL: url, RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE: file } = config
  if (url !== undefined) return remoteKeySet({ url, tls, logger })
  const pem = file === undefined ? (config.RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM ?? '') : await readFile(file, 'utf8')
  if (pem.length > MAX_PEM_BYTES) throw new RangeError('public key file is too large')
  const lookup = await keyLookupOfPem(pem)
  return { lookup, ready: async () => true }
}
