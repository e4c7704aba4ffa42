import { type Logger, type Revocation, Revocations } from '@rap/service-kit'
import type { Db } from './database.ts'

/** Everybody whom the control plane has revoked; a view of its schema. */
export function listRevocations(sql: Db) {
  return sql<Revocation[]>`select kind, id, thumbprint from rap.revocations`
}

/** Whom this service refuses although the certificate is valid; nobody is let in while the control plane's view cannot be read. */
export function openRevocations(sql: Db, logger: Logger): Revocations {
  return new Revocations({ load: () => listRevocations(sql), logger })
}
