import { randomUUID } from 'node:crypto'
import type { Sql } from '@rap/service-kit'
import { secretRefOf } from '../../src/secrets/secret-ref.ts'

/** One session that has just been assigned: everything a lease token names. */
export interface Place {
  readonly organization_id: string
  readonly user_id: string
  readonly resource_id: string
  readonly worker_id: string
  readonly session_id: string
  readonly attachment_id: string
  readonly lease_id: string
  readonly secret_ref: string
}

/** Any 43 characters of base64url: this service reads no thumbprint from a table. */
const THUMBPRINT = 'A'.repeat(43)

export async function seedOrganization(sql: Sql): Promise<{ organization_id: string; user_id: string }> {
  const [organization_id, user_id] = [randomUUID(), randomUUID()]
  await sql`insert into rap.organizations (id, name) values (${organization_id}, 'Test')`
  await sql`
    insert into rap.users (id, email, display_name, password_hash)
    values (${user_id}, ${`${user_id}@example.test`}, 'Test', '$argon2id$test')`
  return { organization_id, user_id }
}

export async function seedWorker(sql: Sql, id: string): Promise<void> {
  await sql`
    insert into rap.workers (id, name, public_url, certificate_thumbprint)
    values (${id}, 'worker', 'wss://worker.example.test/data-plane/v1', ${THUMBPRINT})
    on conflict do nothing`
}

/** `secretRef: null` leaves the resource without one, as development may have it. */
export async function seedResource(
  sql: Sql,
  { organization_id, secretRef, metadata = {} }: { organization_id: string; secretRef?: null; metadata?: object },
): Promise<string> {
  const id = randomUUID()
  const reference = secretRef === null ? null : secretRefOf(organization_id, id)
  await sql`
    insert into rap.resources (id, organization_id, name, protocol, address, secret_ref, metadata)
    values (${id}, ${organization_id}, 'target', 'rdp', 'target.example.test:3389', ${reference}, ${sql.json(metadata as never)})`
  return id
}

/** A session with one attachment, both assigning. */
export async function seedSession(
  sql: Sql,
  who: { organization_id: string; user_id: string; resource_id: string; worker_id: string },
): Promise<Place> {
  const session_id = randomUUID()
  await sql`
    insert into rap.remote_sessions (id, organization_id, resource_id, user_id)
    values (${session_id}, ${who.organization_id}, ${who.resource_id}, ${who.user_id})`
  const attachment = await seedAttachment(sql, { ...who, session_id, ordinal: 1 })
  return { ...who, ...attachment, session_id, secret_ref: secretRefOf(who.organization_id, who.resource_id) }
}

export async function seedAttachment(
  sql: Sql,
  at: { organization_id: string; session_id: string; worker_id: string; ordinal: number },
): Promise<{ attachment_id: string; lease_id: string }> {
  const [attachment_id, lease_id] = [randomUUID(), randomUUID()]
  await sql`
    insert into rap.session_attachments
      (id, organization_id, session_id, ordinal, worker_id, lease_id, dpop_jkt, allowed_channels, limits)
    values (${attachment_id}, ${at.organization_id}, ${at.session_id}, ${at.ordinal}, ${at.worker_id}, ${lease_id},
      ${THUMBPRINT}, '{display,input}', '{}')`
  return { attachment_id, lease_id }
}
