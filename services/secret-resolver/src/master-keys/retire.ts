import { appendAuditEvent, type ProblemError } from '@rap/service-kit'
import type { Sql } from 'postgres'
import type { Db } from '../database.ts'
import { problems } from '../errors.ts'
import { type KeyActor, keyEvent } from './audit.ts'
import { lockMasterKey, type MasterKeyState, markRetired, selectKeyUses } from './store.ts'

/**
 * Retires a key that nothing is wrapped with any more; afterwards its material may be destroyed.
 *
 * Throws ProblemError ERR_MASTER_KEY_UNKNOWN, ERR_MASTER_KEY_ACTIVE, ERR_MASTER_KEY_IN_USE; each is audited. A key that is
 * retired stays so, and no error is thrown. INVARIANT: between the count and the change nobody can wrap with the key.
 */
export async function retireKey(keyId: string, { sql }: { sql: Sql }, actor: KeyActor): Promise<{ key_id: string }> {
  const refusal = await sql.begin(async tx => {
    const [key] = await lockMasterKey(tx, keyId)
    if (key?.state === 'retired') return undefined
    const refused = await refusalOf(tx, keyId, key?.state)
    if (refused === undefined) {
      await markRetired(tx, keyId)
      await appendAuditEvent(tx, keyEvent('secret_key_retired', actor, { details: { key_id: keyId } }))
    }
    return refused
  })
  if (refusal === undefined) return { key_id: keyId }
  await appendAuditEvent(
    sql,
    keyEvent('secret_key_retire_refused', actor, {
      outcome: 'refused',
      code: refusal.code,
      details: { key_id: keyId.slice(0, 128) },
    }),
  )
  throw refusal
}

async function refusalOf(tx: Db, keyId: string, state: MasterKeyState | undefined): Promise<ProblemError | undefined> {
  if (state === undefined) return problems.ERR_MASTER_KEY_UNKNOWN({ extras: { key_id: keyId } })
  if (state === 'active') return problems.ERR_MASTER_KEY_ACTIVE({ extras: { key_id: keyId } })
  const use = (await selectKeyUses(tx)).find(({ key_id }) => key_id === keyId)
  if (use === undefined) return undefined
  const { secrets, sealing_keys } = use
  return problems.ERR_MASTER_KEY_IN_USE({ extras: { key_id: keyId, secrets, sealing_keys } })
}
