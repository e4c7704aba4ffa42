import { createHash, X509Certificate } from 'node:crypto'
import { certificatesOf, type Sql, type TransactionSql } from '@rap/service-kit'
import type { SignedTrustBundle } from '@rap/trust-bundle'
import type { EventBy } from '../audit/write.ts'
import type { KeyWrapping } from '../keys/wrapping.ts'
import { Intermediates } from './authorities.ts'
import type { IssueDeps } from './issue.ts'
import { type CaDeps, DEFAULT_REF_NAME } from './rotation.ts'
import { type AuthorityRow, certificatesInForce, listAuthorities, listBundles, newestBundle } from './store.ts'

export interface PlatformCaOptions {
  readonly sql: Sql
  readonly keys: KeyWrapping
  readonly trustDomain: string
  readonly certificateHours: number
  readonly overlapMinutes: number
  /** DATA_PLANE_DIRECT_WORKER_TLS_CA_REF: what candidates say in place of the newest bundle's name. */
  readonly caRef: string | undefined
  /** The certificates of RAP_PLATFORM_CA_FILE as they are now; what is published where the CA is not managed here. */
  readonly fileBundlePem: () => string | undefined
  readonly now?: (() => Date) | undefined
}

/** The bundle as it is published. */
export interface PublishedBundle {
  readonly ref: string
  /** 0 where the CA is not managed here. */
  readonly version: number
  /** PEM. */
  readonly certificates: string
  readonly sha256: string
  /** Null where the CA is not managed here. */
  readonly signed: SignedTrustBundle | null
}

/** The platform CA of this control plane, managed here or brought along in a file. */
export class PlatformCa {
  readonly issuing: IssueDeps
  readonly #options: PlatformCaOptions

  constructor(options: PlatformCaOptions) {
    const { keys, trustDomain, certificateHours, now = () => new Date() } = options
    this.#options = options
    this.issuing = { intermediates: new Intermediates(keys), trustDomain, certificateHours, now }
  }

  /** For a step of the CA's life; `record` appends its audit event. */
  steps(record: (tx: TransactionSql, event: EventBy) => Promise<void>): CaDeps {
    const { sql, keys, trustDomain, overlapMinutes } = this.#options
    return { sql, keys, trustDomain, overlapMinutes, now: this.issuing.now, record }
  }

  /** The newest bundle; undefined where there is neither a managed CA nor a file. */
  async bundle(): Promise<PublishedBundle | undefined> {
    const { sql, caRef, fileBundlePem } = this.#options
    const row = await newestBundle(sql)
    if (row !== undefined) return row
    const certificates = fileBundlePem()
    if (certificates === undefined) return undefined
    const sha256 = createHash('sha256').update(certificates).digest('base64url')
    return { ref: caRef ?? `${DEFAULT_REF_NAME}:v1`, version: 0, certificates, sha256, signed: null }
  }

  /** `tls_ca_ref` of candidates. */
  async candidateRef(): Promise<string> {
    return this.#options.caRef ?? (await this.bundle())?.ref ?? `${DEFAULT_REF_NAME}:v1`
  }

  /** What an administrator sees. */
  async status() {
    const { sql } = this.#options
    const [authorities, bundles, inForce] = await Promise.all([
      listAuthorities(sql),
      listBundles(sql),
      certificatesInForce(sql),
    ])
    return {
      managed: authorities.length > 0,
      bundle_ref: await this.candidateRef(),
      generations: authorities.map(row => generationView(row, inForce.get(row.generation) ?? 0)),
      bundles: bundles.map(({ version, ref, sha256, certificates, created_at }) => ({
        version,
        ref,
        sha256,
        roots: certificatesOf(certificates).map(fingerprintOf),
        created_at: created_at.toISOString(),
      })),
    }
  }
}

function generationView(row: AuthorityRow, certificatesInForce: number) {
  const root = new X509Certificate(row.root_certificate)
  const intermediate = new X509Certificate(row.intermediate_certificate)
  const rootKey = row.root_wrapped_key !== null ? 'wrapped' : row.state === 'retired' ? 'none' : 'elsewhere'
  return {
    generation: row.generation,
    state: row.state,
    root: { ...authorityView(root), key: rootKey as 'wrapped' | 'elsewhere' | 'none' },
    intermediate: authorityView(intermediate),
    certificates_in_force: certificatesInForce,
    created_at: row.created_at.toISOString(),
    activated_at: row.activated_at?.toISOString() ?? null,
    retired_at: row.retired_at?.toISOString() ?? null,
  }
}

function authorityView(certificate: X509Certificate) {
  return {
    subject: certificate.subject,
    sha256: fingerprintOf(certificate),
    not_after: new Date(certificate.validTo).toISOString(),
  }
}

const fingerprintOf = (certificate: X509Certificate) => createHash('sha256').update(certificate.raw).digest('hex')
