import type { Sql, TransactionSql } from '@rap/service-kit'
import type { Labels } from './labels.ts'

type Db = Sql | TransactionSql

export interface WorkerRow {
  readonly id: string
  readonly name: string
  readonly labels: Labels
  readonly public_url: string
  readonly certificate_thumbprint: string
  readonly version: string
  readonly state: 'active' | 'revoked'
  readonly created_at: Date
  readonly announced_at: Date
  readonly revoked_at: Date | null
}

/** Most workers that a choice or a list looks at. */
export const MAX_WORKERS = 1000

function columns(db: Db) {
  return db`w.id, w.name, w.labels, w.public_url, w.certificate_thumbprint, w.version, w.state, w.created_at,
    w.announced_at, w.revoked_at`
}

export async function findWorker(db: Db, id: string): Promise<WorkerRow | undefined> {
  const [row] = await db<WorkerRow[]>`select ${columns(db)} from rap.workers w where w.id = ${id}`
  return row
}

export interface Announcement {
  readonly id: string
  readonly name: string
  readonly labels: Labels
  readonly publicUrl: string
  /** Of the certificate that the announcement came with. */
  readonly thumbprint: string
  readonly version: string
}

/** Makes or updates the row of a worker; undefined where the worker is revoked. `made` is true for a new row. */
export async function upsertWorker(
  tx: TransactionSql,
  given: Announcement,
): Promise<{ worker: WorkerRow; made: boolean } | undefined> {
  const labels = tx.json(given.labels)
  const [inserted] = await tx<WorkerRow[]>`
    insert into rap.workers as w (id, name, labels, public_url, certificate_thumbprint, version)
    values (${given.id}, ${given.name}, ${labels}, ${given.publicUrl}, ${given.thumbprint}, ${given.version})
    on conflict on constraint workers_pkey do nothing returning ${columns(tx)}`
  if (inserted !== undefined) return { worker: inserted, made: true }
  const [updated] = await tx<WorkerRow[]>`
    update rap.workers w set name = ${given.name}, labels = ${labels}, public_url = ${given.publicUrl},
      certificate_thumbprint = ${given.thumbprint}, version = ${given.version}, announced_at = now()
    where w.id = ${given.id} and w.state = 'active' returning ${columns(tx)}`
  return updated === undefined ? undefined : { worker: updated, made: false }
}

/** Workers that may take sessions, with the attachments that they hold. */
export async function listActiveWorkers(db: Db): Promise<(WorkerRow & { readonly live_attachments: number })[]> {
  return await db<(WorkerRow & { live_attachments: number })[]>`
    select ${columns(db)}, (
      select count(*)::int from rap.session_attachments a
      where a.worker_id = w.id and a.state in ('assigning', 'ready', 'active')
    ) as live_attachments
    from rap.workers w where w.state = 'active' order by w.announced_at desc limit ${MAX_WORKERS}`
}

export async function listWorkers(
  db: Db,
  { after, limit }: { after: { at: string; id: string } | undefined; limit: number },
): Promise<(WorkerRow & { readonly live_attachments: number; readonly place: string })[]> {
  return await db<(WorkerRow & { live_attachments: number; place: string })[]>`
    select ${columns(db)}, (
      select count(*)::int from rap.session_attachments a
      where a.worker_id = w.id and a.state in ('assigning', 'ready', 'active')
    ) as live_attachments,
      to_char(w.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '~' || w.id as place
    from rap.workers w
    ${after === undefined ? db`` : db`where (w.created_at, w.id) > (${after.at}::text::timestamptz, ${after.id}::uuid)`}
    order by w.created_at, w.id limit ${limit}`
}
