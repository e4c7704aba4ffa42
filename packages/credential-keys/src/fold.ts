import { LATIN_OF } from './homoglyphs.ts'

/** A name without case, separators and disguise. */
export interface Folded {
  /** ASCII letters in lower case and digits; `?` for a letter of another script. */
  readonly text: string
  /** `edges[i]` is true where a word begins before character `i`; the length of the text is always an edge. */
  readonly edges: readonly boolean[]
  /** `swapped[i]` is true where a digit or sign was read as the letter that it resembles. */
  readonly swapped: readonly boolean[]
  /** True when the name is drawn as something that it is not: scripts mixed in one word, or text that runs backwards. */
  readonly isDeceptive: boolean
}

/** Digits and signs in the place of letters; `1` and `!` can be either of two. */
export const SWAPS: readonly ReadonlyMap<string, string>[] = ['i', 'l'].map(
  one =>
    new Map(
      [...['0o', '3e', '4a', '5s', '7t', '8b', '9g', '$s', '@a', '€e', '£l', '+t', '|l', `1${one}`, `!${one}`]].map(
        pair => [pair.charAt(0), pair.slice(1)],
      ),
    ),
)

/** Bidirectional controls, and letters in boxes and of flags, which no normalization turns into letters. */
const DECEPTIVE = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u{1f100}-\u{1f1ff}\u{e0000}-\u{e007f}]/u
/** What a parser after ours would turn into other letters: percent-encoding, escapes of JSON and C, entities of XML. */
const ENCODED = /%[0-9a-f]{2}|\\(?:u|x)[0-9a-f{]|&#/i
const INVISIBLE = /[\p{Default_Ignorable_Code_Point}\p{M}]/u
const LETTER = /\p{L}/u

type Kind = 'upper' | 'lower' | 'digit'

/**
 * Folds a name: NFKD, marks and invisible characters dropped, lookalikes read as Latin, lower case, separators dropped.
 *
 * Words begin after a separator, where lower case or a digit turns into upper case, at the last letter of a run of upper
 * case before lower case (`APIKey`), and between letters and digits.
 */
export function foldName(name: string, swaps?: ReadonlyMap<string, string>): Folded {
  const characters: string[] = []
  const kinds: Kind[] = []
  const edges: boolean[] = []
  const swapped: boolean[] = []
  let afterSeparator = true
  let isDeceptive = DECEPTIVE.test(name) || ENCODED.test(name)
  let hasLatin = false
  let hasOther = false
  const emit = (character: string, kind: Kind, isSwapped: boolean) => {
    const last = kinds.at(-1)
    edges.push(afterSeparator || (last !== undefined && isCaseEdge(last, kind)))
    afterSeparator = false
    characters.push(character)
    kinds.push(kind)
    swapped.push(isSwapped)
  }
  for (const raw of name.normalize('NFKD')) {
    const swap = swaps?.get(raw)
    const character = swap ?? raw
    const lower = character.toLowerCase()
    if (lower >= 'a' && lower <= 'z' && lower.length === 1) {
      hasLatin = true
      emit(lower, lower === character ? 'lower' : 'upper', swap !== undefined)
    } else if (lower >= '0' && lower <= '9' && lower.length === 1) {
      emit(lower, 'digit', false)
    } else if (character > '\u007f' && INVISIBLE.test(character)) {
      // Neither a letter nor a separator.
    } else if (character > '\u007f' && LETTER.test(character)) {
      const isLatin = /\p{Script=Latin}/u.test(character)
      const latin = LATIN_OF.get(lower)
      // A Latin letter without a reading is one that only phoneticians type.
      if (isLatin && latin === undefined) isDeceptive = true
      if (!isLatin) hasOther = true
      for (const letter of latin ?? '?') emit(letter, lower === character ? 'lower' : 'upper', false)
    } else {
      isDeceptive ||= hasLatin && hasOther
      hasLatin = false
      hasOther = false
      afterSeparator = true
    }
  }
  // The last capital of a run belongs to the word after it.
  for (let index = 1; index < kinds.length; index++) {
    if (kinds[index] === 'lower' && kinds[index - 1] === 'upper' && kinds[index - 2] === 'upper')
      edges[index - 1] = true
  }
  edges.push(true)
  return { text: characters.join(''), edges, swapped, isDeceptive: isDeceptive || (hasLatin && hasOther) }
}

/** The same without digits; a digit still ends a word. */
export function withoutDigits(folded: Folded): Folded {
  const kept: number[] = []
  for (let index = 0; index < folded.text.length; index++) if (!isDigit(folded.text, index)) kept.push(index)
  return {
    text: kept.map(index => folded.text[index]).join(''),
    edges: [...kept.map(index => folded.edges[index] === true), true],
    swapped: kept.map(index => folded.swapped[index] === true),
    isDeceptive: folded.isDeceptive,
  }
}

function isDigit(text: string, index: number): boolean {
  const code = text.charCodeAt(index)
  return code >= 48 && code <= 57
}

function isCaseEdge(last: Kind, kind: Kind): boolean {
  if (last === 'digit' || kind === 'digit') return last !== kind
  return last === 'lower' && kind === 'upper'
}
