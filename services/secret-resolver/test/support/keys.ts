import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { KeyWrapPort } from '../../src/secrets/key-wrap.ts'

export function testKeys(activeKeyId = 'key-1', others: Record<string, Buffer> = {}): KeyWrapPort {
  const ring: Record<string, Buffer> = { [activeKeyId]: randomBytes(32), ...others }
  return {
    activeKeyId,
    has: id => id in ring,
    async wrap(id, plaintext, context) {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', ring[id]!, nonce).setAAD(context)
      return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
    },
    async unwrap(id, wrapped, context) {
      if (ring[id] === undefined || wrapped.length < 28) return undefined
      const decipher = createDecipheriv('aes-256-gcm', ring[id], wrapped.subarray(0, 12)).setAAD(context)
      decipher.setAuthTag(wrapped.subarray(-16))
      const plaintext = decipher.update(wrapped.subarray(12, -16))
      try {
        decipher.final()
        return plaintext
      } catch {
        return undefined
      }
    },
  }
}

/** Keeps hold of every plaintext buffer that goes through the port, so that a test can see that it was zeroed. */
export function watched(keys: KeyWrapPort): KeyWrapPort & { readonly seen: Buffer[] } {
  const seen: Buffer[] = []
  return {
    seen,
    activeKeyId: keys.activeKeyId,
    has: id => keys.has(id),
    async wrap(id, plaintext, context) {
      seen.push(plaintext)
      return await keys.wrap(id, plaintext, context)
    },
    async unwrap(id, wrapped, context) {
      const plaintext = await keys.unwrap(id, wrapped, context)
      if (plaintext !== undefined) seen.push(plaintext)
      return plaintext
    },
  }
}

export function isZero(buffer: Uint8Array): boolean {
  return buffer.length > 0 && buffer.every(byte => byte === 0)
}
