import type { Sql } from '@rap/service-kit'

/** Most workers of one platform; a directory that is cut would take the rest for revoked. */
export const MAX_DIRECTORY_WORKERS = 10_000

export interface DirectoryWorker {
  readonly id: string
  readonly public_url: string
  /** Host names and addresses that an administrator registered; null where the CA is not managed here. */
  readonly names: string[] | null
}

export interface Directory {
  readonly workers: readonly DirectoryWorker[]
  readonly trust_mode: string
  /** RFC 8705 x5t#S256 of certificates that workers may not use any more. */
  readonly revoked_thumbprints: readonly string[]
}

/**
 * Every worker that may be dialled, with the address that it announced over mutual TLS. Throws where there are more than
 * MAX_DIRECTORY_WORKERS.
 */
export async function readDirectory(sql: Sql, trustMode: string): Promise<Directory> {
  const [workers, revoked] = await Promise.all([
    sql<DirectoryWorker[]>`
      select w.id, w.public_url, i.dns_names || i.ip_addresses as names
      from rap.workers w left join rap.identities i on i.kind = 'worker' and i.id = w.id::text
      where w.state = 'active' and i.state is distinct from 'revoked'
      order by w.id limit ${MAX_DIRECTORY_WORKERS + 1}`,
    sql<{ thumbprint: string }[]>`
      select thumbprint from rap.revocations where kind = 'worker' and thumbprint is not null order by thumbprint`,
  ])
  if (workers.length > MAX_DIRECTORY_WORKERS) throw new RangeError('there are more workers than a directory holds')
  return {
    workers: [...workers],
    trust_mode: trustMode,
    revoked_thumbprints: revoked.map(({ thumbprint }) => thumbprint),
  }
}
