import type { DriveFile, DriveFiles } from '../relay/types.ts'
import { type CreateRequest, type CreateTarget, createInformation, judgeCreate } from './create-rules.ts'
import { FileIndex } from './file-index.ts'
import { encodeDirectoryEntry, encodeFileInformation, type FileFacts, factsOf, fileTime } from './file-information.ts'
import { upcase } from './file-names.ts'
import { NT_STATUS, type NtStatus } from './nt-status.ts'
import { encodeVolumeInformation } from './volume-information.ts'

/** Bounds the files that the target has open, and with them the directory lists that are kept for it. */
export const MAX_OPEN_FILES = 256
const MAX_FILE_ID = 0xffffffff

/** Something that the target has open: a file, or the root where `file` is undefined. */
interface Open {
  readonly file: DriveFile | undefined
  /** What a directory query has still to tell. */
  rest: DriveFile[]
}

/** What came of a create request; `fileId` is 0 unless it succeeded. */
export interface CreateResult {
  readonly status: NtStatus
  readonly fileId: number
  readonly information: number
  readonly isChange: boolean
}

/** Bytes, or why there are none. */
export type QueryResult = Uint8Array | NtStatus

/** Bytes of a file that may be read, or why not. */
export type ReadPlan = { readonly file: DriveFile; readonly offset: number; readonly length: number } | NtStatus

/**
 * One read-only directory made of `DriveFiles`, and what the target has open of it.
 *
 * INVARIANT: a path opens the root, or a file that is in `list()` at that moment under exactly this name but for its case;
 * nothing here changes anything. Names with separators, `..`, streams, trailing dots or blanks are therefore no files.
 */
export class Volume {
  readonly #label: string
  readonly #files: FileIndex
  readonly #open = new Map<number, Open>()
  #lastFileId = 0

  constructor(label: string, files: DriveFiles) {
    this.#label = label
    this.#files = new FileIndex(files)
  }

  has(fileId: number): boolean {
    return this.#open.has(fileId)
  }

  create(request: CreateRequest & { readonly path: string | undefined }): CreateResult {
    const name = nameOf(request.path)
    const file = name === undefined ? undefined : this.#files.named(name)
    const target: CreateTarget = name === '' ? 'root' : file === undefined ? 'nothing' : 'file'
    const { status, isChange } = judgeCreate(request, target, upcase(name ?? ''))
    if (status !== NT_STATUS.SUCCESS) return { status, fileId: 0, information: 0, isChange }
    if (this.#open.size >= MAX_OPEN_FILES) {
      return { status: NT_STATUS.INSUFFICIENT_RESOURCES, fileId: 0, information: 0, isChange: false }
    }
    const fileId = this.#nextFileId()
    this.#open.set(fileId, { file, rest: [] })
    return { status, fileId, information: createInformation(request), isChange: false }
  }

  /** False where nothing of this id is open. */
  close(fileId: number): boolean {
    return this.#open.delete(fileId)
  }

  closeAll(): void {
    this.#open.clear()
  }

  queryInformation(fileId: number, informationClass: number): QueryResult {
    const open = this.#open.get(fileId)
    if (open === undefined) return NT_STATUS.UNSUCCESSFUL
    if (open.file !== undefined && !this.#files.has(open.file)) return NT_STATUS.FILE_INVALID
    const facts = open.file === undefined ? this.#rootFacts() : factsOf(open.file)
    return encodeFileInformation(informationClass, facts) ?? NT_STATUS.INVALID_INFO_CLASS
  }

  queryVolume(fileId: number, informationClass: number): QueryResult {
    if (!this.#open.has(fileId)) return NT_STATUS.UNSUCCESSFUL
    const { modifiedAt, allocationUnits } = this.#files
    const volume = { label: this.#label, changedAt: fileTime(modifiedAt), allocationUnits }
    return encodeVolumeInformation(informationClass, volume) ?? NT_STATUS.INVALID_INFO_CLASS
  }

  /**
   * The next entry of a listing; an initial query begins it, with the files as they are then. INSUFFICIENT_RESOURCES where more searches are asked
   * for than there is time for.
   */
  queryDirectory(
    fileId: number,
    query: { readonly informationClass: number; readonly isInitial: boolean; readonly path: string | undefined },
  ): QueryResult {
    const open = this.#open.get(fileId)
    if (open === undefined) return NT_STATUS.UNSUCCESSFUL
    if (open.file !== undefined) return NT_STATUS.INVALID_PARAMETER
    if (query.isInitial) {
      const expression = nameOf(query.path)
      const matching = expression === undefined ? [] : this.#files.matching(expression === '' ? '*' : expression)
      if (matching === undefined) return NT_STATUS.INSUFFICIENT_RESOURCES
      open.rest = matching
    }
    const [next] = open.rest
    if (next === undefined) return query.isInitial ? NT_STATUS.NO_SUCH_FILE : NT_STATUS.NO_MORE_FILES
    const entry = encodeDirectoryEntry(query.informationClass, factsOf(next))
    if (entry === undefined) return NT_STATUS.INVALID_INFO_CLASS
    open.rest.shift()
    return entry
  }

  /** What a read request gets: less than it asks for only at the end of the file, or beyond `maxBytes`. */
  planRead(fileId: number, offset: bigint, length: number, maxBytes: number): ReadPlan {
    const open = this.#open.get(fileId)
    if (open === undefined) return NT_STATUS.UNSUCCESSFUL
    const { file } = open
    if (file === undefined) return NT_STATUS.INVALID_DEVICE_REQUEST
    if (!this.#files.has(file)) return NT_STATUS.FILE_INVALID
    if (offset >= BigInt(file.size)) return { file, offset: file.size, length: 0 }
    const start = Number(offset)
    return { file, offset: start, length: Math.min(length, maxBytes, file.size - start) }
  }

  #rootFacts(): FileFacts {
    return { name: '', isDirectory: true, size: 0, modifiedAt: this.#files.modifiedAt }
  }

  /** Counts on, so that an id which has just been closed means nothing for long. */
  #nextFileId(): number {
    do this.#lastFileId = this.#lastFileId === MAX_FILE_ID ? 1 : this.#lastFileId + 1
    while (this.#open.has(this.#lastFileId))
    return this.#lastFileId
  }
}

/** The name in a path of one level, '' for the root, undefined for anything deeper. xrdp separates with `/` at times. */
function nameOf(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  const name = path.startsWith('\\') || path.startsWith('/') ? path.slice(1) : path
  return /[\\/]/.test(name) ? undefined : name
}
