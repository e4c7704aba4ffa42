import type { BundleTools, HeldBundle, TrustStore } from './platform/types.ts'

/** The bundle that an application trusts to begin with; see `openTrustBundles`. */
export type FirstTrustBundle =
  | { readonly ref: string; readonly pem: string | readonly string[] }
  | { readonly ref: string; readonly sha256: string }
  | { readonly document: unknown; readonly sha256?: string }

/** What was done about a bundle. */
export interface BundleNote {
  readonly reason: 'held' | 'stored' | 'fetched' | 'verified' | 'stepped' | 'store_ignored' | 'store_not_written'
  readonly ref: string
  readonly detail?: string
}
export type NoteBundle = (note: BundleNote) => void

/** Fetches the signed bundle of one version; undefined where there is none. */
export type FetchBundle = (version: number) => Promise<unknown>

/** A bundle that cannot be had, or that is not the successor of what is held. */
export class BundleUnusableError extends Error {
  override readonly name = 'BundleUnusableError'
  readonly reason: 'trust_bundle_unavailable' | 'trust_bundle_unverified'

  constructor(reason: BundleUnusableError['reason'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.reason = reason
  }
}

/** Bundles that one request may make us step over: bounds what a server that names a far version costs. */
const MAX_STEPS = 100
/** Bundles that are kept in a store. */
const MAX_STORED = 1000
const MAX_STORE_CHARACTERS = 8 * 1024 * 1024

/** What is known of a first bundle before anything is verified. `version` is undefined where a ref has none. */
interface Base {
  readonly name: string
  readonly ref: string
  readonly version: number | undefined
  readonly pem?: string
  readonly fingerprints?: readonly string[]
  readonly sha256?: string
}

/**
 * The bundles of one name, from the first one on.
 *
 * INVARIANT: what counts is what the application gave, and what is signed by a root that is held, step by step. Neither the
 * network nor the store is believed.
 */
export class BundleLine {
  readonly name: string
  readonly #base: Base
  readonly #tools: BundleTools
  readonly #store: TrustStore | undefined
  /** Signed bundles by version, as they are kept in the store; those of versions that this line did not verify included. */
  #documents = new Map<number, unknown>()
  #held: HeldBundle | undefined
  #advancing: Promise<void> = Promise.resolve()

  private constructor(base: Base, tools: BundleTools, store: TrustStore | undefined) {
    this.name = base.name
    this.#base = base
    this.#tools = tools
    this.#store = store
  }

  /** Verifies the first bundle and takes up what the store has of its successors. Throws whatever the first bundle is wrong with. */
  static async open(
    first: FirstTrustBundle,
    { tools, store, note }: { tools: BundleTools; store: TrustStore | undefined; note: NoteBundle },
  ): Promise<BundleLine> {
    if (!('document' in first)) {
      const line = new BundleLine(baseOf(first, tools), tools, store)
      await line.#readStore(note)
      return line
    }
    const { document, sha256 } = first
    const held = await tools.first(signedOf(document), sha256 === undefined ? {} : { sha256 })
    const { ref, version } = held.bundle
    const line = new BundleLine({ name: nameOf(ref, tools), ref, version }, tools, store)
    line.#take(version, held)
    await line.#readStore(note)
    return line
  }

  /** The newest bundle that is held. */
  get ref(): string {
    return this.#held?.bundle.ref ?? this.#base.ref
  }

  /** Its certificates; undefined while nothing but a SHA-256 is known. */
  get pem(): string | undefined {
    return this.#held?.pem ?? this.#base.pem
  }

  /** True where the bundle of that version, or a newer one, is held. A ref without a version is held as it stands. */
  holds(version: number | undefined): boolean {
    if (this.pem === undefined) return false
    const newest = this.#version
    if (version === undefined) return newest === undefined
    return newest !== undefined && version <= newest
  }

  get #version(): number | undefined {
    return this.#held?.bundle.version ?? this.#base.version
  }

  /**
   * Gets the bundle of that version, step by step; what was verified stays held where a later step fails.
   * Throws BundleUnusableError. Calls at once share their steps.
   */
  async upTo(version: number, fetchBundle: FetchBundle, note: NoteBundle): Promise<void> {
    const before = this.#advancing
    const turn = (async () => {
      await before.catch(() => {})
      if (!this.holds(version)) await this.#advance(version, fetchBundle, note)
    })()
    this.#advancing = turn
    await turn
  }

