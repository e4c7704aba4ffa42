import { randomBytes, randomUUID } from 'node:crypto'
import type { Sql } from '@rap/service-kit'
import { sealEnvelope } from '../../src/secrets/envelope.ts'
import type { KeyWrapPort } from '../../src/secrets/key-wrap.ts'
import { secretRefOf } from '../../src/secrets/secret-ref.ts'
import { insertVersion, type StoredSecretRow } from '../../src/secrets/store.ts'
import { openStored } from '../../src/secrets/stored.ts'
import { ACTIVE_KEY } from './keys.ts'

/** What a test has stored: the reference and the content that has to come out again. */
export interface Kept {
  readonly secretRef: string
  readonly content: string
}

/** Stores secrets as the service does, without resources behind them. */
export async function keepSecrets(
  sql: Sql,
  keys: KeyWrapPort,
  { count, keyId = ACTIVE_KEY }: { count: number; keyId?: string },
): Promise<Kept[]> {
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const [organizationId, resourceId] = [randomUUID(), randomUUID()]
      const secretRef = secretRefOf(organizationId, resourceId)
      const content = `{"version":1,"password":"${randomBytes(12).toString('hex')}","rotation_version":1}`
      const place = { organizationId, resourceId, secretRef, version: 1 }
      const envelope = await sealEnvelope(Buffer.from(content), place, { keys, keyId })
      await insertVersion(sql, { ...place, envelope, createdBy: organizationId })
      return { secretRef, content }
    }),
  )
}

/** The secrets whose content does not come out as it was stored. */
export async function lostOf(sql: Sql, keys: KeyWrapPort, kept: readonly Kept[]): Promise<string[]> {
  const outcomes = await Promise.all(
    kept.map(async ({ secretRef, content }) => {
      const [row] = await sql<StoredSecretRow[]>`
        select * from secrets.resource_secrets
        where secret_ref = ${secretRef} and superseded_at is null and destroyed_at is null`
      const opened = row === undefined ? '' : (await openStored(row, keys)).toString()
      return opened === content ? [] : [secretRef]
    }),
  )
  return outcomes.flat()
}

/** How many undestroyed secrets each key has. */
export async function countByKey(sql: Sql): Promise<Record<string, number>> {
  const rows = await sql<Pick<StoredSecretRow & { count: number }, 'key_id' | 'count'>[]>`
    select key_id, count(*)::int as count from secrets.resource_secrets where destroyed_at is null group by key_id`
  return Object.fromEntries(rows.map(({ key_id, count }) => [key_id, count]))
}

/** Does something while a row that is still to be wrapped again is locked, so that no runner can come to its end meanwhile. */
export async function withWorkLeft<T>(superuser: Sql, act: () => Promise<T>): Promise<T> {
  const done = await superuser.begin(async tx => {
    await tx`
      select 1 from secrets.resource_secrets
      where destroyed_at is null and key_id <> (select key_id from secrets.master_keys where state = 'active')
      limit 1 for update`
    return { value: await act() }
  })
  return done.value
}
