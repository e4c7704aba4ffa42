import { Type } from '@sinclair/typebox'

export interface PageOptions {
  readonly cursor?: string
  /** Rows of a page; the server has its own upper bound. */
  readonly limit?: number
}

/** The schema of one page of a list. */
export const page = <T extends Parameters<typeof Type.Array>[0]>(items: T) =>
  Type.Object({
    items: Type.Array(items, { maxItems: 1000 }),
    next_cursor: Type.Union([Type.String({ maxLength: 1024 }), Type.Null()]),
  })
