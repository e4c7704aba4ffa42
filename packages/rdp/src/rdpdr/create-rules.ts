import { NT_STATUS, type NtStatus } from './nt-status.ts'

/** DesiredAccess. Spec: [MS-SMB2] §2.2.13.1. */
export const ACCESS = {
  FILE_READ_DATA: 0x00000001,
  FILE_WRITE_DATA: 0x00000002,
  FILE_APPEND_DATA: 0x00000004,
  FILE_WRITE_EA: 0x00000010,
  FILE_DELETE_CHILD: 0x00000040,
  FILE_READ_ATTRIBUTES: 0x00000080,
  FILE_WRITE_ATTRIBUTES: 0x00000100,
  DELETE: 0x00010000,
  WRITE_DAC: 0x00040000,
  WRITE_OWNER: 0x00080000,
  SYNCHRONIZE: 0x00100000,
  ACCESS_SYSTEM_SECURITY: 0x01000000,
  MAXIMUM_ALLOWED: 0x02000000,
  GENERIC_ALL: 0x10000000,
  GENERIC_WRITE: 0x40000000,
  GENERIC_READ: 0x80000000,
} as const

/** CreateDisposition. Spec: [MS-SMB2] §2.2.13. */
export const DISPOSITION = { SUPERSEDE: 0, OPEN: 1, CREATE: 2, OPEN_IF: 3, OVERWRITE: 4, OVERWRITE_IF: 5 } as const

/** CreateOptions. Spec: [MS-SMB2] §2.2.13. */
export const CREATE_OPTION = {
  DIRECTORY_FILE: 0x00000001,
  NON_DIRECTORY_FILE: 0x00000040,
  DELETE_ON_CLOSE: 0x00001000,
} as const

/**
 * What would change the volume. FILE_WRITE_ATTRIBUTES is not among them: programs that only read ask for it, and setting an
 * attribute is refused when they try. MAXIMUM_ALLOWED is what there is, which is reading ([MS-FSA] §2.1.5.1.2.1).
 */
const CHANGING_ACCESS =
  ACCESS.FILE_WRITE_DATA |
  ACCESS.FILE_APPEND_DATA |
  ACCESS.FILE_WRITE_EA |
  ACCESS.FILE_DELETE_CHILD |
  ACCESS.DELETE |
  ACCESS.WRITE_DAC |
  ACCESS.WRITE_OWNER |
  ACCESS.ACCESS_SYSTEM_SECURITY |
  ACCESS.GENERIC_ALL |
  ACCESS.GENERIC_WRITE

/** Names that [MS-RDPEFS] §3.2.5.2.3 wants refused, in upper case. */
const DEVICE_NAME = /^(?:(?:LPT|COM)[1-9]|PRN|AUX|NUL|CON|CLOCK\$)$/

export interface CreateRequest {
  readonly desiredAccess: number
  readonly createDisposition: number
  readonly createOptions: number
}

/** What stands under the path of a create request. */
export type CreateTarget = 'root' | 'file' | 'nothing'

/** `isChange`: it was refused because it would have changed the volume. */
export interface CreateVerdict {
  readonly status: NtStatus
  readonly isChange: boolean
}

const CHANGE: CreateVerdict = { status: NT_STATUS.ACCESS_DENIED, isChange: true }

/**
 * Judges a create request; SUCCESS opens what is there.
 *
 * Spec: [MS-FSA] §2.1.5.1 for a volume that is read-only, in its order. Where that has STATUS_MEDIA_WRITE_PROTECTED this
 * answers STATUS_ACCESS_DENIED: of the two it is the only one that xrdp turns into an error that fits ("Permission
 * denied", and not "File exists" or "Input/output error"), and Windows has a sentence for both.
 */
export function judgeCreate(request: CreateRequest, target: CreateTarget, upperName: string): CreateVerdict {
  const { desiredAccess, createDisposition, createOptions } = request
  const wantsDirectory = (createOptions & CREATE_OPTION.DIRECTORY_FILE) !== 0
  const wantsFile = (createOptions & CREATE_OPTION.NON_DIRECTORY_FILE) !== 0
  if (createDisposition > DISPOSITION.OVERWRITE_IF || (wantsDirectory && wantsFile)) {
    return no(NT_STATUS.INVALID_PARAMETER)
  }
  if (DEVICE_NAME.test(upperName)) return no(NT_STATUS.ACCESS_DENIED)
  if (createDisposition !== DISPOSITION.OPEN && createDisposition !== DISPOSITION.OPEN_IF) return CHANGE
  if (target === 'nothing') return createDisposition === DISPOSITION.OPEN ? no(notFound(desiredAccess)) : CHANGE
  if (target === 'file' && wantsDirectory) return no(NT_STATUS.NOT_A_DIRECTORY)
  if (target === 'root' && wantsFile) return no(NT_STATUS.FILE_IS_A_DIRECTORY)
  if ((createOptions & CREATE_OPTION.DELETE_ON_CLOSE) !== 0) return { ...CHANGE, status: NT_STATUS.CANNOT_DELETE }
  return (desiredAccess & CHANGING_ACCESS) === 0 ? { status: NT_STATUS.SUCCESS, isChange: false } : CHANGE
}

/**
 * Windows has one sentence for both codes. xrdp knows NO_SUCH_FILE where it looks for a file, and forgets the name then, and
 * OBJECT_NAME_NOT_FOUND where it opens one; it says "Input/output error" for the other one each time.
 */
function notFound(desiredAccess: number): NtStatus {
  const isForData = (desiredAccess & (ACCESS.FILE_READ_DATA | ACCESS.FILE_WRITE_DATA)) !== 0
  return isForData ? NT_STATUS.OBJECT_NAME_NOT_FOUND : NT_STATUS.NO_SUCH_FILE
}

function no(status: NtStatus): CreateVerdict {
  return { status, isChange: false }
}

/** Information of the answer. Spec: [MS-RDPEFS] §2.2.3.4.1: FILE_OPENED for FILE_OPEN_IF, FILE_SUPERSEDED for the rest. */
export function createInformation({ createDisposition }: CreateRequest): number {
  return createDisposition === DISPOSITION.OPEN_IF ? 1 : 0
}
