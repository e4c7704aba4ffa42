import { createHash, createPrivateKey, constants as cryptoConstants, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Logger } from './log.ts'

/** Certificate chain and key in PEM; `ca` is the trust bundle for the peers of this side. */
export interface TlsMaterial {
  readonly cert: string | Buffer
  readonly key: string | Buffer
  readonly ca?: string | Buffer | undefined
}

export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly caFile?: string | undefined
}

export class TlsFilesError extends Error {
  override readonly name = 'TlsFilesError'
  readonly code: 'ERR_TLS_FILE_UNREADABLE' | 'ERR_TLS_FILE_TOO_LARGE' | 'ERR_TLS_FILE_INVALID' | 'ERR_TLS_KEY_MISMATCH'
  readonly facts: { readonly path: string }

  constructor(code: TlsFilesError['code'], message: string, path: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
    this.facts = { path }
  }
}

/** Suites of TLS 1.2, in OpenSSL's names: forward secrecy and authenticated encryption only. */
export const TLS_1_2_CIPHERS = [
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':')

/** With those of TLS 1.3, which are chosen first by protocol. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  TLS_1_2_CIPHERS,
  // 112 bits: a peer's certificate or chain with RSA under 2048 bits, or signed with SHA-1, is refused.
  '@SECLEVEL=2',
].join(':')

/** What every TLS end of the platform has in common, for `tls.connect`, `https.createServer` and `setSecureContext`. */
export const TLS_DEFAULTS = {
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.3',
  ciphers: CIPHERS,
  honorCipherOrder: true,
  secureOptions: cryptoConstants.SSL_OP_NO_RENEGOTIATION | cryptoConstants.SSL_OP_NO_COMPRESSION,
} as const

/**
 * For servers that read the client certificate: no tickets, so that a session cannot outlive the certificate, the trust
 * bundle or the revocation that its first handshake was checked against.
 */
export const MUTUAL_TLS_DEFAULTS = {
  ...TLS_DEFAULTS,
  secureOptions: TLS_DEFAULTS.secureOptions | cryptoConstants.SSL_OP_NO_TICKET,
} as const

const MAX_TLS_FILE_BYTES = 1024 * 1024

async function readPem(path: string): Promise<Buffer> {
  let bytes: Buffer
  try {
    bytes = await readFile(path)
  } catch (cause) {
    throw new TlsFilesError('ERR_TLS_FILE_UNREADABLE', 'TLS file cannot be read', path, { cause })
  }
  if (bytes.length > MAX_TLS_FILE_BYTES)
    throw new TlsFilesError('ERR_TLS_FILE_TOO_LARGE', 'TLS file is too large', path)
  return bytes
}

function parsed<T>(path: string, parse: () => T): T {
  try {
    return parse()
  } catch {
    // The parser's error is dropped: for a key file it could describe key material.
    throw new TlsFilesError('ERR_TLS_FILE_INVALID', 'TLS file is not valid PEM', path)
  }
}

/** Reads and checks certificate, key and trust bundle; throws TlsFilesError, also when key and certificate are no pair. */
export async function loadTlsFiles({ certFile, keyFile, caFile }: TlsFiles): Promise<TlsMaterial> {
  const [cert, key, ca] = await Promise.all([
    readPem(certFile),
    readPem(keyFile),
    caFile === undefined ? undefined : readPem(caFile),
  ])
  const certificate = parsed(certFile, () => new X509Certificate(cert))
  const privateKey = parsed(keyFile, () => createPrivateKey(key))
  if (ca !== undefined && caFile !== undefined) parsed(caFile, () => new X509Certificate(ca))
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new TlsFilesError('ERR_TLS_KEY_MISMATCH', 'TLS key does not belong to the certificate', keyFile)
  }
  return ca === undefined ? { cert, key } : { cert, key, ca }
}

function digest({ cert, key, ca }: TlsMaterial): string {
  return createHash('sha256')
    .update(cert)
    .update('\0')
    .update(key)
    .update('\0')
    .update(ca ?? '')
    .digest('base64')
}

export interface WatchTlsOptions extends TlsFiles {
  logger: Logger
  /** Called with new, checked material; the old one stays in use when it throws. */
  onChange: (material: TlsMaterial) => void | Promise<void>
  /** Called after each look: with what is wrong with the files, or with undefined. */
  onLook?: (error: unknown) => void
  /** Time between two looks at the files, in milliseconds. */
  intervalMs?: number
}

/**
 * Loads the files and calls `onChange` whenever their content changes.
 *
 * The content is compared at intervals: file system notices are lost when a directory is swapped by symbolic link, as
 * Kubernetes does with mounted secrets. A half-written pair is skipped, and the next look finds it whole.
 */
export async function watchTlsFiles(
  options: WatchTlsOptions,
): Promise<{ material: TlsMaterial; check: () => Promise<void>; close: () => void }> {
  const { logger, onChange, onLook, intervalMs = 5000 } = options
  const material = await loadTlsFiles(options)
  let current = digest(material)
  let lastFailure: string | undefined
  const check = async () => {
    try {
      const next = await loadTlsFiles(options)
      const nextDigest = digest(next)
      if (nextDigest === current) {
        lastFailure = undefined
        onLook?.(undefined)
        return
      }
      await onChange(next)
      current = nextDigest
      lastFailure = undefined
      onLook?.(undefined)
      logger.info({ event: 'tls_files_reloaded', path: options.certFile }, 'TLS files reloaded')
    } catch (error) {
      const failure = error instanceof TlsFilesError ? error.code : 'other'
      if (failure !== lastFailure)
        logger.warn({ event: 'tls_files_not_reloaded', err: error }, 'TLS files not reloaded')
      lastFailure = failure
      onLook?.(error)
    }
  }
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  const schedule = () => {
    timer = setTimeout(() => {
      void check().finally(() => {
        if (!isClosed) schedule()
      })
    }, intervalMs)
    timer.unref()
  }
  schedule()
  return {
    material,
    check,
    close: () => {
      isClosed = true
      clearTimeout(timer)
    },
  }
}
