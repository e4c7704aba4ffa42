import { type Folded, foldName, SWAPS, withoutDigits } from './fold.ts'
import { foreignWordIn } from './scripts.ts'
import {
  ATTRIBUTES,
  CREDENTIAL_WORDS,
  HARMLESS,
  type NameRule,
  QUALIFIERS,
  QUANTITIES,
  type Reach,
  UNITS,
} from './words.ts'

/** Longest name that is looked at, in UTF-16 code units; a longer one is refused unread. */
export const MAX_NAME_CHARACTERS = 256

export type NameRefusal = NameRule | 'deceptive_name' | 'name_too_long'

/** Whether a name is one of a credential, in any spelling. */
export function isCredentialName(name: string): boolean {
  return credentialNameRule(name) !== undefined
}

/** The rule by which a name is refused, or undefined. */
export function credentialNameRule(name: string): NameRefusal | undefined {
  if (name.length > MAX_NAME_CHARACTERS) return 'name_too_long'
  const folded = foldName(name)
  const rule = ruleOf(folded) ?? (/\d/.test(folded.text) ? ruleOf(withoutDigits(folded)) : undefined)
  if (rule !== undefined) return rule
  if (/[^\x20-\x7e]/.test(name)) {
    const foreign = foreignWordIn(name)
    if (foreign !== undefined) return foreign
  }
  if (folded.isDeceptive) return 'deceptive_name'
  return ruleOfSwaps(name)
}

/** `p4ssw0rd`: only words that need a swapped letter, since the others were looked for before. */
function ruleOfSwaps(name: string): NameRule | undefined {
  if (!/[0134578$@!€£+|9]/.test(name) || !/\p{L}/u.test(name)) return undefined
  for (const swaps of SWAPS) {
    const rule = ruleOf(foldName(name, swaps), { swappedOnly: true })
    if (rule !== undefined) return rule
  }
  return undefined
}

interface Entry {
  credential?: { rule: NameRule; reach: Reach }
  harmless?: 'word' | 'stem'
  /** May stand beside a short word in a name that is read without separators. */
  isKnown?: true
  isAttribute?: true
  isUnit?: true
  isQuantity?: true
}

interface Node {
  readonly next: Map<string, Node>
  readonly entry: Entry
}

interface Span {
  readonly start: number
  readonly end: number
  readonly entry: Entry
}

const ROOT = buildTrie()

function buildTrie(): Node {
  const root: Node = { next: new Map(), entry: {} }
  const entryOf = (word: string): Entry => {
    let node = root
    for (const character of word) {
      const next = node.next.get(character) ?? { next: new Map(), entry: {} }
      node.next.set(character, next)
      node = next
    }
    return node.entry
  }
  for (const { rule, ...words } of CREDENTIAL_WORDS) {
    for (const [reach, list] of Object.entries(words)) {
      for (const word of list.split(' ')) entryOf(word).credential = { rule, reach: reach as Reach }
    }
  }
  for (const word of QUALIFIERS) entryOf(word).isKnown = true
  for (const word of ATTRIBUTES) entryOf(word).isAttribute = true
  for (const word of QUANTITIES) entryOf(word).isQuantity = true
  for (const word of UNITS) entryOf(word).isUnit = true
  for (const word of HARMLESS) entryOf(word.replace('*', '')).harmless = word.endsWith('*') ? 'stem' : 'word'
  return root
}

function ruleOf(folded: Folded, { swappedOnly = false } = {}): NameRule | undefined {
  const spans = spansOf(folded.text)
  const credentials = spans.filter(({ entry }) => entry.credential !== undefined)
  if (credentials.length === 0) return undefined
  const reading = readWhole(folded.text, spans)
  const counted = credentials.filter(span => {
    const isLooked = !swappedOnly || folded.swapped.slice(span.start, span.end).includes(true)
    return isLooked && counts(span, folded, reading)
  })
  // The word that a name tells something about is the longest one, however its spelling falls into words.
  const longer = [...counted, ...credentials.filter(({ end }) => isAttributeOf(folded.text, end, spans))]
  // What a name is comes last in it: `user_password` is a password.
  const found = counted
    .filter(span => !longer.some(other => isInside(span, other)) && !isExcused(span, folded, { spans, reading }))
    .reduce<Span | undefined>((last, span) => (last === undefined || span.end >= last.end ? span : last), undefined)
  return found?.entry.credential?.rule
}

/** `pass` of `password` is no word of its own. */
function isInside(span: Span, other: Span): boolean {
  return other.start <= span.start && span.end <= other.end && other.end - other.start > span.end - span.start
}

