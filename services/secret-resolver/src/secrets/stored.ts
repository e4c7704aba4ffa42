import { type EnvelopePlace, openEnvelope } from './envelope.ts'
import type { KeyWrapPort } from './key-wrap.ts'
import type { StoredSecretRow } from './store.ts'

/** Where a row says that it belongs. */
export function placeOf(
  row: Pick<StoredSecretRow, 'organization_id' | 'resource_id' | 'secret_ref' | 'version'>,
): EnvelopePlace {
  return {
    organizationId: row.organization_id,
    resourceId: row.resource_id,
    secretRef: row.secret_ref,
    version: row.version,
  }
}

/** Opens a stored row at its own place. The caller zeroes what it gets. Throws what `openEnvelope` throws. */
export async function openStored(row: StoredSecretRow, keys: KeyWrapPort): Promise<Buffer> {
  const envelope = {
    ciphertext: row.ciphertext,
    nonce: row.nonce,
    keyId: row.key_id,
    sealedKeyId: row.sealed_key_id,
    algorithm: row.algorithm,
    wrappedDataKey: row.wrapped_data_key,
    payloadSha256: row.payload_sha256,
  }
  return await openEnvelope(envelope, placeOf(row), keys)
}
