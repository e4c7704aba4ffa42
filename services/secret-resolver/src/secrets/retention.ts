import { appendAuditEvent } from '@rap/service-kit'
import type { Sql } from 'postgres'
import { destroyExpired } from './store.ts'

/**
 * Destroys versions whose time for a rollback is over; returns how many, at most a batch.
 * INVARIANT: one transaction with the audit events.
 */
export async function destroyExpiredVersions({
  sql,
  now,
  versionRetentionMs,
}: {
  sql: Sql
  now: () => Date
  versionRetentionMs: number
}): Promise<number> {
  const before = new Date(now().getTime() - versionRetentionMs)
  return await sql.begin(async tx => {
    const destroyed = await destroyExpired(tx, before)
    for (const { secret_ref, organization_id, resource_id, version } of destroyed) {
      await appendAuditEvent(tx, {
        organization_id,
        event: 'resource_secret_version_destroyed',
        actor: { kind: 'service', id: 'secret-resolver' },
        resource_id,
        secret_ref,
        outcome: 'ok',
        details: { version, reason: 'retention' },
      })
    }
    return destroyed.length
  })
}
