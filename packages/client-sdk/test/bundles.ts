import { createHash, createPrivateKey } from 'node:crypto'
import { type Authority, openAuthority } from '@rap/pki'
import { type SignedTrustBundle, signTrustBundle } from '@rap/trust-bundle'
import { type ControlPlaneScript, json, problem } from './helper.ts'

/** One published bundle of a test's platform. */
export interface Published {
  readonly ref: string
  readonly version: number
  readonly certificates: string
  readonly sha256: string
  readonly signed: SignedTrustBundle
}

export interface Publish {
  readonly version: number
  readonly roots: readonly Authority[]
  /** Default: the roots. */
  readonly signers?: readonly Authority[]
  readonly previous?: Published | undefined
  readonly name?: string
}

/** Signs a bundle as a control plane would. */
export async function publish({
  version,
  roots,
  signers = roots,
  previous,
  name = 'rap-platform-ca',
}: Publish): Promise<Published> {
  const ref = `${name}:v${version}`
  const signed = await signTrustBundle(
    {
      ref,
      version,
      trust_domain: 'rap.internal',
      certificates: roots.map(({ certificatePem }) => certificatePem),
      issued_at: new Date().toISOString(),
      previous_sha256: previous?.sha256 ?? null,
    },
    await Promise.all(
      signers.map(({ certificatePem, keyPem }) =>
        openAuthority(certificatePem, createPrivateKey(keyPem).export({ format: 'der', type: 'pkcs8' })),
      ),
    ),
  )
  const sha256 = createHash('sha256').update(Buffer.from(signed.payload, 'base64url')).digest('base64url')
  return { ref, version, certificates: roots.map(root => root.certificatePem).join(''), sha256, signed }
}

/** v1 {a}, v2 {a, b}, v3 {b}: a whole rotation. */
export async function rotation(a: Authority, b: Authority): Promise<[Published, Published, Published]> {
  const v1 = await publish({ version: 1, roots: [a] })
  const v2 = await publish({ version: 2, roots: [a, b], signers: [a, b], previous: v1 })
  const v3 = await publish({ version: 3, roots: [b], signers: [b], previous: v2 })
  return [v1, v2, v3]
}

/** Serves bundles as `GET /v1/trust-bundle` and `GET /v1/trust-bundles/:version`; `asked` holds the paths. */
export function serving(
  published: readonly Published[],
  asked: string[] = [],
): NonNullable<ControlPlaneScript['intercept']> {
  return ({ path }, response) => {
    const [, version] = /^\/v1\/trust-bundle(?:s\/(\d+))?$/.exec(path) ?? []
    if (!path.startsWith('/v1/trust-bundle')) return false
    asked.push(path)
    const found =
      version === undefined ? published.at(-1) : published.find(bundle => bundle.version === Number(version))
    if (found === undefined) problem(response, 404, 'ERR_NOT_FOUND')
    else json(response, { ...found, format: 'pem' })
    return true
  }
}
