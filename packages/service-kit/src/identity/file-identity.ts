import { X509Certificate } from 'node:crypto'
import type { SpiffeIdentity } from '@rap/pki'
import { type TlsFiles, TlsFilesError, type TlsMaterial, watchTlsFiles } from '../tls.ts'
import { identityFiles } from './identity-config.ts'
import { IdentityError } from './identity-error.ts'
import { IdentityMetrics } from './identity-metrics.ts'
import { IdentityListeners } from './listeners.ts'
import { expectedIdentity, identityText } from './own-certificate.ts'
import type { IdentityMaterial, PlatformIdentity, PlatformIdentityOptions } from './platform-identity.ts'

/** What helps where the files of somebody else are wrong. */
const REMEDY = 'whoever writes RAP_TLS_CERT_FILE, RAP_TLS_KEY_FILE and RAP_PLATFORM_CA_FILE has to put it right'

/**
 * The identity that somebody else writes into files: cert-manager, Vault PKI, step-ca, an administrator. Certificate, key
 * and trust bundle are read again when one of them changes; what is out of order is not taken, and the last good ones stay.
 */
export async function openFileIdentity(options: PlatformIdentityOptions): Promise<PlatformIdentity> {
  const { config, kind, logger, times: { now = Date.now, fileIntervalMs = 5000 } = {} } = options
  const files = identityFiles(config)
  const expected = { trustDomain: config.RAP_TRUST_DOMAIN, kind, id: options.id }
  const listeners = new IdentityListeners(logger)
  const metrics = new IdentityMetrics(options.metrics)
  let trouble: string | undefined
  let material: IdentityMaterial | undefined
  let endsAt = 0

  const take = (next: TlsMaterial): SpiffeIdentity => {
    const certificate = new X509Certificate(next.cert)
    const found = expectedIdentity(certificate, expected)
    if ('received' in found) throw foreign(files, identityText(expected), found.received)
    material = { ...next, ca: next.ca ?? '' }
    endsAt = certificate.validToDate.getTime()
    metrics.inForceUntil(endsAt)
    return found.identity
  }
  const watched = await watchTlsFiles({
    ...files,
    logger,
    intervalMs: fileIntervalMs,
    onLook: error => {
      trouble = error === undefined ? undefined : describe(error)
    },
    onChange: async next => {
      try {
        take(next)
      } catch (error) {
        metrics.renewal('failed')
        throw error
      }
      metrics.renewal('renewed')
      // Refused by a part of the service (a file that changed in between): the next look hands it over again.
      if (material !== undefined && !(await listeners.changed(material))) throw new Error('not taken by all')
    },
  }).catch(error => {
    throw asIdentityError(error)
  })
  let identity: SpiffeIdentity
  try {
    identity = take(watched.material)
  } catch (error) {
    watched.close()
    throw error
  }
  return {
    kind,
    id: identity.id,
    get material() {
      return material as IdentityMaterial
    },
    ...files,
    isRevoked: false,
    onChange: listener => listeners.onChange(listener),
    onRevoked: listener => listeners.onRevoked(listener),
    status() {
      if (now() >= endsAt) return `certificate ended at ${new Date(endsAt).toISOString()}; ${REMEDY}`
      return trouble ?? 'ok'
    },
    check: watched.check,
    close: watched.close,
  }
}

function foreign({ certFile }: TlsFiles, expected: string, received: string): IdentityError {
  return new IdentityError(
    'ERR_IDENTITY_FILE',
    `${certFile} (RAP_TLS_CERT_FILE) carries the identity ${received} and not ${expected}`,
    { path: certFile, expected, received },
  )
}

function describe(error: unknown): string {
  return error instanceof TlsFilesError || error instanceof IdentityError
    ? `changed files are not in use: ${error.message}`
    : 'changed files are not in use'
}

/** A file that cannot be read may be there a moment later; one that is wrong stays wrong. */
function asIdentityError(error: unknown): unknown {
  if (!(error instanceof TlsFilesError)) return error
  const code = error.code === 'ERR_TLS_FILE_UNREADABLE' ? 'ERR_IDENTITY_STORAGE' : 'ERR_IDENTITY_FILE'
  const { path } = error.facts
  return new IdentityError(code, `${path}: ${error.message}; ${REMEDY}`, { path }, { cause: error })
}
