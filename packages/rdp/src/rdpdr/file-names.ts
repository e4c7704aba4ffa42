/**
 * Tells whether two names are the same file, as Windows compares: unit by unit, in upper case, with no language.
 *
 * A letter outside ASCII is never the same as one inside, so that no look-alike of a name opens it.
 */
export function isSameName(one: string, other: string): boolean {
  return one.length === other.length && upcase(one) === upcase(other)
}

/** Upper case of each UTF-16 unit for itself, where it is one unit. */
export function upcase(text: string): string {
  let upper = ''
  for (let index = 0; index < text.length; index++) {
    const unit = text.charAt(index)
    const big = unit.toUpperCase()
    upper += big.length === 1 && (big > '\x7f' || unit <= '\x7f') ? big : unit
  }
  return upper
}

/** Any characters, or none. */
const STAR = '*'
/** Any one character. */
const QUESTION = '?'
/** As STAR, but never the last period. */
const DOS_STAR = '<'
/** As QUESTION, and nothing where a period or the end follows. */
const DOS_QM = '>'
/** A period, or nothing at the end. */
const DOS_DOT = '"'

/**
 * Tells whether a name fits an expression of a directory query.
 *
 * Spec: [MS-FSA] §2.1.4.4. Follows all positions of the expression at once: never more steps than name times expression,
 * whatever the stars.
 */
export function isNameInExpression(name: string, expression: string): boolean {
  if (expression === '*' || expression === '*.*') return name !== ''
  if (name === '' || expression === '') return false
  const text = upcase(name)
  const pattern = upcase(expression)
  const lastPeriod = text.lastIndexOf('.')
  let reached = new Uint8Array(pattern.length + 1)
  reach(reached, pattern, 0, text.charAt(0))
  for (let index = 0; index < text.length; index++) {
    const unit = text.charAt(index)
    const following = text.charAt(index + 1)
    const next = new Uint8Array(pattern.length + 1)
    for (let at = 0; at < pattern.length; at++) {
      if (reached[at] === 0) continue
      const wild = pattern.charAt(at)
      if (wild === STAR || (wild === DOS_STAR && index !== lastPeriod)) reach(next, pattern, at, following)
      else if (takesOne(wild, unit)) reach(next, pattern, at + 1, following)
    }
    reached = next
  }
  return reached[pattern.length] === 1
}

function takesOne(wild: string, unit: string): boolean {
  if (wild === QUESTION) return true
  if (wild === DOS_QM) return unit !== '.'
  return wild === DOS_DOT ? unit === '.' : wild === unit
}

/** Marks `at`, and every position behind it that needs no character; `following` is the next one, '' at the end. */
function reach(reached: Uint8Array, pattern: string, at: number, following: string): void {
  for (let position = at; reached[position] === 0; position++) {
    reached[position] = 1
    const wild = pattern.charAt(position)
    const needsNone =
      wild === STAR ||
      wild === DOS_STAR ||
      (wild === DOS_QM && (following === '' || following === '.')) ||
      (wild === DOS_DOT && following === '')
    if (!needsNone) return
  }
}
