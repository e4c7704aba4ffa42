import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/** The file is read again after this, so that a new bundle is in force without a restart, in milliseconds. */
const MAX_AGE_MS = 5000
const MAX_BUNDLE_BYTES = 1024 * 1024

/** The platform CA's certificates, from a file that may change. */
export class TrustBundle {
  readonly #path: string
  #held: { readonly pem: string; readonly readAt: number } | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** PEM of the bundle. A file that has become unreadable leaves the last good one in force; throws where there is none. */
  async read(): Promise<string> {
    const now = performance.now()
    if (this.#held !== undefined && now - this.#held.readAt < MAX_AGE_MS) return this.#held.pem
    try {
      const bytes = await readFile(this.#path)
      if (bytes.length > MAX_BUNDLE_BYTES) throw new RangeError('trust bundle is too large')
      const pem = bytes.toString('utf8')
      // An empty or broken bundle would make Node fall back to its built-in authorities, or fail at every dial.
      new X509Certificate(pem)
      this.#held = { pem, readAt: now }
    } catch (error) {
      if (this.#held === undefined) throw error
      this.#held = { pem: this.#held.pem, readAt: now }
    }
    return this.#held.pem
  }
}
