import { issueFromCsr, PkiError, type ReadCsr, readCsr, spiffeId } from '@rap/pki'
import type { TransactionSql } from '@rap/service-kit'
import { problems } from '../errors.ts'
import { generations, type Intermediates } from './authorities.ts'
import { isWithin, type RegisteredNames } from './names.ts'
import { type IdentityRow, insertCertificate, namesOf } from './register.ts'
import type { AuthorityRow } from './store.ts'

/** Renewal begins after this part of the life. */
const RENEW_AT = 2 / 3
const HOUR_MS = 3_600_000

export interface IssueDeps {
  readonly intermediates: Intermediates
  readonly trustDomain: string
  /** Life of a certificate, in hours. */
  readonly certificateHours: number
  readonly now: () => Date
}

/** What an enrolment or a renewal brings. */
export interface Issued {
  /** PEM: the leaf, the intermediate, and during a rotation the cross-certificate. */
  readonly certificate: string
  readonly serial: string
  readonly thumbprint: string
  readonly notAfter: Date
  readonly renewAt: Date
}

/**
 * Issues a certificate for a registered identity: its names and its SPIFFE ID are the register's, only the key is the
 * CSR's. Throws ProblemError ERR_PLATFORM_CA_UNMANAGED, ERR_CSR_NAMES.
 *
 * INVARIANT: the identity is locked by the transaction, and the certificate is in the register before anybody gets it.
 */
export async function issueCertificateFor(
  tx: TransactionSql,
  deps: IssueDeps,
  given: { identity: IdentityRow; csr: ReadCsr; reason: 'enrolment' | 'renewal' | 'operator' },
): Promise<Issued> {
  const { identity, csr, reason } = given
  const { kind, id } = identity
  const names = namesOf(identity)
  const uri = spiffeId(deps.trustDomain, kind, id)
  refuseForeignNames(csr, { names, uri, id })
  const { all, active } = await generations(tx)
  const now = deps.now()
  const made = await issueFromCsr({
    issuer: await deps.intermediates.open(active),
    chainPem: chainOf(active, all),
    csr,
    commonName: id,
    ...names,
    uris: [uri],
    usages: ['server', 'client'],
    now,
    notAfter: new Date(now.getTime() + deps.certificateHours * HOUR_MS),
  })
  const { serial, thumbprint, notBefore, notAfter } = made
  await insertCertificate(tx, {
    serial,
    kind,
    identity_id: id,
    generation: active.generation,
    thumbprint,
    reason,
    not_before: notBefore,
    not_after: notAfter,
  })
  const renewAt = new Date(now.getTime() + (notAfter.getTime() - now.getTime()) * RENEW_AT)
  return { certificate: made.certificatePem, serial, thumbprint, notAfter, renewAt }
}

/** Reads the CSR of an identity. Throws ProblemError ERR_CSR_INVALID. */
export async function csrOf(pem: string): Promise<ReadCsr> {
  try {
    return await readCsr(pem)
  } catch (error) {
    if (!(error instanceof PkiError)) throw error
    throw problems.ERR_CSR_INVALID({ detail: error.message })
  }
}

/** A request that asks for another name than the registered ones is a mistake that somebody wants to know of, or an attack. */
function refuseForeignNames(
  csr: ReadCsr,
  { names, uri, id }: { names: RegisteredNames; uri: string; id: string },
): void {
  const isOwn =
    isWithin(csr, names) &&
    csr.uris.every(asked => asked === uri) &&
    (csr.commonName === undefined || csr.commonName === id || names.dnsNames.includes(csr.commonName.toLowerCase()))
  if (!isOwn) throw problems.ERR_CSR_NAMES({ detail: 'The request names more than what is registered' })
}

/**
 * What goes with a leaf: the intermediate, and the cross-certificate while the root before is still published, so that a
 * peer that knows only that one finds a path.
 */
function chainOf(active: AuthorityRow, all: readonly AuthorityRow[]): string {
  const isRotating = all.some(({ generation, state }) => generation !== active.generation && state !== 'retired')
  const cross = isRotating ? active.cross_certificate : null
  return [active.intermediate_certificate, ...(cross === null ? [] : [cross])].map(pem => `${pem.trim()}\n`).join('')
}
