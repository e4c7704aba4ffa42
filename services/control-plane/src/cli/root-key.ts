import { createPrivateKey } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'

/** Largest file that is read, in bytes. */
const MAX_BYTES = 64 * 1024
/** PKCS#8 encryption (RFC 8018, PBES2). */
const CIPHER = 'aes-256-cbc'

/** A key file cannot be used. INVARIANT: it says nothing of what is in the file. */
export class KeyFileError extends Error {
  override readonly name = 'KeyFileError'
  readonly code = 'ERR_KEY_FILE'
  readonly facts: { readonly path: string }
  constructor(message: string, path: string) {
    super(message)
    this.facts = { path }
  }
}

export interface KeyFile {
  readonly path: string
  /** File whose first line is the passphrase of the key. */
  readonly passphraseFile?: string | undefined
}

/** Reads a private key, PEM, as PKCS#8 DER; the caller zeroes it. Throws KeyFileError. */
export async function readKeyFile({ path, passphraseFile }: KeyFile): Promise<Buffer> {
  const pem = await bytesOf(path)
  const passphrase = passphraseFile === undefined ? undefined : await passphraseOf(passphraseFile)
  try {
    // An empty passphrase is wrong for an encrypted key; without one, OpenSSL would ask at the terminal.
    const key = createPrivateKey({ key: pem, passphrase: passphrase ?? Buffer.alloc(0) })
    return key.export({ type: 'pkcs8', format: 'der' })
  } catch {
    throw new KeyFileError('the file holds no private key, or the passphrase is wrong', path)
  } finally {
    pem.fill(0)
    passphrase?.fill(0)
  }
}

/** Writes a private key (PKCS#8 PEM) to a new file that only its owner reads. Throws KeyFileError where there is one already. */
export async function writeKeyFile(pem: string, { path, passphraseFile }: KeyFile): Promise<void> {
  const passphrase = passphraseFile === undefined ? undefined : await passphraseOf(passphraseFile)
  const text =
    passphrase === undefined
      ? pem
      : createPrivateKey(pem).export({ type: 'pkcs8', format: 'pem', cipher: CIPHER, passphrase }).toString()
  passphrase?.fill(0)
  const file = await open(path, 'wx', 0o600).catch(() => {
    throw new KeyFileError('the file cannot be made; it must not exist yet', path)
  })
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Reads a certificate file, PEM. Throws KeyFileError. */
export async function readCertificateFile(path: string): Promise<string> {
  return (await bytesOf(path)).toString('latin1')
}

async function passphraseOf(path: string): Promise<Buffer> {
  const bytes = await bytesOf(path)
  const end = bytes.findIndex(byte => byte === 0x0a || byte === 0x0d)
  const line = bytes.subarray(0, end === -1 ? bytes.length : end)
  if (line.length === 0) throw new KeyFileError('the passphrase is empty', path)
  return line
}

async function bytesOf(path: string): Promise<Buffer> {
  const bytes = await readFile(path).catch(() => {
    throw new KeyFileError('the file cannot be read', path)
  })
  if (bytes.length > MAX_BYTES) throw new KeyFileError('the file is too large', path)
  return bytes
}
