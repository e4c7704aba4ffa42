import { randomBytes, randomUUID } from 'node:crypto'
import { KeyRing, openLocalKey, singleKeySource } from '@rap/key-provider'
import type { Sql } from 'postgres'
import { sealEnvelope } from '../../../services/secret-resolver/src/secrets/envelope.ts'
import { secretRefOf } from '../../../services/secret-resolver/src/secrets/secret-ref.ts'

/** Rows of one insert. */
const CHUNK = 1000

/** Stores secrets as the resolver does, but many at once and without resources: what a re-wrap sees of them is the same. */
export async function storeSecrets(
  sql: Sql,
  { count, keyId, keyFile }: { count: number; keyId: string; keyFile: string },
  onProgress: (stored: number) => void,
): Promise<void> {
  const keys = new KeyRing([singleKeySource(await openLocalKey({ keyId, file: keyFile }))])
  for (let stored = 0; stored < count; stored += CHUNK) {
    const rows = await Promise.all(
      Array.from({ length: Math.min(CHUNK, count - stored) }, async () => {
        const [organizationId, resourceId] = [randomUUID(), randomUUID()]
        const place = { organizationId, resourceId, secretRef: secretRefOf(organizationId, resourceId), version: 1 }
        const payload = { version: 1, protocol: 'rdp', username: 'user', password: randomBytes(12).toString('hex') }
        const envelope = await sealEnvelope(Buffer.from(JSON.stringify(payload)), place, { keys, keyId })
        return {
          secret_ref: place.secretRef,
          organization_id: organizationId,
          resource_id: resourceId,
          version: 1,
          ciphertext: envelope.ciphertext,
          nonce: envelope.nonce,
          key_id: keyId,
          sealed_key_id: keyId,
          algorithm: envelope.algorithm,
          wrapped_data_key: envelope.wrappedDataKey,
          payload_sha256: envelope.payloadSha256,
          created_by: organizationId,
        }
      }),
    )
    await sql`insert into secrets.resource_secrets ${sql(rows)}`
    onProgress(stored + rows.length)
  }
  keys.destroy()
}
