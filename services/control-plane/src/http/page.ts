import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { problems } from '../errors.ts'

/** Most items of one page. */
export const MAX_PAGE_ITEMS = 200
const DEFAULT_PAGE_ITEMS = 50

/** Query fields of every list. */
export const PageQuery = {
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: MAX_PAGE_ITEMS,
      default: DEFAULT_PAGE_ITEMS,
      description: 'Most items in the answer',
    }),
  ),
  cursor: Type.Optional(
    Type.String({ maxLength: 256, pattern: '^[A-Za-z0-9_-]+$', description: 'next_cursor of the page before' }),
  ),
}

/** The answer of every list. */
export function PageOf<T extends TSchema>(item: T) {
  return Type.Object({ items: Type.Array(item), next_cursor: Type.Union([Type.String(), Type.Null()]) })
}

export interface Page<T> {
  items: T[]
  next_cursor: string | null
}

/** A place in a list that is sorted by time and id. */
export interface TimeCursor {
  /** With microseconds. SQL takes it as text: the driver would cut a timestamp to milliseconds and lose rows. */
  readonly at: string
  readonly id: string
}

const TIME_CURSOR =
  /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z)~([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$/

/** Reads a cursor; throws ProblemError ERR_LIST_CURSOR_INVALID. */
export function readTimeCursor(cursor: string | undefined): TimeCursor | undefined {
  if (cursor === undefined) return undefined
  const [, at, id] = TIME_CURSOR.exec(Buffer.from(cursor, 'base64url').toString('utf8')) ?? []
  if (at === undefined || id === undefined || Number.isNaN(Date.parse(at))) throw problems.ERR_LIST_CURSOR_INVALID()
  return { at, id }
}

/** Reads a cursor that is a sequence number; throws ProblemError ERR_LIST_CURSOR_INVALID. */
export function readNumberCursor(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined
  const text = Buffer.from(cursor, 'base64url').toString('utf8')
  if (!/^[1-9]\d{0,17}$/.test(text)) throw problems.ERR_LIST_CURSOR_INVALID()
  return text
}

/** Rows that were asked for with one more than `limit`, as a page; `place` names the last row of the page. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limit: number,
  { place, item }: { place: (row: Row) => string; item: (row: Row) => Item },
): Page<Item> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  const hasMore = rows.length > limit && last !== undefined
  return {
    items: shown.map(item),
    next_cursor: hasMore ? Buffer.from(place(last), 'utf8').toString('base64url') : null,
  }
}

/** `limit` of a query, with its default. */
export function limitOf(query: { limit?: Static<typeof PageQuery.limit> }): number {
  return query.limit ?? DEFAULT_PAGE_ITEMS
}
