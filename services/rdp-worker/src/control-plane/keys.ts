import { type Logger, remoteKeySet, type TlsMaterial } from '@rap/service-kit'
import type { KeyLookup } from '@rap/token-claims'
import type { Config } from '../config.ts'
import { PemKeys, type SigningKids } from './pem-keys.ts'

/** The keys that tokens are verified with. */
export interface VerificationKeys {
  /** For `verifyToken`. */
  readonly lookup: KeyLookup
  /** 'ok', or what `/readyz` says. */
  status(): string | Promise<string>
  /** False where what the control plane signs now cannot be verified here: then this worker takes no new session. */
  readonly verifiesNewTokens: boolean
  /** Takes the control plane's word which keys sign. */
  learn(signing: SigningKids): void
  close(): void
}

export interface VerificationKeysOptions {
  readonly tls: () => TlsMaterial
  readonly logger: Logger
  /** Told of a token whose key is not configured here. */
  readonly onUnknownKey: () => void
}

/**
 * The control plane's key set, so that keys rotate without anybody's doing, or keys in PEM.
 * Throws where PEM cannot be used: a worker without keys would refuse everybody, and says so at its start.
 */
export async function verificationKeys(config: Config, options: VerificationKeysOptions): Promise<VerificationKeys> {
  const { CONTROL_PLANE_JWKS_URL: url, RDP_WORKER_DATA_PLANE_PUBLIC_KEY_FILE: file } = config
  if (url === undefined) {
    const source = file === undefined ? { text: config.RDP_WORKER_DATA_PLANE_PUBLIC_KEY_PEM ?? '' } : { file }
    return await PemKeys.open({ ...options, source })
  }
  const set = remoteKeySet({ url, tls: options.tls, logger: options.logger })
  return {
    lookup: set.lookup,
    status: async () => ((await set.ready()) ? 'ok' : 'not fetched'),
    verifiesNewTokens: true,
    learn: () => undefined,
    close: () => undefined,
  }
}