/** Every word of the tables in the text, longest last where several begin at one place. */
function spansOf(text: string): Span[] {
  const spans: Span[] = []
  for (let start = 0; start < text.length; start++) {
    let node = ROOT.next.get(text.charAt(start))
    for (let end = start + 1; node !== undefined; end++) {
      if (Object.keys(node.entry).length > 0) spans.push({ start, end, entry: node.entry })
      node = node.next.get(text.charAt(end))
    }
  }
  return spans
}

/** Which places of a text can be reached from its start, and from its end, by known words and digits alone. */
interface Reading {
  readonly fromStart: readonly boolean[]
  readonly fromEnd: readonly boolean[]
}

function readWhole(text: string, spans: readonly Span[]): Reading {
  const fromStart = Array<boolean>(text.length + 1).fill(false)
  const fromEnd = Array<boolean>(text.length + 1).fill(false)
  fromStart[0] = true
  fromEnd[text.length] = true
  const steps: { start: number; end: number }[] = spans.filter(({ entry }) => entry.isKnown || entry.credential)
  for (const { end, entry } of spans)
    if (entry.credential && text[end] === 's') steps.push({ start: end, end: end + 1 })
  for (let index = 0; index < text.length; index++) {
    const character = text.charAt(index)
    if (character >= '0' && character <= '9') steps.push({ start: index, end: index + 1 })
  }
  steps.sort((a, b) => a.start - b.start)
  for (const { start, end } of steps) if (fromStart[start]) fromStart[end] = true
  for (const { start, end } of steps.sort((a, b) => b.end - a.end)) if (fromEnd[end]) fromEnd[start] = true
  return { fromStart, fromEnd }
}

function counts({ start, end, entry }: Span, { text, edges }: Folded, { fromStart, fromEnd }: Reading): boolean {
  const reach = entry.credential?.reach
  if (reach === 'anywhere') return true
  const isPlural = text[end] === 's'
  if (fromStart[start] && (fromEnd[end] || (isPlural && fromEnd[end + 1]))) return true
  if (reach === 'alone') return false
  if (edges[start] && (edges[end] || (isPlural && edges[end + 1]))) return true
  return reach === 'within' && !edges.slice(start + 1, end).includes(true)
}

function isExcused(
  span: Span,
  { text, edges }: Folded,
  { spans, reading }: { spans: readonly Span[]; reading: Reading },
): boolean {
  const { fromStart, fromEnd } = reading
  if (isAttributeOf(text, span.end, spans) || isQuantity(text, span, { spans, reading })) return true
  // `ruby_pass` holds the letters of `bypass`: no phrase excuses a name that known words explain whole.
  if (fromStart[span.start] && (fromEnd[span.end] || (text[span.end] === 's' && fromEnd[span.end + 1]))) return false
  return spans.some(isHarmlessAround)

  function isHarmlessAround({ start, end, entry }: Span): boolean {
    if (entry.harmless === undefined || start > span.start || end < span.end) return false
    const begins = start === span.start || edges[start] || reading.fromStart[start]
    const ends = entry.harmless === 'stem' || edges[end] || reading.fromEnd[end]
    return begins === true && ends === true
  }
}

/** Whether attributes and units alone follow, and at least one attribute: `password_policy`, `token_lifetime_seconds`. */
function isAttributeOf(text: string, end: number, spans: readonly Span[]): boolean {
  // Per place: reached without an attribute, and reached with one.
  const plain = new Set([end, ...(text[end] === 's' ? [end + 1] : [])])
  const told = new Set<number>()
  for (let place = end; place < text.length; place++) {
    if (!plain.has(place) && !told.has(place)) continue
    const character = text.charAt(place)
    if (character >= '0' && character <= '9') (told.has(place) ? told : plain).add(place + 1)
    for (const { start, end: next, entry } of spans) {
      if (start !== place) continue
      if (entry.isAttribute) told.add(next)
      else if (entry.isUnit) (told.has(place) ? told : plain).add(next)
    }
  }
  return told.has(text.length)
}

/** Whether the span is a plural with a quantity in front of it, and nothing but units behind: `max_users`. */
function isQuantity(
  text: string,
  { start, end }: Span,
  { spans, reading }: { spans: readonly Span[]; reading: Reading },
): boolean {
  if (text[end] !== 's') return false
  // The longest word that ends here: the `min` of `admin_users` is no quantity.
  const before = spans.find(span => span.end === start && (span.entry.isKnown || span.entry.isQuantity))
  if (!before?.entry.isQuantity || !reading.fromStart[before.start]) return false
  const rest = text.slice(end + 1)
  return /^\d*$/.test(rest) || UNITS.some(unit => rest === unit || rest === `per${unit}`)
}
