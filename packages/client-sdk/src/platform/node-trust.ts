import { randomUUID, X509Certificate } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { firstTrustBundle, type HeldTrustBundle, nextTrustBundle, parseTrustBundleRef } from '@rap/trust-bundle'
import type { BundleTools, TrustStore } from './types.ts'

/** Largest file of a store that is read, in bytes: whoever writes it must not fill our memory. */
const MAX_STORE_BYTES = 8 * 1024 * 1024
const MAX_CERTIFICATES = 16

function fingerprintsOf(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0 || blocks.length > MAX_CERTIFICATES) throw new TypeError('not 1 to 16 certificates in PEM')
  const certificates = blocks.map(block => new X509Certificate(block))
  if (!certificates.every(({ ca }) => ca)) throw new TypeError('a certificate is not one of an authority')
  return [...new Set(certificates.map(({ fingerprint256 }) => fingerprint256))].sort()
}

/** A directory with one file a bundle's name. Writers replace the file whole, so that any number of processes may share it. */
function openFileStore(directory: string): TrustStore {
  const fileOf = (name: string) => join(directory, `bundle-${encodeURIComponent(name)}.json`)
  return {
    async load(name) {
      const file = await open(fileOf(name), 'r').catch(nothingIfMissing)
      if (file === undefined) return undefined
      try {
        const { size } = await file.stat()
        if (size > MAX_STORE_BYTES) throw new RangeError('file is over the bound')
        return await file.readFile('utf8')
      } finally {
        await file.close()
      }
    },
    async save(name, text) {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const beside = `${fileOf(name)}.${randomUUID()}.tmp`
      try {
        const file = await open(beside, 'wx', 0o600)
        try {
          await file.writeFile(text)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(beside, fileOf(name))
      } catch (error) {
        await rm(beside, { force: true }).catch(() => {})
        throw error
      }
    },
  }
}

function nothingIfMissing(error: unknown): undefined {
  if ((error as { code?: unknown }).code === 'ENOENT') return undefined
  throw error
}

/** Trust bundles in Node. */
export const bundleTools: BundleTools = {
  first: (document, expected) => firstTrustBundle(document, expected),
  next: (held, document) => nextTrustBundle(held as HeldTrustBundle, document),
  parseRef: parseTrustBundleRef,
  fingerprintsOf,
  openFileStore,
}
