import { KeyProviderError } from '../errors.ts'
import type { SourceLogger } from '../logger.ts'
import { isKeyId } from '../provider.ts'
import type { KeySource } from '../source.ts'
import { newKmsClient } from './kms-client.ts'
import { AwsKmsKeyProvider } from './kms-key.ts'
import { type AwsKmsSourceOptions, DEFAULT_TIMEOUT_MS, regionOf } from './options.ts'

export interface AwsKmsSourceDeps {
  readonly logger?: SourceLogger | undefined
  /** Development only: an endpoint of plain HTTP. */
  readonly allowPlainHttp?: boolean
}

/**
 * A key in AWS KMS, under the credentials that AWS's SDK finds. The key id is the source's name.
 *
 * Asks nothing yet. KMS rotates a key's material itself and keeps the older ones, so the source has no versions; and a
 * key is made with its policy by AWS's own tools, so there is no `create`. Throws KeyProviderError ERR_KEY_ID_INVALID, and
 * ERR_KEY_CONFIGURATION for an endpoint of plain HTTP and a region that is not the ARN's.
 */
export async function openAwsKmsSource(
  options: AwsKmsSourceOptions,
  { allowPlainHttp = false, logger }: AwsKmsSourceDeps = {},
): Promise<KeySource> {
  const { name, key_arn: keyArn, endpoint } = options
  if (!isKeyId(name)) throw new KeyProviderError('ERR_KEY_ID_INVALID', 'key id is out of form')
  const region = regionOf(keyArn)
  if (options.region !== undefined && options.region !== region) {
    throw configuration('the region is not that of the key', { name, field: 'region' })
  }
  if (endpoint?.startsWith('http:') === true) {
    if (!allowPlainHttp) throw configuration('the endpoint of KMS is not HTTPS', { name, field: 'endpoint' })
    logger?.warn({ name, endpoint }, 'Data keys go to KMS over plain HTTP; for development only')
  }
  const timeoutMs = options.timeout_ms ?? DEFAULT_TIMEOUT_MS
  const client = newKmsClient({ region, endpoint, timeoutMs, allowPlainHttp })
  const provider = new AwsKmsKeyProvider({ keyId: name, keyArn, client, timeoutMs })
  return {
    name,
    key: keyId => (keyId === name ? provider : undefined),
    newestKeyId: async () => name,
    health: () => provider.health(),
    destroy: () => provider.destroy(),
  }
}

function configuration(message: string, facts: Record<string, string>): KeyProviderError {
  return new KeyProviderError('ERR_KEY_CONFIGURATION', message, facts)
}
