import { randomBytes } from 'node:crypto'
import { KmsRefusal, type Members } from './answers.ts'
import { assertUsable, type KmsKey, keyIdOf, open, seal } from './keys.ts'

export type KmsOperation = 'Encrypt' | 'Decrypt' | 'GenerateDataKey' | 'DescribeKey'
type Keys = ReadonlyMap<string, KmsKey>

const MAX_PLAINTEXT_BYTES = 4096
const MAX_CIPHERTEXT_BYTES = 6144
const DATA_KEY_BYTES: Readonly<Record<string, number>> = { AES_256: 32, AES_128: 16 }

/** What each operation answers (KMS API reference of 2014-11-01); `Keys` is by ARN. */
export const OPERATIONS: Readonly<Record<KmsOperation, (keys: Keys, input: Members) => Members>> = {
  Encrypt(keys, input) {
    const key = keyOf(keys, input)
    const plaintext = blob(input, 'Plaintext', MAX_PLAINTEXT_BYTES)
    assertUsable(key)
    const sealed = seal(key, plaintext, contextOf(input))
    return { CiphertextBlob: sealed.toString('base64'), EncryptionAlgorithm: key.spec, KeyId: key.arn }
  },
  Decrypt(keys, input) {
    const ciphertext = blob(input, 'CiphertextBlob', MAX_CIPHERTEXT_BYTES)
    const pinned = input.KeyId === undefined ? undefined : keyOf(keys, input)
    const id = keyIdOf(ciphertext)
    const key = [...keys.values()].find(known => known.id === id)
    if (key === undefined)
      throw new KmsRefusal('AccessDeniedException', 'The ciphertext refers to a key that is not here')
    if (pinned !== undefined && pinned !== key) {
      throw new KmsRefusal(
        'IncorrectKeyException',
        'The key ID in the request does not identify a CMK that can perform this operation.',
      )
    }
    assertUsable(key)
    const plaintext = open(key, ciphertext, contextOf(input))
    return { Plaintext: plaintext.toString('base64'), EncryptionAlgorithm: key.spec, KeyId: key.arn }
  },
  GenerateDataKey(keys, input) {
    const key = keyOf(keys, input)
    const size = DATA_KEY_BYTES[String(input.KeySpec)]
    if (size === undefined) throw invalid('KeySpec')
    assertUsable(key)
    const dataKey = randomBytes(size)
    const sealed = seal(key, dataKey, contextOf(input))
    return { Plaintext: dataKey.toString('base64'), CiphertextBlob: sealed.toString('base64'), KeyId: key.arn }
  },
  DescribeKey(keys, input) {
    const key = keyOf(keys, input)
    return {
      KeyMetadata: {
        AWSAccountId: '111122223333',
        Arn: key.arn,
        KeyId: key.id,
        CreationDate: 1_770_000_000.5,
        CustomerMasterKeySpec: key.spec,
        Enabled: key.state === 'Enabled',
        KeyManager: 'CUSTOMER',
        KeySpec: key.spec,
        KeyState: key.state,
        KeyUsage: key.usage,
        MultiRegion: false,
        Origin: 'AWS_KMS',
        ...(key.deletionDate === undefined ? {} : { DeletionDate: key.deletionDate.getTime() / 1000 }),
      },
    }
  },
}

function keyOf(keys: Keys, { KeyId }: Members): KmsKey {
  if (typeof KeyId !== 'string' || KeyId.length < 1 || KeyId.length > 2048) throw invalid('KeyId')
  const key = keys.get(KeyId) ?? [...keys.values()].find(({ id }) => id === KeyId)
  if (key === undefined) throw new KmsRefusal('NotFoundException', `Key '${KeyId}' does not exist`)
  return key
}

function blob(input: Members, name: string, maxBytes: number): Buffer {
  const text = input[name]
  if (typeof text !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) throw invalid(name)
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') !== text || bytes.length > maxBytes) throw invalid(name)
  return bytes
}

function contextOf({ EncryptionContext = {} }: Members): Map<string, string> {
  if (typeof EncryptionContext !== 'object' || EncryptionContext === null) throw invalid('EncryptionContext')
  const pairs = Object.entries(EncryptionContext)
  const isText = ([name, value]: [string, unknown]) => typeof value === 'string' && !name.startsWith('aws:')
  if (!pairs.every(isText) || JSON.stringify(EncryptionContext).length > 8192) throw invalid('EncryptionContext')
  return new Map(pairs as [string, string][])
}

function invalid(member: string): KmsRefusal {
  return new KmsRefusal(
    'ValidationException',
    `1 validation error detected: Value at '${member}' failed to satisfy constraint`,
  )
}
