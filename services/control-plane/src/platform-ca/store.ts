import type { Sql, TransactionSql } from '@rap/service-kit'
import type { SignedTrustBundle } from '@rap/trust-bundle'
import type { StoredKey } from '../keys/wrapping.ts'

type Db = Sql | TransactionSql

/** Taken by every step of the CA's life, so that of several instances and tools one takes it. */
const CA_LOCK = 'rap.platform_ca'

export type AuthorityState = 'staged' | 'active' | 'superseded' | 'retired'

/** One generation of the platform CA. */
export interface AuthorityRow {
  readonly generation: number
  readonly state: AuthorityState
  readonly root_certificate: string
  /** Null where the root's key is kept elsewhere, or is gone with its generation. */
  readonly root_wrapped_key: StoredKey | null
  readonly intermediate_certificate: string
  readonly intermediate_wrapped_key: StoredKey | null
  /** The root's key certified by the root before it. */
  readonly cross_certificate: string | null
  readonly created_at: Date
  readonly activated_at: Date | null
  readonly retired_at: Date | null
}

export interface BundleRow {
  readonly version: number
  readonly ref: string
  /** PEM. */
  readonly certificates: string
  readonly sha256: string
  readonly signed: SignedTrustBundle
  readonly created_at: Date
}

export async function lockPlatformCa(tx: TransactionSql): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended(${CA_LOCK}, 0))`
}

/** Every generation, the oldest first. */
export async function listAuthorities(db: Db): Promise<AuthorityRow[]> {
  return await db<AuthorityRow[]>`select * from rap.platform_authorities order by generation`
}

/** The generation that issues; none where the CA is not managed here. */
export async function findActiveAuthority(db: Db): Promise<AuthorityRow | undefined> {
  const [row] = await db<AuthorityRow[]>`select * from rap.platform_authorities where state = 'active'`
  return row
}

export async function insertAuthority(
  tx: TransactionSql,
  row: Pick<
    AuthorityRow,
    | 'generation'
    | 'state'
    | 'root_certificate'
    | 'root_wrapped_key'
    | 'intermediate_certificate'
    | 'intermediate_wrapped_key'
    | 'cross_certificate'
  >,
): Promise<void> {
  const key = (stored: StoredKey | null) => (stored === null ? null : tx.json(stored as never))
  await tx`
    insert into rap.platform_authorities (generation, state, root_certificate, root_wrapped_key,
      intermediate_certificate, intermediate_wrapped_key, cross_certificate, activated_at)
    values (${row.generation}, ${row.state}, ${row.root_certificate}, ${key(row.root_wrapped_key)},
      ${row.intermediate_certificate}, ${key(row.intermediate_wrapped_key)}, ${row.cross_certificate},
      ${row.state === 'active' ? tx`now()` : null})`
}

/** Moves a generation to another state; `retired` takes its keys. */
export async function setAuthorityState(tx: TransactionSql, generation: number, state: AuthorityState): Promise<void> {
  if (state === 'retired') {
    await tx`
      update rap.platform_authorities set state = 'retired', retired_at = now(), root_wrapped_key = null,
        intermediate_wrapped_key = null
      where generation = ${generation}`
    return
  }
  await tx`
    update rap.platform_authorities set state = ${state},
      activated_at = case when ${state} = 'active' then now() else activated_at end
    where generation = ${generation}`
}

export async function replaceIntermediate(
  tx: TransactionSql,
  generation: number,
  { certificate, key }: { certificate: string; key: StoredKey },
): Promise<void> {
  await tx`
    update rap.platform_authorities set intermediate_certificate = ${certificate},
      intermediate_wrapped_key = ${tx.json(key as never)}
    where generation = ${generation}`
}

export async function newestBundle(db: Db): Promise<BundleRow | undefined> {
  const [row] = await db<BundleRow[]>`select * from rap.trust_bundles order by version desc limit 1`
  return row
}

export async function findBundle(db: Db, version: number): Promise<BundleRow | undefined> {
  const [row] = await db<BundleRow[]>`select * from rap.trust_bundles where version = ${version}`
  return row
}

export async function listBundles(db: Db): Promise<BundleRow[]> {
  return await db<BundleRow[]>`select * from rap.trust_bundles order by version desc limit 100`
}

export async function insertBundle(tx: TransactionSql, row: Omit<BundleRow, 'created_at'>): Promise<void> {
  await tx`
    insert into rap.trust_bundles (version, ref, certificates, sha256, signed)
    values (${row.version}, ${row.ref}, ${row.certificates}, ${row.sha256}, ${tx.json(row.signed as never)})`
}

/**
 * How many certificates of each generation somebody still stands on: valid, not revoked, not replaced by a renewal. Those
 * of control planes do not count: they follow each step by themselves.
 */
export async function certificatesInForce(db: Db): Promise<Map<number, number>> {
  const rows = await db<{ generation: number; count: number }[]>`
    select c.generation, count(*)::int as count
    from rap.issued_certificates c join rap.identities i on i.kind = c.kind and i.id = c.identity_id
    where c.not_after > now() and c.replaced_at is null and c.revoked_at is null and i.state = 'active'
      and (c.kind, c.identity_id) <> ('service', 'control-plane')
    group by c.generation`
  return new Map(rows.map(({ generation, count }) => [generation, count]))
}
