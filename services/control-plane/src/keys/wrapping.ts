import {
  ConfiguredSources,
  KeyProviderError,
  KeyRing,
  openLocalKey,
  type SourceLogger,
  singleKeySource,
} from '@rap/key-provider'
import { isProduction } from '@rap/service-kit'

/** A private key at rest, as its column holds it. */
export interface StoredKey {
  /** Which key of the providers wrapped it. */
  readonly key_id: string
  /** Base64. */
  readonly wrapped: string
}

/** Who wraps the private halves of signing keys and authorities at rest. */
export interface KeyWrapping {
  /** The plaintext is still the caller's to zero. `context` is bound: the result opens in its own place alone. */
  wrap(plaintext: Buffer, context: Buffer): Promise<StoredKey>
  /** The caller zeroes the result. Throws KeyProviderError where the key is away, unknown, or the context another. */
  unwrap(stored: StoredKey, context: Buffer): Promise<Buffer>
}

export interface WrappingConfig {
  readonly APP_ENV: Parameters<typeof isProduction>[0]
  readonly CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE?: string | undefined
  readonly CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_ID: string
  readonly CONTROL_PLANE_KEY_PROVIDERS_FILE?: string | undefined
  readonly CONTROL_PLANE_KEY_PROVIDER?: string | undefined
}

/**
 * Opens the configured keys. New keys are wrapped by CONTROL_PLANE_KEY_PROVIDER, or else by
 * CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_ID; every other configured key still opens what it has wrapped.
 * Throws KeyProviderError for a source that is configured wrongly or, as the one that wraps, not at all.
 */
export async function openKeyWrapping(
  config: WrappingConfig,
  logger: SourceLogger,
): Promise<KeyWrapping & { destroy(): void }> {
  const { CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: file, CONTROL_PLANE_KEY_PROVIDERS_FILE: path } = config
  const keyId = config.CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_ID
  const isDevelopment = !isProduction(config.APP_ENV)
  const own =
    file === undefined
      ? []
      : [singleKeySource(await openLocalKey({ keyId, file, allowOpenPermissions: isDevelopment }))]
  const more = path === undefined ? [] : await new ConfiguredSources(path, { isDevelopment, logger }).load()
  const ring = new KeyRing([...own, ...more])
  const wrappingKey = config.CONTROL_PLANE_KEY_PROVIDER ?? keyId
  if (ring.source(wrappingKey) === undefined) {
    ring.destroy()
    throw new KeyProviderError('ERR_KEY_UNKNOWN', 'the key that is to wrap new ones is not configured', {
      key_id: wrappingKey,
    })
  }
  return { ...wrappingBy(ring, wrappingKey), destroy: () => ring.destroy() }
}

/** Wraps with the newest key of one source of a ring, and unwraps with whichever key is named. */
export function wrappingBy(ring: KeyRing, name: string): KeyWrapping {
  return {
    async wrap(plaintext, context) {
      // A source that versions its keys has an id for each of them; any other one has its own name.
      const keyId = (await ring.source(name)?.newestKeyId()) ?? name
      return { key_id: keyId, wrapped: (await ring.wrap(keyId, plaintext, context)).toString('base64') }
    },
    unwrap: ({ key_id: keyId, wrapped }, context) =>
      ring.unwrap({ keyId, wrapped: Buffer.from(wrapped, 'base64') }, context),
  }
}
