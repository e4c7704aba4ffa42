import { fileURLToPath } from 'node:url'
import { type Logger, migrate, type Sql } from '@rap/service-kit'

const MIGRATIONS = fileURLToPath(new URL('../migrations', import.meta.url))

/** Brings the schema `rap` up to date and gives the secret-resolver's role what it reads, where that role exists. */
export async function prepareDatabase(sql: Sql, logger: Logger): Promise<void> {
  await migrate({ sql, directory: MIGRATIONS, schemaTable: 'rap.schema_migrations', logger })
  const [row] = await sql<{ granted: boolean }[]>`select rap.grant_secret_resolver() as granted`
  if (row?.granted !== true) {
    logger.info({ event: 'resolver_role_absent' }, 'role rap_secret_resolver is not there; nothing is granted to it')
  }
}
