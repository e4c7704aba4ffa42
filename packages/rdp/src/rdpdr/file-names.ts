/**
 * Upper case of each UTF-16 unit for itself, where it is one unit. Names that are the same in it are the same file, as Windows compares: unit by
 * unit, with no language.
 *
 * A letter outside ASCII is never the same as one inside, so that no look-alike of a name opens it.
 */
export function upcase(text: string): string {
  let upper = ''
  for (let index = 0; index < text.length; index++) {
    const unit = text.charAt(index)
    const big = unit.toUpperCase()
    upper += big.length === 1 && (big > '\x7f' || unit <= '\x7f') ? big : unit
  }
  return upper
}

/** Units with a meaning of their own. */
const CODE = {
  /** Any characters, or none. */
  STAR: 0x2a,
  /** Any one character. */
  QUESTION: 0x3f,
  /** As STAR, but never the last period. */
  DOS_STAR: 0x3c,
  /** As QUESTION, and nothing where a period or the end follows. */
  DOS_QM: 0x3e,
  /** A period, or nothing at the end. */
  DOS_DOT: 0x22,
  PERIOD: 0x2e,
  END: -1,
} as const

/** Whether an expression means every name. */
export function isEveryName(expression: string): boolean {
  return expression === '*' || expression === '*.*'
}

/** Whether an expression means anything but the one name that it is. */
export function hasWildcards(expression: string): boolean {
  return /[*?<>"]/.test(expression)
}

/**
 * An expression of a directory query, and the names that fit it.
 *
 * Spec: [MS-FSA] §2.1.4.4. Follows all positions of the expression at once: never more steps than name times expression,
 * whatever the stars.
 */
export class NameExpression {
  readonly #text: string
  /** In upper case. */
  readonly #units: Uint16Array
  #reached: Uint8Array
  #next: Uint8Array

  constructor(expression: string) {
    this.#text = expression
    this.#units = Uint16Array.from(upcase(expression), unit => unit.charCodeAt(0))
    this.#reached = new Uint8Array(expression.length + 1)
    this.#next = new Uint8Array(expression.length + 1)
  }

  /** Units, and so steps for each unit of a name. */
  get length(): number {
    return this.#units.length
  }

  /** `name` is in upper case. */
  fits(name: string): boolean {
    if (isEveryName(this.#text)) return name !== ''
    if (name === '' || this.#text === '') return false
    const units = this.#units
    const { length } = units
    const lastPeriod = name.lastIndexOf('.')
    this.#reached.fill(0)
    this.#reach(this.#reached, 0, name.charCodeAt(0))
    for (let index = 0; index < name.length; index++) {
      const reached = this.#reached
      const next = this.#next.fill(0)
      const unit = name.charCodeAt(index)
      const following = index + 1 < name.length ? name.charCodeAt(index + 1) : CODE.END
      for (let at = 0; at < length; at++) {
        if (reached[at] === 0) continue
        const wild = units[at] as number
        if (wild === CODE.STAR || (wild === CODE.DOS_STAR && index !== lastPeriod)) this.#reach(next, at, following)
        else if (takesOne(wild, unit)) this.#reach(next, at + 1, following)
      }
      this.#reached = next
      this.#next = reached
    }
    return this.#reached[length] === 1
  }

  /** Marks `at`, and every position behind it that needs no unit; `following` is the next unit of the name. */
  #reach(reached: Uint8Array, at: number, following: number): void {
    for (let position = at; reached[position] === 0; position++) {
      reached[position] = 1
      const wild = this.#units[position]
      const needsNone =
        wild === CODE.STAR ||
        wild === CODE.DOS_STAR ||
        (wild === CODE.DOS_QM && (following === CODE.END || following === CODE.PERIOD)) ||
        (wild === CODE.DOS_DOT && following === CODE.END)
      if (!needsNone) return
    }
  }
}

function takesOne(wild: number, unit: number): boolean {
  if (wild === CODE.QUESTION) return true
  if (wild === CODE.DOS_QM) return unit !== CODE.PERIOD
  return wild === CODE.DOS_DOT ? unit === CODE.PERIOD : wild === unit
}
