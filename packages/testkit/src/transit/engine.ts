import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { type Answer, badRequest, type Members, notFound, ok } from './answers.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Types that this server has; the real engine has more, which it and this one refuse for other reasons in tests. */
const SYMMETRIC_TYPES = ['aes256-gcm96', 'aes128-gcm96', 'chacha20-poly1305']
const CIPHERS = {
  'aes256-gcm96': { name: 'aes-256-gcm', bytes: 32 },
  'aes128-gcm96': { name: 'aes-128-gcm', bytes: 16 },
  'chacha20-poly1305': { name: 'chacha20-poly1305', bytes: 32 },
} as const
type KeyType = keyof typeof CIPHERS

interface TransitKey {
  readonly name: string
  readonly type: KeyType
  readonly derived: boolean
  readonly convergent: boolean
  exportable: boolean
  plaintextBackup: boolean
  deletionAllowed: boolean
  minDecryptionVersion: number
  minEncryptionVersion: number
  softDeleted: boolean
  /** Version 1 is the first. */
  readonly versions: { readonly key: Buffer; readonly createdAt: number }[]
}

/** A refusal of the engine, with the words of the real one. */
class Refused extends Error {}

/**
 * The Transit engine at one mount: keys with versions, AES-GCM with a key that HKDF-SHA256 derives from a context, and
 * the same refusals in the same order as OpenBao's `builtin/logical/transit` and `sdk/helper/keysutil`.
 */
export class TransitEngine {
  readonly #keys = new Map<string, TransitKey>()
  /** Which versions a datakey request gets: a server that knows no `key_version` there uses its latest. */
  ignoresDataKeyVersion = false

