/** One claim of the smoke, and whether it held. */
export interface Row {
  readonly claim: string
  readonly held: boolean
  readonly detail: string
}

/** Collects what held; a claim that throws has not. */
export class Report {
  readonly rows: Row[] = []
  readonly #onRow: (row: Row) => void

  constructor(onRow: (row: Row) => void = () => {}) {
    this.#onRow = onRow
  }

  get held(): boolean {
    return this.rows.length > 0 && this.rows.every(row => row.held)
  }

  /** Runs one claim; its answer is the detail. Never rejects. */
  async claim(claim: string, prove: () => Promise<string>): Promise<void> {
    const row = await prove().then(
      detail => ({ claim, held: true, detail }),
      (error: unknown) => ({ claim, held: false, detail: wordsOf(error) }),
    )
    this.rows.push(row)
    this.#onRow(row)
  }
}

/** Throws where something is not so. */
export function expect(condition: unknown, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise)
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code } = error as { code?: unknown }
  return typeof code === 'string' ? `${error.message} (${code})` : error.message
}
