import { setTimeout as delay } from 'node:timers/promises'
import { createCsr } from '@rap/pki'
import type { Logger } from '../log.ts'
import { type EnrolmentOptions, enrol, fetchTrustBundle } from './enrolment.ts'
import { IdentityError } from './identity-error.ts'
import type { IdentityStore } from './identity-store.ts'
import { checkIssued, ownCertificate } from './issued-certificate.ts'
import type { ExpectedIdentity } from './own-certificate.ts'
import { retryPause } from './renewal-times.ts'
import { type StoredIdentity, storeBundle } from './stored-identity.ts'

export interface FirstCertificateOptions extends EnrolmentOptions {
  readonly store: IdentityStore
  readonly expected: ExpectedIdentity
}

/**
 * Enrols once, design section 5: the key is on the disk, and room for its chain, before the token is shown to anybody.
 * What comes back is looked through, and is on the disk when this returns. Throws IdentityError.
 */
export async function enrolOnce(options: FirstCertificateOptions): Promise<StoredIdentity> {
  const { store, expected, now } = options
  const held = await fetchTrustBundle(options)
  await storeBundle(store, held)
  const prepared = await store.prepare(() => createCsr())
  const answer = await enrol(options, held.pem, prepared.csrPem)
  const certificate = ownCertificate(
    { keyPem: prepared.keyPem, chainPem: answer.certificate },
    { expected, where: 'the certificate from the control plane', code: 'ERR_IDENTITY_CERTIFICATE' },
  )
  await checkIssued(certificate, { rootsPem: held.pem, now: now() })
  await store.complete(prepared, answer.certificate)
  return { certificate, held }
}

export interface RetryTimes {
  readonly random: () => number
  readonly retryMs: number
  readonly maxRetryMs: number
}

/**
 * Enrols, and tries again while the control plane cannot be reached: with the same key, so that a token whose answer was
 * lost is still good. Throws IdentityError for everything else, and the reason of `signal`.
 */
export async function enrolPatiently(
  options: FirstCertificateOptions,
  { random, retryMs, maxRetryMs }: RetryTimes,
  logger: Logger,
): Promise<StoredIdentity> {
  for (let failures = 1; ; failures++) {
    try {
      return await enrolOnce(options)
    } catch (error) {
      if (!(error instanceof IdentityError) || error.code !== 'ERR_IDENTITY_UNREACHABLE') throw error
      const pauseMs = retryPause(failures, retryMs, maxRetryMs, random())
      logger.warn(
        { event: 'identity_enrolment_waits', err: error, retry_after_ms: Math.round(pauseMs) },
        'the control plane cannot be reached for the enrolment; trying again',
      )
      await delay(pauseMs, undefined, options.signal === undefined ? {} : { signal: options.signal })
    }
  }
}
