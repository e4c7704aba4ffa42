import type { Sql } from '@rap/service-kit'
import type { PolicyDocument } from '@rap/session-policy'
import type { TimeCursor } from '../http/page.ts'

export interface GrantRow {
  readonly user_id: string
  readonly email: string
  readonly display_name: string
  readonly document: PolicyDocument
  readonly version: number
  readonly updated_at: Date
  readonly updated_by: string
  readonly place: string
}

/** The grants of a resource, oldest first. */
export async function listGrants(
  sql: Sql,
  resourceId: string,
  { after, limit }: { after: TimeCursor | undefined; limit: number },
): Promise<GrantRow[]> {
  return await sql<GrantRow[]>`
    select p.user_id, u.email, u.display_name, p.document, p.version, p.updated_at, p.updated_by,
      to_char(p.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '~' || p.user_id as place
    from rap.policies p join rap.users u on u.id = p.user_id
    where p.resource_id = ${resourceId} and p.document is not null
    ${after === undefined ? sql`` : sql`and (p.created_at, p.user_id) > (${after.at}::text::timestamptz, ${after.id}::uuid)`}
    order by p.created_at, p.user_id limit ${limit}`
}
