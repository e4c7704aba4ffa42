import { appendAuditEvent } from '@rap/service-kit'
import { durationText, type Output, table } from '@rap/tool-kit'
import { keyEvent } from '../master-keys/audit.ts'
import { registerSources, type SourceTrouble } from '../master-keys/register.ts'
import { reportKeys } from '../master-keys/report.ts'
import { retireKey } from '../master-keys/retire.ts'
import { planRewrap, rewrap } from '../master-keys/rewrap.ts'
import { createKey, rotateKey } from '../master-keys/rotate.ts'
import { checkKeys } from '../master-keys/start-checks.ts'
import { verifyRows } from '../master-keys/verify.ts'
import type { ToolSession } from './session.ts'

/** The exit code of a command that ran. */
export type CommandOutcome = 0 | 1

/** `keys`: every key, where it lives, what needs it, and whether it opens. */
export async function listKeys({ sql, keys }: ToolSession, output: Output): Promise<CommandOutcome> {
  const warn = ({ name, reason }: SourceTrouble) => output.warn(`key source ${name}: ${reason}`)
  await registerSources({ sql, keys, logger: { warn } })
  const [{ items, instances }, checks] = await Promise.all([reportKeys({ sql, keys }), checkKeys({ sql, keys })])
  const rows = items.map(item => {
    const check = checks.find(({ keyId }) => keyId === item.key_id)
    const opens = check === undefined ? null : check.code === undefined
    return { ...item, opens, trouble: check?.reason || (check?.code ?? null) }
  })
  const text = rows.map(row => [
    row.key_id,
    row.state,
    [row.provider ?? 'not configured', row.location].filter(part => part !== null).join(' '),
    String(row.secrets),
    String(row.sealing_keys),
    row.opens === null ? '-' : row.opens ? 'yes' : `NO (${row.trouble})`,
    row.missing_on.length === 0 ? '' : row.missing_on.join(', '),
  ])
  const head = ['KEY', 'STATE', 'WHERE', 'SECRETS', 'SEALING KEYS', 'OPENS', 'MISSING ON']
  const running = instances.length === 1 ? '1 resolver is running' : `${instances.length} resolvers are running`
  output.result('keys', { keys: rows, resolvers: instances }, `${table(head, text)}\n\n${running}.`)
  return rows.some(({ opens }) => opens === false) ? 1 : 0
}

/** `create-key`: makes the material of a configured source. */
export async function makeKey(
  source: string,
  { sql, keys, actor }: ToolSession,
  output: Output,
): Promise<CommandOutcome> {
  const created = await createKey(source, { sql, keys }, actor)
  output.result(
    'key_created',
    created,
    `The key ${created.key_id} is made.\nNext: see that every resolver has it (rap-secrets keys), then rap-secrets rotate-key ${source}`,
  )
  return 0
}

/** `rotate-key`: what is new is wrapped with the key of this source from now on. */
export async function changeKey(
  source: string,
  { sql, keys, actor }: ToolSession,
  output: Output,
): Promise<CommandOutcome> {
  const rotated = await rotateKey(source, { sql, keys }, actor)
  const before = rotated.previous_key_id === null ? '' : ` in place of ${rotated.previous_key_id}`
  const { total } = await planRewrap(sql)
  output.result(
    'key_rotated',
    { ...rotated, to_rewrap: total },
    `New secrets are wrapped with ${rotated.active_key_id}${before}.\nNext: rap-secrets rewrap (${total} rows are wrapped with other keys)`,
  )
  return 0
}

export interface RewrapArguments {
  readonly from?: readonly string[] | undefined
  readonly dryRun?: boolean | undefined
  readonly signal: AbortSignal
}

/** `rewrap`: wraps with the active key what other keys have wrapped. */
export async function rewrapAll(
  { from, dryRun = false, signal }: RewrapArguments,
  { sql, keys, actor }: ToolSession,
  output: Output,
): Promise<CommandOutcome> {
  const plan = await planRewrap(sql, from)
  if (dryRun) {
    const rows = plan.from.map(({ key_id, rows: count }) => [key_id, String(count)])
    const text = rows.length === 0 ? 'Nothing has to be wrapped again.' : table(['FROM KEY', 'ROWS'], rows)
    output.result('rewrap_plan', plan, `${text}\nTo: ${plan.to_key_id}. Nothing was changed.`)
    return 0
  }
  const details = { to_key_id: plan.to_key_id, total: plan.total }
  await appendAuditEvent(sql, keyEvent('secret_key_rewrap_started', actor, { details }))
  const startedAt = performance.now()
  const progress = output.progress('rewrap_progress')
  const result = await rewrap({
    sql,
    keys,
    fromKeyIds: from,
    signal,
    onProgress: ({ total, remaining, ...rest }) => progress.update({ total, done: total - remaining, ...rest }),
  }).finally(() => progress.end())
  await appendAuditEvent(
    sql,
    keyEvent('secret_key_rewrap_finished', actor, {
      outcome: result.failed === 0 ? 'ok' : 'failed',
      details: { ...details, rewrapped: result.rewrapped, failed: result.failed },
    }),
  )
  const seconds = (performance.now() - startedAt) / 1000
  const failed = result.failures.map(({ row, key_id, code }) => `  ${row} (${key_id}): ${code}`)
  const text = [
    `${result.rewrapped} rows were wrapped with ${result.to_key_id} in ${durationText(seconds)}.`,
    ...(result.failed === 0 ? [] : [`${result.failed} rows do not open and were left as they are:`, ...failed]),
    ...plan.from
      .filter(({ key_id }) => !result.failures.some(failure => failure.key_id === key_id))
      .map(({ key_id }) => `Next: rap-secrets retire-key ${key_id}`),
  ]
  output.result('rewrap_finished', { ...result, seconds: Math.round(seconds * 10) / 10 }, text.join('\n'))
  return result.failed === 0 ? 0 : 1
}

/** `retire-key`: refuses a key that something still needs. */
export async function endKey(keyId: string, { sql, actor }: ToolSession, output: Output): Promise<CommandOutcome> {
  const retired = await retireKey(keyId, { sql }, actor)
  output.result(
    'key_retired',
    retired,
    `The key ${keyId} is retired. Once no backup needs it, take it out of the configuration and destroy it.`,
  )
  return 0
}

/** `verify`: opens the data key of every row and compares every content with its SHA-256; reads only. */
export async function verifyAll(
  signal: AbortSignal,
  { sql, keys }: ToolSession,
  output: Output,
): Promise<CommandOutcome> {
  const startedAt = performance.now()
  const progress = output.progress('verify_progress')
  const result = await verifyRows({
    sql,
    keys,
    signal,
    onProgress: ({ checked, total, failed }) => {
      const rate = (checked / (performance.now() - startedAt)) * 1000
      progress.update({
        total,
        done: checked,
        failed,
        rate,
        secondsLeft: rate > 0 ? (total - checked) / rate : undefined,
      })
    },
  }).finally(() => progress.end())
  const failed = result.failures.map(({ row, key_id, code }) => `  ${row} (${key_id}): ${code}`)
  const text = [`${result.checked} rows were checked, ${failed.length} of them do not open.`, ...failed]
  output.result('verify_finished', result, text.join('\n'))
  return failed.length === 0 ? 0 : 1
}
