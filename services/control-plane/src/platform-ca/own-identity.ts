import { createCsr, readCsr } from '@rap/pki'
import { appendAuditEvent, type Logger, type Sql, type TlsMaterial } from '@rap/service-kit'
import { problems } from '../errors.ts'
import { issueCertificateFor } from './issue.ts'
import { registeredNames } from './names.ts'
import type { PlatformCa } from './platform-ca.ts'
import { register } from './register.ts'
import { findActiveAuthority, newestBundle } from './store.ts'

/** The control plane's own name in its SPIFFE ID. */
const SERVICE = 'control-plane'
/** How often the CA is looked at: a step that another instance took counts within this time, in milliseconds. */
const POLL_MS = 2000

export type OwnMaterial = TlsMaterial & { readonly ca: string }

export interface OwnIdentityOptions {
  readonly sql: Sql
  readonly platformCa: PlatformCa
  /** DNS names and addresses that peers and browsers know this instance by. */
  readonly names: readonly string[]
  readonly logger: Logger
  /** New connections in both directions get this from now on. */
  readonly onChange: (material: OwnMaterial) => void
  readonly pollMs?: number
}

export interface OwnIdentity {
  readonly material: OwnMaterial
  /** Looks at the CA now. */
  check(): Promise<void>
  close(): void
}

interface Held {
  readonly material: OwnMaterial
  readonly bundleVersion: number
  readonly intermediate: string
  readonly renewAt: Date
}

/**
 * The certificate that a control plane issues to itself: at its start, at two thirds of its life, and whenever the CA moves on.
 *
 * Throws ProblemError ERR_PLATFORM_CA_UNMANAGED. INVARIANT: the key is in the memory of this process only.
 */
export async function openOwnIdentity(options: OwnIdentityOptions): Promise<OwnIdentity> {
  const { sql, platformCa, logger, onChange, pollMs = POLL_MS } = options
  let held = await issueToSelf(options)
  let isFailing = false
  const check = async (): Promise<void> => {
    const [authority, bundle] = await Promise.all([findActiveAuthority(sql), newestBundle(sql)])
    const isCurrent =
      authority?.intermediate_certificate === held.intermediate &&
      bundle?.version === held.bundleVersion &&
      platformCa.issuing.now() < held.renewAt
    if (isCurrent) return
    const next = await issueToSelf(options)
    onChange(next.material)
    held = next
    logger.info({ event: 'own_certificate_replaced', bundle_version: held.bundleVersion }, 'own certificate replaced')
  }
  const timer = setInterval(() => {
    check().then(
      () => {
        isFailing = false
      },
      error => {
        if (!isFailing)
          logger.error({ event: 'own_certificate_not_replaced', err: error }, 'own certificate not replaced')
        isFailing = true
      },
    )
  }, pollMs)
  timer.unref()
  return {
    get material() {
      return held.material
    },
    check,
    close: () => clearInterval(timer),
  }
}

async function issueToSelf({ sql, platformCa, names }: OwnIdentityOptions): Promise<Held> {
  const { csrPem, keyPem } = await createCsr({ commonName: SERVICE })
  const csr = await readCsr(csrPem)
  return await sql.begin(async tx => {
    const [authority, bundle] = [await findActiveAuthority(tx), await newestBundle(tx)]
    if (authority === undefined || bundle === undefined) {
      throw problems.ERR_PLATFORM_CA_UNMANAGED({ detail: 'Run rap-pki init, or set RAP_TLS_CERT_FILE' })
    }
    const identity = await register(tx, {
      kind: 'service',
      id: SERVICE,
      name: SERVICE,
      labels: {},
      ...registeredNames(namesByKind(names)),
    })
    if (identity === undefined) throw problems.ERR_IDENTITY_REVOKED()
    const issued = await issueCertificateFor(tx, platformCa.issuing, { identity, csr, reason: 'operator' })
    await appendAuditEvent(tx, {
      organization_id: null,
      event: 'identity_certificate_renewed',
      actor: { kind: 'service', id: SERVICE },
      outcome: 'ok',
      details: { serial: issued.serial, thumbprint: issued.thumbprint },
    })
    return {
      material: { cert: issued.certificate, key: keyPem, ca: bundle.certificates },
      bundleVersion: bundle.version,
      intermediate: authority.intermediate_certificate,
      renewAt: issued.renewAt,
    }
  })
}

function namesByKind(names: readonly string[]) {
  const isAddress = (name: string) => /^[\d.]+$/.test(name) || name.includes(':')
  return { dns_names: names.filter(name => !isAddress(name)), ip_addresses: names.filter(isAddress) }
}
