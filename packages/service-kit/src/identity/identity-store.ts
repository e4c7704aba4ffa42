import { createPrivateKey } from 'node:crypto'
import { type FileHandle, mkdir, open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { IdentityError } from './identity-error.ts'

/** Longest file that is read, in bytes. */
const MAX_FILE_BYTES = 1024 * 1024
/** Size of a file that waits for its certificate, in bytes: room for the longest chain, taken before anything is asked for. */
const RESERVED_BYTES = 32 * 1024
const PRIVATE_FILE = 0o600
const PRIVATE_KEY = /-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END PRIVATE KEY-----\n?/g
const REQUEST = /-----BEGIN CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE REQUEST-----\n?/

/** A new key, and the request for its certificate. */
export interface PreparedKey {
  readonly keyPem: string
  readonly csrPem: string
}

/**
 * The files of RAP_IDENTITY_DIR. One process owns the directory.
 *
 * `identity.pem` is one file, key first and then the chain, and it is replaced as a whole: no moment, and no end of the
 * process or of the machine, leaves a key beside the certificate of another one. `identity.next.pem` holds the key whose
 * certificate is still to come, and becomes `identity.pem`.
 */
export class IdentityStore {
  readonly dir: string
  readonly identityFile: string
  readonly nextFile: string
  readonly bundleFile: string
  readonly caFile: string

  constructor(dir: string) {
    this.dir = dir
    this.identityFile = join(dir, 'identity.pem')
    this.nextFile = join(dir, 'identity.next.pem')
    this.bundleFile = join(dir, 'trust-bundle.json')
    this.caFile = join(dir, 'trust-bundle.pem')
  }

  /** Makes the directory where there is none. Throws IdentityError STORAGE. */
  async open(): Promise<void> {
    await storing(this.dir, async () => {
      await mkdir(this.dir, { recursive: true, mode: 0o700 })
      if (!(await stat(this.dir)).isDirectory()) throw new Error('not a directory')
    })
  }

  /** Text of a file; undefined where there is none. Throws IdentityError STORAGE, and FILE for one that is too large. */
  async read(file: string): Promise<string | undefined> {
    const bytes = await storing(file, async () => {
      let handle: FileHandle
      try {
        handle = await open(file, 'r')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
      try {
        return (await handle.stat()).size > MAX_FILE_BYTES ? null : await handle.readFile()
      } finally {
        await handle.close()
      }
    })
    if (bytes === null) throw new IdentityError('ERR_IDENTITY_FILE', `${file}: too large`, { path: file })
    return bytes?.toString('utf8')
  }

  /**
   * The key that waits for a certificate: the one from an earlier try, whose answer may have been lost, or a new one. It and
   * the room for its chain are on the disk when this returns. Throws IdentityError STORAGE.
   */
  async prepare(make: () => Promise<PreparedKey>): Promise<PreparedKey> {
    const waiting = preparedKeyOf((await this.read(this.nextFile)) ?? '')
    if (waiting !== undefined) return waiting
    const made = await make()
    await this.write(this.nextFile, `${made.keyPem.trimEnd()}\n${made.csrPem.trimEnd()}\n`.padEnd(RESERVED_BYTES, '\n'))
    return made
  }

  /** Makes a prepared key the identity, with its chain. Throws IdentityError STORAGE; what was there is then untouched. */
  async complete({ keyPem }: PreparedKey, chainPem: string): Promise<void> {
    const content = `${keyPem.trimEnd()}\n${chainPem.trimEnd()}\n`
    await storing(this.identityFile, async () => {
      // In place, over the room that was reserved: this write needs no new space on the disk.
      const handle = await open(this.nextFile, 'r+').catch(() => open(this.nextFile, 'w', PRIVATE_FILE))
      try {
        await handle.writeFile(content)
        await handle.truncate(Buffer.byteLength(content))
        await handle.sync()
      } finally {
        await handle.close()
      }
      await this.#rename(this.nextFile, this.identityFile)
    })
  }

  /** Writes a file beside, and puts it in place as a whole. Throws IdentityError STORAGE. */
  async write(file: string, content: string): Promise<void> {
    await storing(file, async () => {
      const beside = `${file}.tmp`
      const handle = await open(beside, 'w', PRIVATE_FILE)
      try {
        await handle.writeFile(content)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await this.#rename(beside, file)
    })
  }

  /** A rename lasts once the directory is on the disk. */
  async #rename(from: string, to: string): Promise<void> {
    await rename(from, to)
    const directory = await open(this.dir, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  }
}

/** Key and chain of an identity file; undefined where it is not exactly one key, followed by certificates. */
export function splitIdentity(pem: string): { readonly keyPem: string; readonly chainPem: string } | undefined {
  const [keyPem, ...more] = pem.match(PRIVATE_KEY) ?? []
  if (keyPem === undefined || more.length > 0 || !pem.startsWith(keyPem)) return undefined
  const chainPem = pem.slice(keyPem.length)
  return chainPem.includes('-----BEGIN CERTIFICATE-----') ? { keyPem, chainPem } : undefined
}

/** A prepared key that can still be used; anything else is made anew. */
function preparedKeyOf(pem: string): PreparedKey | undefined {
  const [keyPem, ...more] = pem.match(PRIVATE_KEY) ?? []
  const csrPem = REQUEST.exec(pem)?.[0]
  if (keyPem === undefined || csrPem === undefined || more.length > 0) return undefined
  try {
    createPrivateKey(keyPem)
    return { keyPem, csrPem }
  } catch {
    return undefined
  }
}

async function storing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    if (cause instanceof IdentityError) throw cause
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new IdentityError('ERR_IDENTITY_STORAGE', `${path}: ${inWords(code)}`, { path, code }, { cause })
  }
}

function inWords(code: string): string {
  const words: Readonly<Record<string, string>> = {
    ENOSPC: 'no space left on the disk',
    EDQUOT: 'the disk quota is used up',
    EACCES: 'this process may not read or write it',
    EPERM: 'this process may not read or write it',
    EROFS: 'the file system is read-only',
  }
  return words[code] ?? `cannot be read or written (${code})`
}
