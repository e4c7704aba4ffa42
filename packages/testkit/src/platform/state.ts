import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Authority, createAuthority, issueCertificate, spiffeId } from '@rap/pki'

/** The trust domain of every platform that this package starts. */
export const TRUST_DOMAIN = 'rap.internal'
const AUTHORITY_DAYS = 3650

/** The services are programs of this repository; they are started, never imported. */
export const SERVICES = join(import.meta.dirname, '../../../../services')

/** What a platform keeps between two starts in the same folder. */
export interface PlatformState {
  readonly masterKeyFile: string
  readonly signingWrapKeyFile: string
  readonly adminPassword: string
  readonly adminPasswordFile: string
  /** What is uploaded to its workers goes with the folder. */
  readonly uploadDir: string
  /** The id of the n-th worker, the same at every start. */
  workerId(index: number): string
}

/** Reads what is there, and makes what is not: keys, the administrator's password, worker ids. */
export function openState(dir: string): PlatformState {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const keep = (name: string, make: () => string) => {
    const file = join(dir, name)
    if (!existsSync(file)) writeFileSync(file, make(), { mode: 0o600 })
    return { file, text: readFileSync(file, 'utf8') }
  }
  const newKey = () => `${randomBytes(32).toString('base64')}\n`
  const admin = keep('admin-password', () => randomBytes(15).toString('base64url'))
  return {
    masterKeyFile: keep('secret-encryption.key', newKey).file,
    signingWrapKeyFile: keep('signing-key-encryption.key', newKey).file,
    adminPassword: admin.text,
    adminPasswordFile: admin.file,
    uploadDir: join(dir, 'uploads'),
    workerId: index => keep(`worker-${index}.id`, randomUUID).text,
  }
}

/** The test authority of this folder, made where there is none. */
export async function openAuthority(dir: string): Promise<{ readonly authority: Authority; readonly caFile: string }> {
  const keyFile = join(dir, 'platform-ca.key')
  const caFile = join(dir, 'platform-ca.pem')
  if (!existsSync(keyFile) || !existsSync(caFile)) {
    const made = await createAuthority({ name: 'RAP platform CA', days: AUTHORITY_DAYS, now: new Date() })
    writeFileSync(keyFile, made.keyPem, { mode: 0o600 })
    writeFileSync(caFile, made.certificatePem)
  }
  return {
    authority: { certificatePem: readFileSync(caFile, 'utf8'), keyPem: readFileSync(keyFile, 'utf8') },
    caFile,
  }
}

export interface CertificateFiles {
  readonly certFile: string
  readonly keyFile: string
}

/**
 * A platform certificate for this machine (`localhost`, 127.0.0.1, ::1) in two files.
 *
 * `kind` and `id` become its SPIFFE ID. It is good for both sides of a connection.
 */
export async function writePlatformCertificate(
  dir: string,
  authority: Authority,
  subject: { readonly kind: 'service' | 'worker'; readonly id: string; readonly dnsNames?: readonly string[] },
): Promise<CertificateFiles> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const { certificatePem, keyPem } = await issueCertificate({
    authority,
    commonName: subject.id,
    dnsNames: ['localhost', ...(subject.dnsNames ?? [])],
    ipAddresses: ['127.0.0.1', '::1'],
    uris: [spiffeId(TRUST_DOMAIN, subject.kind, subject.id)],
    usages: ['server', 'client'],
    now: new Date(),
  })
  const certFile = join(dir, `${subject.id}.pem`)
  const keyFile = join(dir, `${subject.id}.key`)
  writeFileSync(certFile, certificatePem)
  writeFileSync(keyFile, keyPem, { mode: 0o600 })
  return { certFile, keyFile }
}
