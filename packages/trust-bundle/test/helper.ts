import { createPrivateKey, createPublicKey, webcrypto } from 'node:crypto'
import { createRoot, openAuthority, type SigningAuthority } from '@rap/pki'
import { type HeldTrustBundle, type SignedTrustBundle, signTrustBundle, type TrustBundle } from '../src/index.ts'

export const now = new Date('2026-11-22T10:00:00Z')
export const DAY_MS = 86_400_000
export const NAME = 'rap-platform-ca'

export type TestRoot = SigningAuthority & { readonly pkcs8: Buffer }

export async function newRoot(name: string, options: { days?: number; now?: Date } = {}): Promise<TestRoot> {
  const { certificatePem, privateKey } = await createRoot({ name, days: 3650, now, ...options })
  return { ...(await openAuthority(certificatePem, privateKey)), pkcs8: privateKey }
}

/** A bundle of these roots after `previous`, or the first; `changed` makes it another than it should be. */
export function bundleOf(
  roots: readonly { certificatePem: string }[],
  previous?: HeldTrustBundle,
  changed: Partial<TrustBundle> = {},
): TrustBundle {
  const version = changed.version ?? (previous?.bundle.version ?? 0) + 1
  return {
    ref: `${NAME}:v${version}`,
    version,
    trust_domain: 'rap.internal',
    certificates: roots.map(({ certificatePem }) => certificatePem),
    issued_at: now.toISOString(),
    previous_sha256: previous?.sha256 ?? null,
    ...changed,
  }
}

export const publish = async (
  roots: readonly TestRoot[],
  signers: readonly TestRoot[],
  previous?: HeldTrustBundle,
  changed?: Partial<TrustBundle>,
): Promise<SignedTrustBundle> => await signTrustBundle(bundleOf(roots, previous, changed), signers)

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value), 'utf8').toString('base64url')

/** A signature that this package would not make: any header, any payload, ES384. */
export async function forge(
  payload: unknown,
  header: unknown,
  root: TestRoot,
): Promise<SignedTrustBundle['signatures'][number] & { payload: string }> {
  const [encoded, protectedHeader] = [encode(payload), encode(header)]
  const input = Buffer.from(`${protectedHeader}.${encoded}`, 'ascii')
  const signature = await webcrypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-384' }, root.privateKey, input)
  return { payload: encoded, protected: protectedHeader, signature: Buffer.from(signature).toString('base64url') }
}

/** HMAC over the public key as its text: what a verifier that lets the header choose would accept. */
export async function hmacWithPublicKey(payload: string, protectedHeader: string, root: TestRoot): Promise<string> {
  const key = createPrivateKey({ key: root.pkcs8, format: 'der', type: 'pkcs8' })
  const text = Buffer.from(createPublicKey(key).export({ format: 'pem', type: 'spki' }).toString())
  const hmac = await webcrypto.subtle.importKey('raw', text, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  const input = Buffer.from(`${protectedHeader}.${payload}`, 'ascii')
  return Buffer.from(await webcrypto.subtle.sign('HMAC', hmac, input)).toString('base64url')
}
