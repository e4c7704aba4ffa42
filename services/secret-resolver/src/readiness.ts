import type { ReadyCheck, Redis, Sql } from '@rap/service-kit'
import type { KeyWrapPort } from './secrets/key-wrap.ts'

/** The control plane's tables that this service reads; it writes to its audit function and to nothing else of it. */
const NEEDED_TABLES = ['resources', 'remote_sessions', 'session_attachments', 'workers', 'revocations']

export interface ReadinessDeps {
  readonly sql: Sql
  readonly redis: Redis
  readonly keys: KeyWrapPort
}

/** `/readyz`: database, grants, redis and key provider, each `ok` or a few words. */
export function readyCheck({ sql, redis, keys }: ReadinessDeps): ReadyCheck {
  const outcome = async (check: () => Promise<string>) => {
    try {
      return await check()
    } catch {
      // The reason is in the log of whoever needs the part; an answer here names no addresses.
      return 'not available'
    }
  }
  return async () => {
    const [database, grants, redisState, keyProvider] = await Promise.all([
      outcome(async () => {
        await sql`select 1 from secrets.resource_secrets limit 0`
        return 'ok'
      }),
      outcome(async () => {
        const missing = await missingGrants(sql)
        return missing.length === 0 ? 'ok' : `missing: ${missing.join(', ')}`
      }),
      outcome(async () => ((await redis.ping()) === 'PONG' ? 'ok' : 'not available')),
      outcome(async () => await keys.health()),
    ])
    return { database, grants, redis: redisState, key_provider: keyProvider }
  }
}

/** What the control plane has not granted (yet); names are looked up in the catalogue, which needs no right. */
async function missingGrants(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select 'rap.' || c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'rap' and c.relname = any (${NEEDED_TABLES})
      and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')
    union all
    select 'rap.append_audit_event'
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'rap' and p.proname = 'append_audit_event' and has_function_privilege(p.oid, 'execute')`
  const granted = new Set(rows.map(({ name }) => name))
  return [...NEEDED_TABLES, 'append_audit_event'].map(name => `rap.${name}`).filter(name => !granted.has(name))
}
