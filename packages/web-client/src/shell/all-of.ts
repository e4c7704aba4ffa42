import type { Page } from '@rap/client-sdk'

/** Pages that are loaded of one list, of 200 rows each. */
const MAX_PAGES = 10

/** Every row of a list, up to a bound; `isCut` where there are more. */
export async function allOf<T>(
  list: (options: { cursor?: string; limit: number }) => Promise<Page<T>>,
): Promise<{ items: T[]; isCut: boolean }> {
  const items: T[] = []
  let cursor: string | null = null
  for (let round = 0; round < MAX_PAGES; round++) {
    const answer: Page<T> = await list({ limit: 200, ...(cursor !== null && { cursor }) })
    items.push(...answer.items)
    cursor = answer.next_cursor
    if (cursor === null) return { items, isCut: false }
  }
  return { items, isCut: true }
}