  /** `path` is behind the mount. Undefined where the engine has no such path. */
  handle(method: string, path: string, input: Members): Answer | undefined {
    const [what, first, second, ...rest] = path.split('/')
    if (rest.length > 0 || what === undefined || first === undefined) return undefined
    try {
      if (what === 'keys') return this.#keyRequest(method, first, second, input)
      if (what === 'datakey' && second !== undefined) return write(method, () => this.#dataKey(first, second, input))
      if (second !== undefined) return undefined
      if (what === 'encrypt') return write(method, () => this.#encrypt(first, input))
      if (what === 'decrypt') return write(method, () => this.#decrypt(first, input))
      if (what === 'rewrap') return write(method, () => this.#rewrap(first, input))
      return undefined
    } catch (error) {
      if (error instanceof Refused) return badRequest(error.message)
      throw error
    }
  }

  /** For the access list: a path that would make something needs `create`. */
  exists(path: string): boolean {
    const [, name] = path.split('/')
    return name !== undefined && this.#keys.has(name)
  }

  #keyRequest(method: string, name: string, action: string | undefined, input: Members): Answer | undefined {
    const key = this.#keys.get(name)
    if (action === undefined && method === 'GET') return key === undefined ? notFound() : ok(settingsOf(key))
    if (action === undefined) return write(method, () => this.#create(name, input))
    if (action === 'rotate') return write(method, () => this.#rotate(name))
    if (action === 'config') return write(method, () => this.#configure(name, input))
    if (action === 'soft-delete' && method === 'DELETE') {
      if (key !== undefined) key.softDeleted = true
      return ok(key === undefined ? undefined : settingsOf(key))
    }
    return undefined
  }

  #create(name: string, input: Members): Answer {
    const type = text(input, 'type') || 'aes256-gcm96'
    const derived = flag(input, 'derived') ?? false
    const convergent = flag(input, 'convergent_encryption') ?? false
    if (convergent && !derived) throw new Refused('convergent encryption requires derivation to be enabled')
    if (!isKeyType(type)) throw new Refused(`unknown key type ${type}`)
    const existing = this.#keys.get(name)
    if (existing !== undefined) return { ...ok(settingsOf(existing)), warnings: [`key ${name} already existed`] }
    const key: TransitKey = {
      name,
      type,
      derived,
      convergent,
      exportable: flag(input, 'exportable') ?? false,
      plaintextBackup: flag(input, 'allow_plaintext_backup') ?? false,
      deletionAllowed: false,
      minDecryptionVersion: 1,
      minEncryptionVersion: 0,
      softDeleted: false,
      versions: [newVersion(type)],
    }
    this.#keys.set(name, key)
    return ok(settingsOf(key))
  }

  #rotate(name: string): Answer {
    const key = this.#keys.get(name)
    if (key === undefined) throw new Refused('key not found')
    assertNotDeleted(key)
    key.versions.push(newVersion(key.type))
    return ok(settingsOf(key))
  }

  #configure(name: string, input: Members): Answer {
    const key = this.#keys.get(name)
    if (key === undefined) throw new Refused(`no existing key named ${name} could be found`)
    const latest = key.versions.length
    const decryption = number(input, 'min_decryption_version')
    const encryption = number(input, 'min_encryption_version')
    const minDecryption = Math.max(decryption ?? key.minDecryptionVersion, 1)
    const minEncryption = encryption ?? key.minEncryptionVersion
    for (const [what, version] of [
      ['decryption', minDecryption],
      ['encryption', minEncryption],
    ] as const) {
      if (version > latest) {
        throw new Refused(`cannot set min ${what} version of ${version}, latest key version is ${latest}`)
      }
    }
    if (minEncryption > 0 && minEncryption < minDecryption) {
      throw new Refused(
        `cannot set min encryption/decryption values; min encryption version of ${minEncryption} must be greater than or equal to min decryption version of ${minDecryption}`,
      )
    }
    key.minDecryptionVersion = minDecryption
    key.minEncryptionVersion = minEncryption
    key.deletionAllowed = flag(input, 'deletion_allowed') ?? key.deletionAllowed
    // Once set they stay.
    key.exportable ||= flag(input, 'exportable') ?? false
    key.plaintextBackup ||= flag(input, 'allow_plaintext_backup') ?? false
    return ok(settingsOf(key))
  }

  #encrypt(name: string, input: Members): Answer {
    const plaintext = input.plaintext
    if (plaintext === undefined) throw new Refused('missing plaintext to encrypt')
    const bytes = base64(text(input, 'plaintext'))
    const context = contextOf(input)
    const version = number(input, 'key_version') ?? 0
    // The real engine makes a missing key at its first use, for whom the access list gives `create`.
    if (!this.#keys.has(name)) this.#create(name, { derived: context.length > 0 })
    const key = this.#keyOf(name)
    const used = encryptionVersion(key, version)
    return ok({ ciphertext: seal(key, used, context, bytes), key_version: used })
  }

  #decrypt(name: string, input: Members): Answer {
    const ciphertext = text(input, 'ciphertext')
    if (ciphertext === '') throw new Refused('missing ciphertext to decrypt')
    const context = contextOf(input)
    return ok({ plaintext: unseal(this.#keyOf(name), context, ciphertext).toString('base64') })
  }

  #rewrap(name: string, input: Members): Answer {
    const ciphertext = text(input, 'ciphertext')
    if (ciphertext === '') throw new Refused('missing ciphertext to decrypt')
    const context = contextOf(input)
    const key = this.#keyOf(name)
    const bytes = unseal(key, context, ciphertext)
    const used = encryptionVersion(key, number(input, 'key_version') ?? 0)
    return ok({ ciphertext: seal(key, used, context, bytes), key_version: used })
  }

  #dataKey(form: string, name: string, input: Members): Answer {
    if (form !== 'plaintext' && form !== 'wrapped') throw new Refused("Invalid path, must be 'plaintext' or 'wrapped'")
    const context = contextOf(input)
    const key = this.#keyOf(name)
    const bits = number(input, 'bits') ?? 256
    if (bits !== 128 && bits !== 256 && bits !== 512) throw new Refused('invalid bit length')
    const bytes = randomBytes(bits / 8)
    const used = encryptionVersion(key, this.ignoresDataKeyVersion ? 0 : (number(input, 'key_version') ?? 0))
    const ciphertext = seal(key, used, context, bytes)
    return ok({ ciphertext, key_version: used, ...(form === 'plaintext' && { plaintext: bytes.toString('base64') }) })
  }

  #keyOf(name: string): TransitKey {
    const key = this.#keys.get(name)
    if (key === undefined) throw new Refused('encryption key not found')
    assertNotDeleted(key)
    return key
  }
}

function settingsOf(key: TransitKey): Members {
  const versions = key.versions
    .map((version, index) => [String(index + 1), Math.floor(version.createdAt / 1000)] as const)
    .slice(Math.max(key.minDecryptionVersion, 1) - 1)
  return {
    name: key.name,
    type: key.type,
    derived: key.derived,
    deletion_allowed: key.deletionAllowed,
    min_available_version: 0,
    min_decryption_version: key.minDecryptionVersion,
    min_encryption_version: key.minEncryptionVersion,
    latest_version: key.versions.length,
    exportable: key.exportable,
    allow_plaintext_backup: key.plaintextBackup,
    supports_encryption: true,
    supports_decryption: true,
    supports_signing: false,
    supports_derivation: true,
    auto_rotate_period: 0,
    imported_key: false,
    soft_deleted: key.softDeleted,
    ...(key.derived && { kdf: 'hkdf_sha256', convergent_encryption: key.convergent }),
    keys: Object.fromEntries(versions),
  }
}

function seal(key: TransitKey, version: number, context: Buffer, bytes: Buffer): string {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHERS[key.type].name as 'aes-256-gcm', keyFor(key, version, context), nonce, {
    authTagLength: TAG_BYTES,
  })
  const sealed = Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
  return `vault:v${version}:${sealed.toString('base64')}`
}

function unseal(key: TransitKey, context: Buffer, ciphertext: string): Buffer {
  if (!ciphertext.startsWith('vault:v')) throw new Refused('invalid ciphertext: no prefix')
  const colon = ciphertext.indexOf(':', 7)
  if (colon < 0) throw new Refused('invalid ciphertext: wrong number of fields')
  const said = ciphertext.slice(7, colon)
  if (!/^[+-]?\d+$/.test(said)) throw new Refused('invalid ciphertext: version number could not be decoded')
  const version = Number(said) === 0 ? 1 : Number(said)
  if (version > key.versions.length) throw new Refused('invalid ciphertext: version is too new')
  if (version < key.minDecryptionVersion) {
    throw new Refused('ciphertext or signature version is disallowed by policy (too old)')
  }
  const encoded = ciphertext.slice(colon + 1)
  if (!isBase64(encoded)) throw new Refused('invalid ciphertext: could not decode base64')
  const sealed = Buffer.from(encoded, 'base64')
  const derivedKey = keyFor(key, version, context)
  if (sealed.length < NONCE_BYTES) throw new Refused('invalid ciphertext length')
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw new Refused('cipher: message authentication failed')
  const cipher = CIPHERS[key.type].name as 'aes-256-gcm'
  const decipher = createDecipheriv(cipher, derivedKey, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES)), decipher.final()])
  } catch {
    throw new Refused('cipher: message authentication failed')
  }
}