  async #advance(version: number, fetchBundle: FetchBundle, note: NoteBundle): Promise<void> {
    // Another process may have gone ahead.
    await this.#readStore(note)
    if (this.holds(version)) return
    const start = this.#version
    if (start === undefined || version - start > MAX_STEPS) {
      throw new BundleUnusableError('trust_bundle_unavailable', 'bundle is too far from the one that is held')
    }
    const known = this.#held
    try {
      if (this.#held === undefined) await this.#step(start, fetchBundle, note)
      for (let next = (this.#version ?? start) + 1; next <= version; next++) await this.#step(next, fetchBundle, note)
    } finally {
      if (this.#held !== known) await this.#writeStore(note)
    }
  }

  async #step(version: number, fetchBundle: FetchBundle, note: NoteBundle): Promise<void> {
    const ref = `${this.name}:v${version}`
    const document = await fetchBundle(version)
    note({ reason: 'fetched', ref })
    const isFirst = this.#held === undefined
    let held: HeldBundle
    try {
      held = await this.#verified(document)
    } catch (cause) {
      const detail = codeOf(cause)
      throw new BundleUnusableError('trust_bundle_unverified', detail, { cause })
    }
    if (held.bundle.version !== version) {
      throw new BundleUnusableError('trust_bundle_unverified', 'bundle has another version')
    }
    this.#take(version, held)
    note({ reason: isFirst ? 'verified' : 'stepped', ref })
  }

  /** The successor of what is held; where nothing is held yet, the bundle that the application described. */
  async #verified(document: unknown): Promise<HeldBundle> {
    const { sha256, fingerprints, ref } = this.#base
    const held =
      this.#held === undefined
        ? await this.#tools.first(document, sha256 === undefined ? {} : { sha256 })
        : await this.#tools.next(this.#held, document)
    if (nameOf(held.bundle.ref, this.#tools) !== this.name) throw new TypeError('bundle has another name')
    if (this.#held !== undefined) return held
    if (held.bundle.ref !== ref) throw new TypeError('bundle is not the first one')
    // Nothing is trusted that the application did not hand over.
    const theirs = this.#tools.fingerprintsOf(held.pem)
    if (fingerprints !== undefined && theirs.join() !== fingerprints.join()) {
      throw new TypeError('bundle has other certificates than the first one')
    }
    return held
  }

  #take(version: number, held: HeldBundle): void {
    this.#held = held
    this.#documents.set(version, held.signed)
  }

  /** Verifies what the store has beyond what is held; a store that does not fit is ignored. */
  async #readStore(note: NoteBundle): Promise<void> {
    if (this.#store === undefined) return
    const ignored = (detail: string) => note({ reason: 'store_ignored', ref: this.ref, detail })
    try {
      const text = await this.#store.load(this.name)
      if (text === undefined) return
      const stored = documentsOf(text)
      for (const [version, document] of this.#documents) stored.set(version, document)
      const known = this.#held
      for (let next = this.#next; next !== undefined && stored.has(next); next = this.#next) {
        const held = await this.#verified(stored.get(next))
        if (held.bundle.version !== next) throw new TypeError('bundle has another version')
        this.#take(next, held)
      }
      this.#documents = new Map([...stored, ...this.#documents])
      if (this.#held !== known) note({ reason: 'stored', ref: this.ref })
    } catch (error) {
      ignored(codeOf(error))
    }
  }

  /** The version that would be verified next. */
  get #next(): number | undefined {
    return this.#held === undefined ? this.#base.version : this.#held.bundle.version + 1
  }

  async #writeStore(note: NoteBundle): Promise<void> {
    if (this.#store === undefined) return
    try {
      await this.#store.save(this.name, textOf(this.#documents))
    } catch (error) {
      note({ reason: 'store_not_written', ref: this.ref, detail: codeOf(error) })
    }
  }
}

function baseOf(first: Exclude<FirstTrustBundle, { document: unknown }>, tools: BundleTools): Base {
  const { ref } = first
  const parsed = tools.parseRef(ref)
  const place = { name: parsed?.name ?? ref, ref, version: parsed?.version }
  if ('pem' in first) {
    const pem = [first.pem].flat().join('\n')
    return { ...place, pem, fingerprints: tools.fingerprintsOf(pem) }
  }
  if (parsed === undefined) throw new TypeError('a ref with a SHA-256 has a version')
  return { ...place, sha256: first.sha256 }
}

function nameOf(ref: string, tools: BundleTools): string {
  return tools.parseRef(ref)?.name ?? ref
}

/** A signed bundle as it is, as text, or inside the answer of `GET /v1/trust-bundle`. */
export function signedOf(document: unknown): unknown {
  const value = typeof document === 'string' ? (JSON.parse(document) as unknown) : document
  const isAnswer = typeof value === 'object' && value !== null && 'signed' in value
  return isAnswer ? value.signed : value
}

/** What a store holds: signed bundles by version. */
function documentsOf(text: string): Map<number, unknown> {
  if (text.length > MAX_STORE_CHARACTERS) throw new RangeError('store is over the bound')
  const { documents } = JSON.parse(text) as { documents?: unknown }
  if (typeof documents !== 'object' || documents === null) throw new TypeError('store has another form')
  const entries = Object.entries(documents).filter(([version]) => /^[1-9]\d{0,8}$/.test(version))
  return new Map(entries.slice(-MAX_STORED).map(([version, document]) => [Number(version), document]))
}

function textOf(documents: ReadonlyMap<number, unknown>): string {
  const newest = [...documents].sort(([a], [b]) => a - b).slice(-MAX_STORED)
  return JSON.stringify({ documents: Object.fromEntries(newest) })
}

/** A stable code, or the kind of an error: never its text, which may quote what a stranger wrote. */
function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code
  if (typeof code === 'string' && /^\w{1,100}$/.test(code)) return code
  return error instanceof Error ? error.name : 'Error'
}
