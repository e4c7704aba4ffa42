import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto'
import { KmsRefusal } from './answers.ts'

export type KmsKeyState = 'Enabled' | 'Disabled' | 'PendingDeletion' | 'PendingImport' | 'Unavailable' | 'Creating'

export interface KmsKey {
  readonly arn: string
  readonly id: string
  readonly spec: string
  readonly usage: string
  state: KmsKeyState
  deletionDate?: Date | undefined
  /** The newest one encrypts; KMS keeps the older ones for ever. */
  readonly backing: Buffer[]
}

const FORMAT = Buffer.from('KMS1')
const ID_BYTES = 36
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEAD_BYTES = FORMAT.length + ID_BYTES + 1

export function newKmsKey(region: string, spec: string, usage: string): KmsKey {
  const id = randomUUID()
  const arn = `arn:aws:kms:${region}:111122223333:key/${id}`
  return { arn, id, spec, usage, state: 'Enabled', backing: [randomBytes(32)] }
}

/** Refuses a key in a state in which the operation is not possible (KMS developer guide, "Key states"). */
export function assertUsable(key: KmsKey): void {
  if (key.usage !== 'ENCRYPT_DECRYPT' || key.spec !== 'SYMMETRIC_DEFAULT') {
    throw new KmsRefusal('InvalidKeyUsageException', `${key.arn} key usage is ${key.usage}`)
  }
  if (key.state === 'Enabled') return
  if (key.state === 'Disabled') throw new KmsRefusal('DisabledException', `${key.arn} is disabled.`)
  throw new KmsRefusal('KMSInvalidStateException', `${key.arn} is ${STATE_WORDS[key.state]}.`)
}

const STATE_WORDS = {
  PendingDeletion: 'pending deletion',
  PendingImport: 'pending import',
  Unavailable: 'unavailable',
  Creating: 'creating',
}

/** AES-256-GCM with the encryption context as associated data; the blob names the key and its backing key. */
export function seal(key: KmsKey, plaintext: Buffer, context: ReadonlyMap<string, string>): Buffer {
  const newest = key.backing.length - 1
  const head = Buffer.concat([FORMAT, Buffer.from(key.id), Buffer.of(newest)])
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key.backing[newest] ?? Buffer.alloc(0), nonce)
  cipher.setAAD(Buffer.concat([head, canonical(context)]))
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  return Buffer.concat([head, nonce, ciphertext, cipher.getAuthTag()])
}

/** The id of the key that a blob names. Throws InvalidCiphertextException. */
export function keyIdOf(blob: Buffer): string {
  if (blob.length <= HEAD_BYTES + NONCE_BYTES + TAG_BYTES || !blob.subarray(0, FORMAT.length).equals(FORMAT))
    throw broken()
  return blob.toString('latin1', FORMAT.length, FORMAT.length + ID_BYTES)
}

export function open(key: KmsKey, blob: Buffer, context: ReadonlyMap<string, string>): Buffer {
  const head = blob.subarray(0, HEAD_BYTES)
  const backing = key.backing[head[HEAD_BYTES - 1] ?? -1]
  if (backing === undefined) throw broken()
  const body = blob.subarray(HEAD_BYTES)
  const decipher = createDecipheriv('aes-256-gcm', backing, body.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAAD(Buffer.concat([head, canonical(context)]))
  decipher.setAuthTag(body.subarray(-TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(body.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
  } catch {
    throw broken()
  }
}

/** The order of the pairs does not count. */
function canonical(context: ReadonlyMap<string, string>): Buffer {
  return Buffer.from(JSON.stringify([...context].sort(([a], [b]) => (a < b ? -1 : 1))))
}

/** The real service says no word about what is wrong with it. */
function broken(): KmsRefusal {
  return new KmsRefusal('InvalidCiphertextException', '')
}