/** The version's key, or the one that HKDF (RFC 5869, SHA-256, no salt) derives from it with the context as `info`. */
function keyFor(key: TransitKey, version: number, context: Buffer): Buffer {
  const entry = key.versions[version - 1]
  if (entry === undefined) throw new Refused(key.derived ? 'invalid key version' : 'no such key version')
  // A key that is not derived takes any context and ignores it.
  if (!key.derived) return entry.key
  if (context.length === 0) {
    throw new Refused(
      "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request information must be included in order to perform operations with the key",
    )
  }
  return hkdfSha256(entry.key, context).subarray(0, CIPHERS[key.type].bytes)
}

/** The first block of HKDF-SHA256 (RFC 5869) without salt. Node's own takes at most 1024 bytes of `info`. */
export function hkdfSha256(key: Buffer, info: Buffer): Buffer {
  const pseudoRandomKey = createHmac('sha256', Buffer.alloc(32)).update(key).digest()
  return createHmac('sha256', pseudoRandomKey).update(info).update(Buffer.of(1)).digest()
}

function encryptionVersion(key: TransitKey, asked: number): number {
  const latest = key.versions.length
  if (asked === 0) return latest
  if (asked < 0) throw new Refused('requested version for encryption is negative')
  if (asked > latest) throw new Refused('requested version for encryption is higher than the latest key version')
  if (asked < key.minEncryptionVersion) {
    throw new Refused('requested version for encryption is less than the minimum encryption key version')
  }
  return asked
}

function write(method: string, handler: () => Answer): Answer {
  if (method !== 'POST' && method !== 'PUT') return { status: 405, errors: ['unsupported operation'] }
  return handler()
}

function newVersion(type: KeyType): TransitKey['versions'][number] {
  return { key: randomBytes(CIPHERS[type].bytes), createdAt: Date.now() }
}

function isKeyType(type: string): type is KeyType {
  return SYMMETRIC_TYPES.includes(type)
}

function assertNotDeleted(key: TransitKey): void {
  if (key.softDeleted) throw new Refused('refusing to use soft-deleted key')
}

function contextOf(input: Members): Buffer {
  const context = text(input, 'context')
  return context === '' ? Buffer.alloc(0) : base64(context)
}

function base64(value: string): Buffer {
  if (!isBase64(value)) throw new Refused('illegal base64 data at input byte 0')
  return Buffer.from(value, 'base64')
}

function isBase64(value: string): boolean {
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(value)
}

function text(input: Members, name: string): string {
  const value = input[name]
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  throw new Refused(`Field validation failed: error converting input for field "${name}"`)
}

function number(input: Members, name: string): number | undefined {
  const value = input[name]
  if (value === undefined) return undefined
  const parsed = typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value
  if (Number.isInteger(parsed)) return parsed as number
  throw new Refused(`Field validation failed: error converting input for field "${name}"`)
}

function flag(input: Members, name: string): boolean | undefined {
  const value = input[name]
  if (value === undefined) return undefined
  if (value === true || value === 'true') return true
  if (value === false || value === 'false') return false
  throw new Refused(`Field validation failed: error converting input for field "${name}"`)
}
