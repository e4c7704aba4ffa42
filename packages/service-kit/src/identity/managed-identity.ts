import { createHash } from 'node:crypto'
import { createCsr, type SpiffeKind } from '@rap/pki'
import { followTrustBundles, type HeldTrustBundle } from '@rap/trust-bundle'
import { ProblemError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { catchUp, type EnrolmentOptions, stepsOf } from './enrolment.ts'
import { enrolOnce, enrolPatiently, type FirstCertificateOptions } from './first-certificate.ts'
import { IdentityClient, revocationOf } from './identity-client.ts'
import type { IdentityConfig } from './identity-config.ts'
import { IdentityError } from './identity-error.ts'
import { IdentityMetrics } from './identity-metrics.ts'
import { IdentityStore, type PreparedKey } from './identity-store.ts'
import { checkIssued, type OwnCertificate, ownCertificate } from './issued-certificate.ts'
import { type JoinToken, readJoinToken } from './join-token.ts'
import { IdentityListeners } from './listeners.ts'
import type { ExpectedIdentity } from './own-certificate.ts'
import { PendingWrites } from './pending-writes.ts'
import type {
  IdentityListener,
  IdentityMaterial,
  PlatformIdentity,
  PlatformIdentityOptions,
} from './platform-identity.ts'
import { type RenewalTimes, renewalTimes, retryPause } from './renewal-times.ts'
import { isVouchedFor, readStoredIdentity, type StoredIdentity, storeBundle } from './stored-identity.ts'

const REMEDY = 'put a new join token into RAP_JOIN_TOKEN_FILE'
const RETRY_MS = 5000
const MAX_RETRY_MS = 5 * 60_000
const RENEW_NOW_SPREAD_MS = 5000

type Times = Required<Omit<NonNullable<PlatformIdentityOptions['times']>, 'fileIntervalMs'>>

interface Parts {
  readonly config: IdentityConfig
  readonly expected: ExpectedIdentity
  readonly store: IdentityStore
  readonly logger: Logger
  readonly metrics: IdentityMetrics
  readonly times: Times
}

/**
 * The identity that a service enrols for with a join token and renews by itself, in RAP_IDENTITY_DIR. Design section 5.
 *
 * Throws IdentityError where there is none and none can be had; waits while the control plane cannot be reached.
 */
export async function openManagedIdentity(options: PlatformIdentityOptions): Promise<PlatformIdentity> {
  const { config, kind, id, logger, signal } = options
  const times: Times = {
    now: Date.now,
    random: Math.random,
    retryMs: RETRY_MS,
    maxRetryMs: MAX_RETRY_MS,
    renewNowSpreadMs: RENEW_NOW_SPREAD_MS,
    ...options.times,
  }
  const store = new IdentityStore(config.RAP_IDENTITY_DIR ?? '')
  await store.open()
  const expected = { trustDomain: config.RAP_TRUST_DOMAIN, kind, id }
  const parts = { config, expected, store, logger, metrics: new IdentityMetrics(options.metrics), times }
  const stored = await readStoredIdentity(store, expected)
  const found = stored !== undefined && whyUnusable(stored, times.now()) === undefined ? stored : undefined
  const identity = new ManagedIdentity(parts, found ?? (await firstIdentity(parts, stored, signal)))
  identity.start()
  return identity
}

async function firstIdentity(
  { config, expected, store, logger, times }: Parts,
  stored: StoredIdentity | undefined,
  signal: AbortSignal | undefined,
): Promise<StoredIdentity> {
  const token = await readJoinToken(store, config.RAP_JOIN_TOKEN_FILE)
  if (token === undefined) {
    const reason = stored === undefined ? `${store.identityFile} is not there yet` : whyUnusable(stored, times.now())
    throw new IdentityError('ERR_IDENTITY_ENDED', `${reason}: ${REMEDY}`)
  }
  const id = stored?.certificate.identity.id ?? expected.id
  const options = enrolmentOptions({ config, expected: { ...expected, id }, store, times }, token, signal)
  const enrolled = await enrolPatiently(options, times, logger)
  logger.info(
    { event: 'identity_enrolled', ...describe(enrolled.certificate), name: enrolled.held.bundle.ref },
    'identity enrolled',
  )
  return enrolled
}

function enrolmentOptions(
  { config, expected, store, times }: Pick<Parts, 'config' | 'expected' | 'store' | 'times'>,
  token: JoinToken,
  signal?: AbortSignal,
): FirstCertificateOptions & EnrolmentOptions {
  const { trustDomain } = expected
  return { baseUrl: config.CONTROL_PLANE_URL ?? '', trustDomain, token, now: times.now, signal, store, expected }
}

/** Why nothing can be done with an identity but to enrol anew; undefined for one in order. */
function whyUnusable({ certificate, held }: StoredIdentity, now: number): string | undefined {
  const { notAfter } = certificate
  if (now >= notAfter) return `the certificate ended at ${iso(notAfter)}, and it is ${iso(now)} here`
  if (!isVouchedFor(certificate, held)) return `no root of ${held.bundle.ref} stands above the certificate`
  return undefined
}

class ManagedIdentity implements PlatformIdentity {
  readonly kind: SpiffeKind
  readonly id: string
  readonly certFile: string
  readonly keyFile: string
  readonly caFile: string
  readonly #parts: Parts
  readonly #expected: ExpectedIdentity
  readonly #listeners: IdentityListeners
  readonly #client: IdentityClient
  #certificate: OwnCertificate
  #held: HeldTrustBundle
  #material: IdentityMaterial
  #renewal: RenewalTimes
  /** Told to renew before the time: from when on, by the monotonic clock. */
  #renewFrom: number | undefined
  readonly #writes: PendingWrites
  /** In words, once it is. */
  #revocation: string | undefined
  #failures = 0
  #trouble: string | undefined
  #nextTryAt = 0
  #nextPollAt = 0
  /** Hash of a join token that was tried: it is not tried again. */
  #spentToken: string | undefined
  #running: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: Parts, { certificate, held }: StoredIdentity) {
    const { config, expected, store, logger, times } = parts
    this.kind = expected.kind
    this.id = certificate.identity.id
    this.certFile = store.identityFile
    this.keyFile = store.identityFile
    this.caFile = store.caFile
    this.#parts = parts
    this.#expected = { ...expected, id: this.id }
    this.#listeners = new IdentityListeners(logger)
    this.#certificate = certificate
    this.#held = held
    this.#material = materialOf(certificate, held)
    this.#renewal = renewalTimes(certificate, times.random())
    this.#writes = new PendingWrites(logger)
    this.#client = new IdentityClient({
      baseUrl: config.CONTROL_PLANE_INTERNAL_URL ?? '',
      trustDomain: expected.trustDomain,
      material: this.#material,
      logger,
    })
    parts.metrics.inForceUntil(certificate.notAfter)
  }

  get material(): IdentityMaterial {
    return this.#material
  }

  get isRevoked(): boolean {
    return this.#listeners.isRevoked
  }

  onChange(listener: IdentityListener): void {
    this.#listeners.onChange(listener)
  }

  onRevoked(listener: () => void): void {
    this.#listeners.onRevoked(listener)
  }

  status(): string {
    const now = this.#parts.times.now()
    const { notBefore, notAfter } = this.#certificate
    if (this.#revocation !== undefined) return this.#revocation
    const unusable = whyUnusable(this.#stored, now)
    if (unusable !== undefined) return `${unusable}; ${REMEDY}`
    if (now < notBefore) return `certificate begins at ${iso(notBefore)}; is the clock of this machine right?`
    if (this.#trouble !== undefined && now >= this.#renewal.overdueAt) {
      return `renewal overdue since ${iso(this.#renewal.renewAt)} (${this.#trouble}); certificate ends at ${iso(notAfter)}`
    }
    const { names } = this.#writes
    return names.length === 0 ? 'ok' : `not stored in RAP_IDENTITY_DIR: ${names.join(', ')}`
  }

  /** Begins to poll; the first look is at once, and nobody waits for it. */
  start(): void {
    this.#schedule(0)
  }

  async check(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    await this.#run(true)
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    this.#client.close()
  }

  #schedule(pauseMs: number): void {
    clearTimeout(this.#timer)
    if (this.#isClosed || this.isRevoked) return
    this.#timer = setTimeout(() => void this.#run(false), pauseMs)
    this.#timer.unref()
  }

  async #run(isForced: boolean): Promise<void> {
    if (this.#isClosed || this.isRevoked) return
    this.#running ??= this.#look(isForced).finally(() => {
      this.#running = undefined
      this.#schedule(this.#pause())
    })
    await this.#running
  }

  /** Until the next thing to do, at most a poll away: whatever the clock does, somebody looks again. */
  #pause(): number {
    const until = Math.min(this.#nextPollAt, this.#isRenewalWanted() ? this.#nextTryAt : Number.POSITIVE_INFINITY)
    const untilRenewal = this.#renewal.renewAt - this.#parts.times.now()
    const pause = Math.min(until - performance.now(), untilRenewal > 0 ? untilRenewal : Number.POSITIVE_INFINITY)
    return Math.min(Math.max(pause, 10), this.#pollMs)
  }

  get #pollMs(): number {
    return this.#parts.config.RAP_IDENTITY_POLL_SECONDS * 1000
  }

  /** One look: at the register and the trust bundle, then at the certificate. Nothing that goes wrong gets out of here. */
  async #look(isForced: boolean): Promise<void> {
    await this.#writes.retry()
    await this.#listeners.retry()
    if (this.#isOver()) {
      if (isForced || performance.now() >= this.#nextTryAt) await this.#enrolAnew()
      return
    }
    if (isForced || performance.now() >= this.#nextPollAt) await this.#poll()
    if (this.isRevoked || !this.#isRenewalWanted()) return
    if (isForced || performance.now() >= this.#nextTryAt) await this.#renew()
  }

  /** Whether renewal is out of the question: nobody takes the certificate any more. */
  #isOver(): boolean {
    const { now } = this.#parts.times
    if (now() >= this.#certificate.notAfter) return true
    // Without a root above it the certificate may still be good for the one call that replaces it.
    return this.#failures > 0 && whyUnusable(this.#stored, now()) !== undefined
  }

  get #stored(): StoredIdentity {
    return { certificate: this.#certificate, held: this.#held }
  }

  #isRenewalWanted(): boolean {
    const isTold = this.#renewFrom !== undefined && performance.now() >= this.#renewFrom
    const { now } = this.#parts.times
    return isTold || now() >= this.#renewal.renewAt || whyUnusable(this.#stored, now()) !== undefined
  }

  async #poll(): Promise<void> {
    this.#nextPollAt = performance.now() + this.#pollMs
    const { times, logger } = this.#parts
    try {
      const status = await this.#client.status()
      if (status.trust_bundle_version > this.#held.bundle.version) await this.#follow(status.trust_bundle_version)
      if (!status.renew_now) this.#renewFrom = undefined
      else this.#renewFrom ??= performance.now() + times.random() * times.renewNowSpreadMs
    } catch (error) {
      if (this.#isRevocation(error)) return
      logger.warn({ event: 'identity_poll_failed', err: error }, 'no news of this identity from the control plane')
      // It refuses a certificate whose root was retired by force, and then bundles are what both sides still understand.
      if (!(error instanceof ProblemError) || error.status >= 500) await this.#catchUp()
    }
  }

  async #follow(newest: number): Promise<void> {
    const fetch = (version: number) => this.#client.trustBundle(version)
    await this.#take(await stepsOf(followTrustBundles(this.#held, newest, fetch)))
  }

  /** Takes newer bundles from the public listener: a root that is no longer published is not trusted here for long. */
  async #catchUp(): Promise<void> {
    const { config, times, logger } = this.#parts
    if (config.CONTROL_PLANE_URL === undefined) return
    try {
      await this.#take(await catchUp(this.#held, { baseUrl: config.CONTROL_PLANE_URL, now: times.now }))
    } catch (error) {
      logger.debug({ event: 'trust_bundle_not_followed', err: error }, 'no newer trust bundle')
    }
  }

  async #take(next: HeldTrustBundle): Promise<void> {
    if (next.bundle.version === this.#held.bundle.version) return
    this.#held = next
    this.#parts.logger.info({ event: 'trust_bundle_followed', name: next.bundle.ref }, 'trust bundle followed')
    await this.#writes.write('trust bundle', () => storeBundle(this.#parts.store, next))
    await this.#changed()
  }

  async #renew(): Promise<void> {
    const { store, metrics, logger } = this.#parts
    try {
      // First the key, and room on the disk: what could not be kept is not asked for.
      const prepared = await store.prepare(() => createCsr())
      const answer = await this.#client.renew(prepared.csrPem)
      const certificate = await this.#checked(prepared, answer.certificate)
      await this.#writes.write('identity', () => store.complete(prepared, answer.certificate))
      this.#use(certificate)
      metrics.renewal('renewed')
      logger.info({ event: 'identity_renewed', ...describe(certificate) }, 'identity renewed')
      await this.#changed()
    } catch (error) {
      if (this.#isRevocation(error)) return
      this.#failed(error)
      logger.warn(
        {
          event: 'identity_not_renewed',
          err: error,
          attempt: this.#failures,
          retry_after_ms: Math.round(this.#nextTryAt - performance.now()),
          ends_at: iso(this.#certificate.notAfter),
        },
        'identity not renewed; the old certificate stays in use',
      )
    }
  }

  /** With a certificate that has ended nothing can be asked for: a new join token is what helps, and it may come any time. */
  async #enrolAnew(): Promise<void> {
    const { config, store, logger, times } = this.#parts
    try {
      const token = await readJoinToken(store, config.RAP_JOIN_TOKEN_FILE)
      const hash = token === undefined ? undefined : createHash('sha256').update(token.text).digest('base64')
      if (token === undefined || hash === this.#spentToken) {
        throw new IdentityError('ERR_IDENTITY_ENDED', `${whyUnusable(this.#stored, times.now())}: ${REMEDY}`)
      }
      const enrolled = await enrolOnce(
        enrolmentOptions({ config, expected: this.#expected, store, times }, token),
      ).catch(error => {
        if (error instanceof IdentityError && error.isLasting) this.#spentToken = hash
        throw error
      })
      this.#held = enrolled.held
      this.#use(enrolled.certificate)
      this.#parts.metrics.renewal('renewed')
      logger.info({ event: 'identity_enrolled', ...describe(enrolled.certificate) }, 'identity enrolled anew')
      await this.#changed()
    } catch (error) {
      this.#failed(error)
      logger.error(
        { event: 'identity_ended', err: error },
        'no connection can be made until this service is enrolled anew',
      )
    }
  }

  async #checked({ keyPem }: PreparedKey, chainPem: string): Promise<OwnCertificate> {
    const where = 'the certificate from the control plane'
    const expected = this.#expected
    const certificate = ownCertificate({ keyPem, chainPem }, { expected, where, code: 'ERR_IDENTITY_CERTIFICATE' })
    await checkIssued(certificate, { rootsPem: this.#held.pem, now: this.#parts.times.now() })
    return certificate
  }

  #use(certificate: OwnCertificate): void {
    const { metrics, times } = this.#parts
    this.#certificate = certificate
    this.#renewal = renewalTimes(certificate, times.random())
    this.#renewFrom = undefined
    this.#failures = 0
    this.#trouble = undefined
    this.#nextTryAt = 0
    metrics.inForceUntil(certificate.notAfter)
  }

  #failed(error: unknown): void {
    const { metrics, times } = this.#parts
    this.#failures += 1
    this.#trouble = error instanceof IdentityError || error instanceof ProblemError ? inWords(error) : 'unknown reason'
    this.#nextTryAt = performance.now() + retryPause(this.#failures, times.retryMs, times.maxRetryMs, times.random())
    metrics.renewal('failed')
  }

  /** Takes a revocation for what it is: the end. False for every other error. */
  #isRevocation(error: unknown): boolean {
    this.#revocation = revocationOf(error)
    if (this.#revocation === undefined) return false
    this.#parts.logger.error(
      { event: 'identity_revoked', id: this.id, kind: this.kind, reason: this.#revocation },
      'revoked',
    )
    this.#listeners.revoked()
    return true
  }

  async #changed(): Promise<void> {
    this.#material = materialOf(this.#certificate, this.#held)
    this.#client.setTls(this.#material)
    await this.#listeners.changed(this.#material)
  }
}

function materialOf({ keyPem, chainPem }: OwnCertificate, { pem }: HeldTrustBundle): IdentityMaterial {
  return { cert: chainPem, key: keyPem, ca: pem }
}

function describe({ identity, leaf, notAfter }: OwnCertificate) {
  return {
    identity: `${identity.kind}/${identity.id}`,
    serial_id: leaf.serialNumber.toLowerCase(),
    ends_at: iso(notAfter),
  }
}

function inWords(error: IdentityError | ProblemError): string {
  return error instanceof IdentityError ? error.message : error.code
}

const iso = (time: number): string => new Date(time).toISOString()
