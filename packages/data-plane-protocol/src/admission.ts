import type { SessionLimits } from '@rap/session-policy'
import { extensionOf } from './file-names.ts'
import type { UploadRefusal } from './transfers.ts'

/** What a policy judges of one file. */
export interface Announced {
  readonly name: string
  readonly size: number
}

/** Why the policy does not let this file in, by itself; undefined where it does. */
export function refusalOfFile({ name, size }: Announced, limits: SessionLimits): UploadRefusal | undefined {
  if (limits.upload_extensions?.includes(extensionOf(name)) === false) return 'ERR_UPLOAD_EXTENSION'
  if (size > limits.upload_file_bytes) return 'ERR_UPLOAD_FILE_TOO_LARGE'
  return undefined
}

/** Why a session that has `held` cannot take one more file of `size` bytes; undefined where it can. */
export function refusalOfOneMore(
  held: { readonly files: number; readonly bytes: number },
  size: number,
  limits: SessionLimits,
): UploadRefusal | undefined {
  if (held.files >= limits.upload_files) return 'ERR_UPLOAD_TOO_MANY'
  if (held.bytes + size > limits.upload_session_bytes) return 'ERR_UPLOAD_QUOTA'
  return undefined
}
