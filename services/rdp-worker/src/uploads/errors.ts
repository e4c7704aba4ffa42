import { UPLOAD_REFUSALS, type UploadRefusal } from '@rap/data-plane-protocol'

/** An upload, or one message of it, is refused. INVARIANT: the message holds no name, id or path. */
export class UploadError extends Error {
  override readonly name = 'UploadError'
  readonly code: UploadRefusal

  constructor(code: UploadRefusal, options?: ErrorOptions) {
    super(UPLOAD_REFUSALS[code].detail, options)
    this.code = code
  }
}

/** What the file system says when there is no room for this file. */
const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** The refusal for a failure of the file system. */
export function uploadErrorOf(cause: unknown): UploadError {
  if (cause instanceof UploadError) return cause
  const { code } = cause as NodeJS.ErrnoException
  return new UploadError(NO_ROOM.has(code ?? '') ? 'ERR_UPLOAD_DISK_FULL' : 'ERR_UPLOAD_FAILED', { cause })
}
