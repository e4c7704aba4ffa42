import { platform } from '#platform'
import {
  BundleLine,
  type BundleNote,
  BundleUnusableError,
  type FetchBundle,
  type FirstTrustBundle,
  type NoteBundle,
} from './bundle-line.ts'
import { RapError } from './errors.ts'
import type { BundleTools, TrustStore } from './platform/types.ts'

export interface TrustBundlesOptions {
  /**
   * What to begin with, one a name: the certificates of a ref, a signed bundle (JSON as `GET /v1/trust-bundle` answers or text), or the
   * SHA-256 of one, which is then fetched.
   */
  readonly first: FirstTrustBundle | readonly FirstTrustBundle[]
  /** Where newer bundles are kept between runs; without one they are fetched again in each. */
  readonly store?: TrustStore
}

/** Notes that are kept until somebody asks; older ones go. */
const MAX_NOTES = 100

/**
 * Trust bundles of an application, by ref: the only authorities for workers of a platform CA. The system's store is neither
 * used for these nor touched.
 */
export class TrustBundles {
  readonly #lines: ReadonlyMap<string, BundleLine>
  readonly #tools: BundleTools
  readonly #notes: BundleNote[]

  /** @ignore made by `openTrustBundles` */
  constructor(lines: ReadonlyMap<string, BundleLine>, tools: BundleTools, notes: BundleNote[]) {
    this.#lines = lines
    this.#tools = tools
    this.#notes = notes
  }

  /** The newest ref of each name that is held. */
  get refs(): string[] {
    return [...this.#lines.values()].map(({ ref }) => ref)
  }

  /** Certificates of all that is held, PEM. */
  get certificates(): string[] {
    return [...this.#lines.values()].flatMap(({ pem }) => pem ?? [])
  }

  /**
   * The certificates that count for a ref, and the ref that they are of: the one that is named or a newer one of its name.
   * Throws BundleUnusableError. A name that the application did not begin with is never fetched.
   */
  async certificatesFor(
    ref: string | undefined,
    fetchBundle: FetchBundle,
    note: NoteBundle,
  ): Promise<{ ref: string; pem: string }> {
    for (const earlier of this.#notes.splice(0)) note(earlier)
    const parsed = ref === undefined ? undefined : this.#tools.parseRef(ref)
    const line = this.#lines.get(parsed?.name ?? ref ?? '')
    if (line === undefined) throw new BundleUnusableError('trust_bundle_unavailable', 'no bundle of that name')
    if (line.holds(parsed?.version)) note({ reason: 'held', ref: line.ref })
    else if (parsed !== undefined) await line.upTo(parsed.version, fetchBundle, note)
    const { pem } = line
    if (pem === undefined || !line.holds(parsed?.version)) {
      throw new BundleUnusableError('trust_bundle_unavailable', 'bundle is not held')
    }
    return { ref: line.ref, pem }
  }

  /** Takes up a newer bundle where its name is known here; anything else changes nothing. Throws BundleUnusableError. */
  async follow(ref: string, fetchBundle: FetchBundle): Promise<void> {
    const parsed = this.#tools.parseRef(ref)
    const line = parsed === undefined ? undefined : this.#lines.get(parsed.name)
    if (parsed === undefined || line === undefined || line.holds(parsed.version)) return
    await line.upTo(parsed.version, fetchBundle, keepIn(this.#notes))
  }
}

function keepIn(notes: BundleNote[]): NoteBundle {
  return note => {
    notes.push(note)
    if (notes.length > MAX_NOTES) notes.shift()
  }
}

/**
 * Opens the trust bundles of an application, in Node: verifies what it begins with, and takes up what the store has.
 *
 * One object may serve several clients of the same platform. Throws RapError ERR_OPTION_INVALID where a first bundle is wrong.
 */
export async function openTrustBundles({ first, store }: TrustBundlesOptions): Promise<TrustBundles> {
  const tools = toolsHere()
  const notes: BundleNote[] = []
  const lines = new Map<string, BundleLine>()
  for (const entry of [first].flat() as FirstTrustBundle[]) {
    const line = await BundleLine.open(entry, { tools, store, note: keepIn(notes) }).catch((cause: unknown) => {
      throw new RapError('ERR_OPTION_INVALID', 'a first trust bundle is wrong', {}, { cause })
    })
    if (lines.has(line.name)) throw new RapError('ERR_OPTION_INVALID', 'two first trust bundles have one name')
    lines.set(line.name, line)
  }
  if (lines.size === 0) throw new RapError('ERR_OPTION_INVALID', 'there is no first trust bundle')
  return new TrustBundles(lines, tools, notes)
}

/**
 * Keeps bundles in a directory, in Node. Any number of processes may share it, and nothing in it is believed: whoever writes
 * there can make a client fetch again, and no more.
 */
export function fileTrustStore(directory: string): TrustStore {
  return toolsHere().openFileStore(directory)
}

function toolsHere(): BundleTools {
  if (platform.bundles !== undefined) return platform.bundles
  throw new RapError('ERR_OPTION_INVALID', 'a browser has its own trust store, and no other')
}
