import { createCipheriv, createHash, randomBytes, webcrypto } from 'node:crypto'
import { DATA_KEY_BYTES } from '@rap/key-provider'
import { type KeyWrapPort, unwrapKey } from './key-wrap.ts'

/** The one content cipher; stored in every row, so that a second one could be told apart. */
export const ENVELOPE_ALGORITHM = 'AES-256-GCM'
/** NIST SP 800-38D 8.2.2: a random nonce; a data key encrypts once, so the pair is never used twice. */
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Where an envelope belongs. All of it is associated data, so the envelope opens nowhere else. */
export interface EnvelopePlace {
  readonly organizationId: string
  readonly resourceId: string
  readonly secretRef: string
  readonly version: number
}

export interface Envelope {
  /** Encrypted payload with the 16-byte tag at its end. */
  readonly ciphertext: Buffer
  readonly nonce: Buffer
  /** The key that `wrappedDataKey` is wrapped with; a re-wrap changes these two together. */
  readonly keyId: string
  /** The key that was active when the version was written, as it is in the associated data; never changes. */
  readonly sealedKeyId: string
  readonly algorithm: string
  /** The data key as the key provider wrapped it. */
  readonly wrappedDataKey: Buffer
  /** SHA-256 of `ciphertext`, lowercase hex. Over the plaintext it would be an oracle for guessed passwords. */
  readonly payloadSha256: string
}

/** An envelope that does not open. INVARIANT: the message says nothing about the key or the content. */
export class EnvelopeError extends Error {
  override readonly name = 'EnvelopeError'
  readonly code = 'ERR_ENVELOPE_NOT_OPENED'

  constructor(options?: ErrorOptions) {
    super('envelope does not open', options)
  }
}

/**
 * Encrypts one version of a secret under a fresh data key, and the data key under the key `keyId`.
 * The caller zeroes `plaintext`. INVARIANT: the data key is zero when this returns or throws.
 */
export async function sealEnvelope(
  plaintext: Buffer,
  place: EnvelopePlace,
  { keys, keyId }: { keys: Pick<KeyWrapPort, 'generateDataKey'>; keyId: string },
): Promise<Envelope> {
  const { dataKey, wrapped: wrappedDataKey } = await keys.generateDataKey(keyId, dataKeyContext(place, keyId))
  try {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', dataKey, nonce, { authTagLength: TAG_BYTES })
    cipher.setAAD(contextOf('payload', place, keyId))
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
    const payloadSha256 = createHash('sha256').update(ciphertext).digest('hex')
    return {
      ciphertext,
      nonce,
      keyId,
      sealedKeyId: keyId,
      algorithm: ENVELOPE_ALGORITHM,
      wrappedDataKey,
      payloadSha256,
    }
  } finally {
    dataKey.fill(0)
  }
}

/**
 * Opens an envelope at its place. The caller zeroes what it gets.
 * Throws EnvelopeError where anything of it was changed or moved; what the key provider throws about itself (it is
 * not there, it does not answer) passes through. INVARIANT: the data key is zero when this returns or throws.
 */
export async function openEnvelope(envelope: Envelope, place: EnvelopePlace, keys: KeyWrapPort): Promise<Buffer> {
  const { ciphertext, nonce, keyId, sealedKeyId } = envelope
  if (envelope.algorithm !== ENVELOPE_ALGORITHM || nonce.length !== NONCE_BYTES || ciphertext.length <= TAG_BYTES) {
    throw new EnvelopeError()
  }
  const wrapped = { keyId, wrapped: envelope.wrappedDataKey }
  const dataKey = await unwrapKey(keys, wrapped, dataKeyContext(place, sealedKeyId))
  if (dataKey === undefined) throw new EnvelopeError()
  try {
    if (dataKey.length !== DATA_KEY_BYTES) throw new EnvelopeError()
    return await decrypt(ciphertext, dataKey, { nonce, additionalData: contextOf('payload', place, sealedKeyId) })
  } finally {
    dataKey.fill(0)
  }
}

/**
 * WebCrypto and not `createDecipheriv`: that one moves its output to a buffer of the exact size and leaves the first
 * copy of the plaintext in freed memory, where nobody can zero it (`test/memory.test.ts` finds it).
 */
async function decrypt(
  ciphertext: Buffer,
  dataKey: Buffer,
  { nonce, additionalData }: { nonce: Buffer; additionalData: Buffer },
): Promise<Buffer> {
  const { subtle } = webcrypto
  const key = await subtle.importKey('raw', dataKey, 'AES-GCM', false, ['decrypt'])
  const parameters = { name: 'AES-GCM', iv: nonce, additionalData, tagLength: TAG_BYTES * 8 }
  try {
    // A view of what was decrypted, not a copy.
    return Buffer.from(await subtle.decrypt(parameters, key, ciphertext))
  } catch {
    throw new EnvelopeError()
  }
}

/** What a data key is bound to while it is wrapped. */
export function dataKeyContext(place: EnvelopePlace, sealedKeyId: string): Buffer {
  return contextOf('data-key', place, sealedKeyId)
}

/**
 * The canonical bytes of a place and a key: each field behind its length (four bytes, big-endian), a label of the
 * purpose first, so that no two places and no two purposes have the same bytes.
 */
export function contextOf(purpose: 'payload' | 'data-key', place: EnvelopePlace, keyId: string): Buffer {
  const fields = [
    `rap-resource-secret-v1:${purpose}`,
    place.organizationId,
    place.resourceId,
    place.secretRef,
    String(place.version),
    keyId,
  ]
  return Buffer.concat(
    fields.flatMap(field => {
      const bytes = Buffer.from(field, 'utf8')
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length)
      return [length, bytes]
    }),
  )
}
