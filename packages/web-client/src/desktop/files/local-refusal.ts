import {
  refusalOfFile,
  refusalOfOneMore,
  safeFileName,
  type Transfer,
  UPLOAD_REFUSALS,
  type UploadRefusal,
} from '@rap/client-sdk'
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
  const code = refusalCode(file, limits, used)
  if (code === undefined) return undefined
  const { detail, remedy } = UPLOAD_REFUSALS[code]
  const more = MORE_WORDS[code]?.(limits, used) ?? ''
  return { title: 'The file was not sent', detail: `${detail} ${more}`.trim(), remedy, code }
}

/** The policy speaks of the name that the file will have there. */
function refusalCode({ name, size }: { name: string; size: number }, limits: SessionLimits, used: Used) {
  const safe = safeFileName(name)
  if (safe === undefined) return 'ERR_UPLOAD_NAME'
  return refusalOfFile({ name: safe, size }, limits) ?? refusalOfOneMore(used, size, limits)
}

/** What the numbers of a policy add to the words of a refusal. */
const MORE_WORDS: Readonly<Partial<Record<UploadRefusal, (limits: SessionLimits, used: Used) => string>>> = {
  ERR_UPLOAD_EXTENSION: ({ upload_extensions: kinds }) => `Kinds that may be sent: ${kindsText(kinds ?? [])}.`,
  ERR_UPLOAD_FILE_TOO_LARGE: ({ upload_file_bytes: most }) => `A file may have ${sizeText(most)} at most.`,
  ERR_UPLOAD_QUOTA: ({ upload_session_bytes: quota }, { bytes }) => `${sizeText(Math.max(0, quota - bytes))} are left.`,
}

/** Kinds of files in words. */
export function kindsText(kinds: readonly string[]): string {
  return kinds.length === 0 ? 'none' : kinds.map(kind => (kind === '' ? 'without an extension' : `.${kind}`)).join(', ')
}
