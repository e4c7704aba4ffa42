import type { Transfer } from '@rap/client-sdk'
import { extensionOf, UPLOAD_REFUSALS } from '@rap/client-sdk'
import type { SessionLimits } from '@rap/session-policy'
import type { Explanation } from '../../auth/auth.tsx'
import { sizeText } from './sizes.ts'

/** What is there or on its way already. */
export interface Used {
  readonly files: number
  readonly bytes: number
}

/** Files of the session on the worker, and those of this page that it does not know yet. */
export function usedBy(
  items: readonly Transfer[],
  own: readonly { readonly id: string; readonly size: number }[],
): Used {
  const known = new Set(items.map(({ upload_id }) => upload_id))
  const sizes = [...items, ...own.filter(({ id }) => !known.has(id))].map(({ size }) => size)
  return { files: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) }
}

/**
 * What the worker would refuse for certain, so that a file need not be sent to learn it; undefined where it may be sent.
 * The worker decides all the same.
 */
export function localRefusal(
  file: { readonly name: string; readonly size: number },
  limits: SessionLimits,
  used: Used,
): Explanation | undefined {
  const { upload_extensions: kinds, upload_file_bytes: most, upload_session_bytes: quota, upload_files: count } = limits
  if (kinds !== null && !kinds.includes(extensionOf(file.name)))
    return refusal('ERR_UPLOAD_EXTENSION', `Kinds that may be sent: ${kindsText(kinds)}.`)
  if (file.size > most) return refusal('ERR_UPLOAD_FILE_TOO_LARGE', `A file may have ${sizeText(most)} at most.`)
  if (used.files >= count) return refusal('ERR_UPLOAD_TOO_MANY')
  if (used.bytes + file.size > quota)
    return refusal('ERR_UPLOAD_QUOTA', `${sizeText(Math.max(0, quota - used.bytes))} are left.`)
  return undefined
}

/** Kinds of files in words. */
export function kindsText(kinds: readonly string[]): string {
  return kinds.length === 0 ? 'none' : kinds.map(kind => (kind === '' ? 'without an extension' : `.${kind}`)).join(', ')
}

function refusal(code: keyof typeof UPLOAD_REFUSALS, more = ''): Explanation {
  const { detail, remedy } = UPLOAD_REFUSALS[code]
  return { title: 'The file was not sent', detail: `${detail} ${more}`.trim(), remedy, code }
}
