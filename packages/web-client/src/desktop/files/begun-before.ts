import { safeFileName, type Transfer } from '@rap/client-sdk'

/** The upload of this file that a page before this one has begun, as far as name and size can tell; undefined where there is none. */
export function begunBefore(
  { name, size }: Pick<File, 'name' | 'size'>,
  items: readonly Transfer[],
  own: { has(id: string): boolean },
): Transfer | undefined {
  const safe = safeFileName(name)
  return items.find(
    item => item.state === 'receiving' && item.name === safe && item.size === size && !own.has(item.upload_id),
  )
}
