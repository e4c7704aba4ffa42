import { certificateThumbprint, openAuthority, type SigningAuthority } from '@rap/pki'
import type { TransactionSql } from '@rap/service-kit'
import { problems } from '../errors.ts'
import type { KeyWrapping, StoredKey } from '../keys/wrapping.ts'
import { type AuthorityRow, listAuthorities } from './store.ts'

/** Every generation, and the one that issues. Throws ProblemError ERR_PLATFORM_CA_UNMANAGED. */
export async function generations(tx: TransactionSql): Promise<{ all: AuthorityRow[]; active: AuthorityRow }> {
  const all = await listAuthorities(tx)
  const active = all.find(({ state }) => state === 'active')
  if (active === undefined) throw problems.ERR_PLATFORM_CA_UNMANAGED()
  return { all, active }
}

/** Which key of a generation; it is bound to the wrapped bytes, so that one moved to another row does not open. */
function contextOf(role: 'root' | 'intermediate', certificatePem: string): Buffer {
  return Buffer.from(`rap-platform-ca-v1\0${role}\0${certificateThumbprint(certificatePem)}`, 'utf8')
}

/** Wraps a private key (PKCS#8 DER) for the row of its certificate; the plaintext is zero afterwards. */
export async function sealAuthorityKey(
  keys: KeyWrapping,
  role: 'root' | 'intermediate',
  { certificatePem, privateKey }: { certificatePem: string; privateKey: Buffer },
): Promise<StoredKey> {
  try {
    return await keys.wrap(privateKey, contextOf(role, certificatePem))
  } finally {
    privateKey.fill(0)
  }
}

/**
 * The root of a generation, able to sign. `given` (PKCS#8 DER) stands in for a key that is kept elsewhere; the caller
 * zeroes it. Throws ProblemError ERR_PLATFORM_CA_ROOT_KEY_ELSEWHERE, PkiError INVALID_KEY for the key of another root.
 */
export async function openRoot(
  keys: KeyWrapping,
  row: Pick<AuthorityRow, 'root_certificate' | 'root_wrapped_key'>,
  given?: Buffer,
): Promise<SigningAuthority> {
  if (given !== undefined) return await openAuthority(row.root_certificate, given)
  if (row.root_wrapped_key === null) {
    throw problems.ERR_PLATFORM_CA_ROOT_KEY_ELSEWHERE({
      detail: 'Take the step with rap-pki, and give it the key of the root: --root-key-file',
    })
  }
  return await open(keys, 'root', row.root_certificate, row.root_wrapped_key)
}

/**
 * The intermediate that issues, able to sign. INVARIANT: its private key is in the clear in the memory of this process
 * only, and there as a key that cannot be exported.
 */
export class Intermediates {
  readonly #keys: KeyWrapping
  #held: { readonly certificatePem: string; readonly authority: SigningAuthority } | undefined

  constructor(keys: KeyWrapping) {
    this.#keys = keys
  }

  async open(row: AuthorityRow): Promise<SigningAuthority> {
    const { intermediate_certificate: certificatePem, intermediate_wrapped_key: key } = row
    if (key === null) throw new Error('a retired generation issues nothing')
    if (this.#held?.certificatePem !== certificatePem) {
      this.#held = { certificatePem, authority: await open(this.#keys, 'intermediate', certificatePem, key) }
    }
    return this.#held.authority
  }
}

async function open(
  keys: KeyWrapping,
  role: 'root' | 'intermediate',
  certificatePem: string,
  key: StoredKey,
): Promise<SigningAuthority> {
  const pkcs8 = await keys.unwrap(key, contextOf(role, certificatePem))
  try {
    return await openAuthority(certificatePem, pkcs8)
  } finally {
    pkcs8.fill(0)
  }
}
