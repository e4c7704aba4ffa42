import { KeyProviderError, type KeySource } from '@rap/key-provider'
import { appendAuditEvent } from '@rap/service-kit'
import type { Sql } from 'postgres'
import type { KeyWrapPort } from '../secrets/key-wrap.ts'
import { type KeyActor, keyEvent, SERVICE_ACTOR } from './audit.ts'
import { createCheckValue } from './check-value.ts'
import { instancesWithout } from './instances.ts'
import {
  activate,
  completeMasterKey,
  insertMasterKey,
  lockRotation,
  selectActiveKey,
  selectMasterKey,
} from './store.ts'

export interface KeyDeps {
  readonly sql: Sql
  readonly keys: KeyWrapPort
}

/** Makes a key of a source known, with its check value; a key that is known stays as it is. Throws KeyProviderError. */
export async function registerKey(keyId: string, source: KeySource, { sql, keys }: KeyDeps): Promise<void> {
  const [known] = await selectMasterKey(sql, keyId)
  if (known !== undefined && known.check_value !== null) return
  const key = { key_id: keyId, source: source.name, check_value: await createCheckValue(keys, keyId) }
  await insertMasterKey(sql, key)
  await completeMasterKey(sql, key)
}

/** A source that cannot be used now. */
export interface SourceTrouble {
  readonly event: 'key_source_unusable'
  readonly name: string
  readonly reason: string
  readonly err: Error
}

/** Told of sources that cannot be used; a service's logger fits. */
export interface SourceTroubleLogger {
  warn(trouble: SourceTrouble, message: string): void
}

/**
 * Makes the newest key of every source known; answers the names of the sources that can be used now. One that cannot is
 * logged and left for the next time: whether something needs it is another question (`refuseUnusableKeys`).
 */
export async function registerSources({
  sql,
  keys,
  logger,
}: KeyDeps & { readonly logger: SourceTroubleLogger }): Promise<string[]> {
  const usable = await Promise.all(
    keys.sources.map(async source => {
      try {
        await registerKey(await source.newestKeyId(), source, { sql, keys })
        return [source.name]
      } catch (err) {
        if (!(err instanceof KeyProviderError)) throw err
        logger.warn({ event: 'key_source_unusable', name: source.name, reason: err.code, err }, 'key source unusable')
        return []
      }
    }),
  )
  return usable.flat()
}

/** What `activateConfigured` did; the words are for the log. */
export type Activation = 'active_already' | 'activated' | 'waits_for_instances' | 'was_active_before'

/**
 * Lets the environment's word on the active key come true, once for each key: a key that has never been active becomes it
 * as soon as every running resolver has its source. A key that a later one has taken the place of stays what it is; going
 * back to it is `rap-secrets rotate-key`'s business.
 */
export async function activateConfigured(
  sourceName: string,
  { sql, keys }: KeyDeps,
  actor: KeyActor = SERVICE_ACTOR,
): Promise<Activation> {
  const source = keys.source(sourceName)
  if (source === undefined) throw new KeyProviderError('ERR_KEY_UNKNOWN', 'no key source has this name')
  const [current] = await selectActiveKey(sql)
  if (current?.source === sourceName) return 'active_already'
  const keyId = await source.newestKeyId()
  await registerKey(keyId, source, { sql, keys })
  return await sql.begin(async tx => {
    await lockRotation(tx)
    const [active] = await selectActiveKey(tx)
    if (active?.source === sourceName) return 'active_already'
    const [key] = await selectMasterKey(tx, keyId)
    if (active !== undefined && key?.activated_at != null) return 'was_active_before'
    if (active !== undefined && (await instancesWithout(tx, sourceName)).length > 0) return 'waits_for_instances'
    await activate(tx, keyId)
    // The very first key is there before the control plane's schema may be, and it replaces nothing.
    if (active !== undefined) {
      const details = { key_id: keyId, previous_key_id: active.key_id }
      await appendAuditEvent(tx, keyEvent('secret_key_activated', actor, { details }))
    }
    return 'activated'
  })
}
