import { KeyProviderError, type KeySource } from '@rap/key-provider'
import { appendAuditEvent } from '@rap/service-kit'
import { problems } from '../errors.ts'
import { type KeyActor, keyEvent } from './audit.ts'
import { openCheckValue } from './check-value.ts'
import { instancesWithout } from './instances.ts'
import { type KeyDeps, registerKey } from './register.ts'
import { activate, lockRotation, selectActiveKey, selectMasterKey } from './store.ts'

/**
 * Makes the key of a source the active one; a source whose key is active already makes a new version of it.
 *
 * Throws ProblemError ERR_MASTER_KEY_SOURCE_UNKNOWN, ERR_MASTER_KEY_ALREADY_ACTIVE for a source of one key,
 * ERR_MASTER_KEY_RETIRED, ERR_MASTER_KEY_NOT_EVERYWHERE while a running resolver has not got the source, and
 * KeyProviderError. INVARIANT: nothing is wrapped with a key before it has opened its own check value.
 */
export async function rotateKey(
  sourceName: string,
  deps: KeyDeps,
  actor: KeyActor,
): Promise<{ previous_key_id: string | null; active_key_id: string }> {
  const { sql, keys } = deps
  const source = requireSource(deps, sourceName)
  await refuseMissing(deps, sourceName)
  const keyId = await nextKeyId(source, deps)
  await registerKey(keyId, source, deps)
  const [known] = await selectMasterKey(sql, keyId)
  if (known?.state === 'retired') throw problems.ERR_MASTER_KEY_RETIRED({ extras: { key_id: keyId } })
  await openCheckValue(keys, { keyId, wrapped: known?.check_value ?? Buffer.alloc(0) })
  return await sql.begin(async tx => {
    await lockRotation(tx)
    // Asked again: a resolver may have started since.
    await refuseMissing({ sql: tx }, sourceName)
    const [active] = await selectActiveKey(tx)
    await activate(tx, keyId)
    const details = { key_id: keyId, previous_key_id: active?.key_id ?? null }
    await appendAuditEvent(tx, keyEvent('secret_key_activated', actor, { details }))
    return { previous_key_id: active?.key_id ?? null, active_key_id: keyId }
  })
}

async function nextKeyId(source: KeySource, { sql }: KeyDeps): Promise<string> {
  const [active] = await selectActiveKey(sql)
  const newest = await source.newestKeyId()
  if (active?.key_id !== newest) return newest
  if (source.rotate === undefined) throw problems.ERR_MASTER_KEY_ALREADY_ACTIVE({ extras: { key_id: newest } })
  return await source.rotate()
}

async function refuseMissing({ sql }: { sql: Parameters<typeof instancesWithout>[0] }, source: string): Promise<void> {
  const missing = await instancesWithout(sql, source)
  if (missing.length > 0) throw problems.ERR_MASTER_KEY_NOT_EVERYWHERE({ extras: { source, missing_on: missing } })
}

function requireSource({ keys }: Pick<KeyDeps, 'keys'>, name: string): KeySource {
  const source = keys.source(name)
  if (source === undefined) throw problems.ERR_MASTER_KEY_SOURCE_UNKNOWN({ extras: { source: name } })
  return source
}

/** Makes the key material of a configured source. Throws ProblemError, KeyProviderError ERR_KEY_EXISTS and others. */
export async function createKey(sourceName: string, deps: KeyDeps, actor: KeyActor): Promise<{ key_id: string }> {
  const source = requireSource(deps, sourceName)
  if (source.create === undefined) {
    throw new KeyProviderError('ERR_KEY_CONFIGURATION', 'keys of this source are made with the tools of its provider', {
      key_id: sourceName,
    })
  }
  const keyId = await source.create()
  await registerKey(keyId, source, deps)
  await appendAuditEvent(deps.sql, keyEvent('secret_key_created', actor, { details: { key_id: keyId } }))
  return { key_id: keyId }
}
