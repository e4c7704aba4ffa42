import type { DriveFile, DriveFiles } from '../relay/types.ts'
import { allocationUnits } from './file-information.ts'
import { hasWildcards, isEveryName, NameExpression, upcase } from './file-names.ts'

/**
 * Steps of matching that a target may cause in a second; a step is one unit of a name beside one of an expression, and takes some nanoseconds.
 * A thousand names of 20 letters are matched with `*.txt` a hundred times a second.
 */
const STEPS_PER_SECOND = 10_000_000

interface Indexed {
  readonly file: DriveFile
  readonly upperName: string
}

/** What is known of a list of files; made once for each list. */
interface Snapshot {
  readonly list: readonly DriveFile[]
  readonly byId: ReadonlyMap<string, Indexed>
  readonly byUpperName: ReadonlyMap<string, DriveFile>
  readonly units: number
  readonly modifiedAt: number
  readonly allocationUnits: bigint
}

/**
 * The files of a drive as they are now, ready to be looked up.
 *
 * INVARIANT: a question about one file costs the same however many there are and however long their names, and the search for names is bounded
 * in time: a target asks as often as it likes, and other sessions wait meanwhile.
 */
export class FileIndex {
  readonly #files: DriveFiles
  readonly #now: () => number
  #snapshot: Snapshot | undefined
  #steps = STEPS_PER_SECOND
  #steppedAt: number

  /** `now` is a monotonic reading in milliseconds. */
  constructor(files: DriveFiles, now: () => number = () => performance.now()) {
    this.#files = files
    this.#now = now
    this.#steppedAt = now()
  }

  /** The latest change of a file, in milliseconds of the Unix epoch; 0 without files. */
  get modifiedAt(): number {
    return this.#current.modifiedAt
  }

  /** What the files take together. */
  get allocationUnits(): bigint {
    return this.#current.allocationUnits
  }

  /** Tells whether this file is still in the list. */
  has({ id }: DriveFile): boolean {
    return this.#current.byId.has(id)
  }

  /** The file of this name, whatever its case. */
  named(name: string): DriveFile | undefined {
    return this.#current.byUpperName.get(upcase(name))
  }

  /** The files whose names fit, in their order; undefined where more is asked in a second than there is time for. */
  matching(text: string): DriveFile[] | undefined {
    const { list, byId, units } = this.#current
    if (isEveryName(text)) return [...list]
    if (!hasWildcards(text)) {
      const file = this.named(text)
      return file === undefined ? [] : [file]
    }
    const expression = new NameExpression(text)
    if (!this.#take(units * expression.length)) return undefined
    return [...byId.values()].filter(({ upperName }) => expression.fits(upperName)).map(({ file }) => file)
  }

  #take(steps: number): boolean {
    const now = this.#now()
    const earned = ((now - this.#steppedAt) / 1000) * STEPS_PER_SECOND
    this.#steps = Math.min(STEPS_PER_SECOND, this.#steps + earned)
    this.#steppedAt = now
    if (steps > this.#steps) return false
    this.#steps -= steps
    return true
  }

  get #current(): Snapshot {
    const list = this.#files.list()
    if (this.#snapshot?.list !== list) this.#snapshot = snapshotOf(list, this.#snapshot)
    return this.#snapshot
  }
}

function snapshotOf(list: readonly DriveFile[], before: Snapshot | undefined): Snapshot {
  const byId = new Map<string, Indexed>()
  const byUpperName = new Map<string, DriveFile>()
  let units = 0
  let modifiedAt = 0
  let allocated = 0n
  for (const file of list) {
    const known = before?.byId.get(file.id)
    // A name takes longest, and does not change.
    const upperName = known?.file.name === file.name ? known.upperName : upcase(file.name)
    byId.set(file.id, { file, upperName })
    if (!byUpperName.has(upperName)) byUpperName.set(upperName, file)
    units += file.name.length
    modifiedAt = Math.max(modifiedAt, file.modifiedAt)
    allocated += allocationUnits(file.size)
  }
  return { list, byId, byUpperName, units, modifiedAt, allocationUnits: allocated }
}
