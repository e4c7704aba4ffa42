import { statfs } from 'node:fs/promises'
import { UploadError } from './errors.ts'

/** What has to come for the room of the rest to be kept, in bytes a second: less than any line of today brings, and more than a drip. */
const PACE_BYTES_PER_SECOND = 16 * 1024
/** Longest time that room is kept for an upload of which nothing comes, in milliseconds: 10 min, for a train in a tunnel or a laptop that sleeps. */
const MAX_HOLD_MS = 600_000

export interface RoomOptions {
  /** A directory on the disk in question. */
  readonly dir: string
  /** Most bytes of all uploads of this worker together, as announced. */
  readonly maxBytes: number
  /** Bytes of the disk that uploads leave free. */
  readonly reserveBytes: number
  /** A monotonic reading in milliseconds. */
  readonly now?: (() => number) | undefined
}

/** The part of the room that one upload has. */
export interface Reservation {
  /** Makes sure of the room for what is still to come, where somebody else has it by now. Rejects: as `Room.reserve`. */
  renew(): Promise<void>
  /** Bytes that are on the disk now and were still to come; they keep the room of the rest. */
  wrote(bytes: number): void
  /** Gives everything back, once. */
  release(): void
}

/** Room that is kept for bytes of one upload that are still to come. */
interface Claim {
  left: number
  /** False: somebody else has taken it. */
  isHeld: boolean
  heldUntil: number
}

/**
 * The room that a worker has for uploads. A file is refused when it is announced, and not after gigabytes.
 *
 * What is stored stays. Room for bytes that are still to come is kept by bytes that come: each second's worth of the pace keeps it for a second more. Where
 * nothing comes any more, or nothing has come yet, it is kept for as long as nobody else needs it. So announcing alone shuts nobody out, and an
 * upload that goes on is never the one that has to give way. docs/decisions/0007-channels-and-policy.md has the reasons.
 */
export class Room {
  readonly #options: RoomOptions
  readonly #now: () => number
  readonly #claims = new Set<Claim>()
  #stored = 0
  #toCome = 0
  #asking: Promise<unknown> = Promise.resolve()

  constructor(options: RoomOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  /** Bytes of uploads that are on the disk now. */
  get storedBytes(): number {
    return this.#stored
  }

  /** Takes room for a file of `size` bytes. Rejects: ERR_UPLOAD_DISK_FULL, and with what the file system says. */
  async reserve(size: number): Promise<Reservation> {
    const claim: Claim = { left: size, isHeld: false, heldUntil: this.#now() }
    await this.#inTurn(() => this.#hold(claim))
    let written = 0
    let released = false
    return {
      renew: async () => {
        if (!released && !claim.isHeld) await this.#inTurn(() => this.#hold(claim))
      },
      wrote: bytes => {
        if (released) return
        written += bytes
        this.#stored += bytes
        claim.left -= bytes
        if (claim.isHeld) this.#toCome -= bytes
        const now = this.#now()
        const kept = Math.max(now, claim.heldUntil) + (bytes / PACE_BYTES_PER_SECOND) * 1000
        claim.heldUntil = Math.min(now + MAX_HOLD_MS, kept)
      },
      release: () => {
        if (released) return
        released = true
        this.#stored -= written
        this.#letGo(claim)
      },
    }
  }

  /** One at a time: two that look at the same free bytes would both take them. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#asking.then(work)
    this.#asking = turn.catch(() => undefined)
    return turn
  }

  async #hold(claim: Claim): Promise<void> {
    const { dir, maxBytes, reserveBytes } = this.#options
    if (claim.isHeld) return
    // Read before the disk is asked: what is written meanwhile then counts twice rather than not at all.
    const toCome = this.#toCome
    const { bavail, bsize } = await statfs(dir)
    const { left } = claim
    const overMaximum = this.#stored + this.#toCome + left - maxBytes
    const overDisk = toCome + left - (bavail * bsize - reserveBytes)
    this.#makeRoom(Math.max(overMaximum, overDisk))
    claim.isHeld = true
    this.#claims.add(claim)
    this.#toCome += left
  }

  /** Takes room from those that nothing comes for, the longest first; from nobody where that is not enough. */
  #makeRoom(bytes: number): void {
    if (bytes <= 0) return
    const now = this.#now()
    const idle = [...this.#claims].filter(({ left, heldUntil }) => left > 0 && heldUntil <= now)
    idle.sort((one, other) => one.heldUntil - other.heldUntil)
    let freed = 0
    const taken: Claim[] = []
    for (const claim of idle) {
      if (freed >= bytes) break
      freed += claim.left
      taken.push(claim)
    }
    if (freed < bytes) throw new UploadError('ERR_UPLOAD_DISK_FULL')
    for (const claim of taken) this.#letGo(claim)
  }

  #letGo(claim: Claim): void {
    if (!claim.isHeld) return
    claim.isHeld = false
    this.#claims.delete(claim)
    this.#toCome -= claim.left
  }
}
