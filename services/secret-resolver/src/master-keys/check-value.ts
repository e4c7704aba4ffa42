import { randomBytes } from 'node:crypto'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'

/** Bytes that are wrapped to know a key again; they protect nothing. */
const CHECK_BYTES = 32

/** Wrapped random bytes: whoever has the key of this id and these bytes opens them, and nobody else. */
export async function createCheckValue(keys: Pick<KeyWrapPort, 'wrap'>, keyId: string): Promise<Buffer> {
  return await keys.wrap(keyId, randomBytes(CHECK_BYTES), contextOf(keyId))
}

/** Throws KeyProviderError where the key is another one than the check value was made with, or cannot be used. */
export async function openCheckValue(
  keys: Pick<KeyWrapPort, 'unwrap'>,
  { keyId, wrapped }: { keyId: string; wrapped: Buffer },
): Promise<void> {
  const bytes = await keys.unwrap({ keyId, wrapped }, contextOf(keyId))
  bytes.fill(0)
}

function contextOf(keyId: string): Buffer {
  return Buffer.from(`rap-master-key-check-v1:${keyId}`, 'ascii')
}
