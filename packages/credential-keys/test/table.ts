import { readFileSync } from 'node:fs'

/** One name of the decision table in the README. */
export interface Line {
  readonly name: string
  readonly decision: 'refused' | 'allowed' | 'allowed as written'
  readonly rule: string | undefined
}

/** The decision table of the README, one line a name. */
export const LINES: readonly Line[] = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  .split('\n')
  .flatMap(row => {
    const [, names = '', decision, rule] =
      /^\| (`.*`) \| (refused|allowed as written|allowed)(?:, `(\w+)`)? \|/.exec(row) ?? []
    return [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => ({
      name,
      decision: decision as Line['decision'],
      rule,
    }))
  })

export const ALLOWED = LINES.filter(line => line.decision === 'allowed').map(line => line.name)

/** Other spellings of a name: cases and separators, but the same letters and digits in the same order. */
export function spellingsOf(name: string): string[] {
  const words = name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(/[^A-Za-z0-9]+/)
    .filter(word => word !== '')
    .map(word => word.toLowerCase())
  const pascal = words.map(word => word.charAt(0).toUpperCase() + word.slice(1))
  const camel = pascal.join('')
  return [
    name,
    ...['', '_', '-', '.', ' ', '__', '/', ':'].map(separator => words.join(separator)),
    ...['', '_', '-', '.', ' '].map(separator => words.join(separator).toUpperCase()),
    ...['', '_', '-', ' '].map(separator => pascal.join(separator)),
    camel.charAt(0).toLowerCase() + camel.slice(1),
    [...words.join('')].join('_'),
    [...words.join('')].map((letter, index) => (index % 2 === 0 ? letter : letter.toUpperCase())).join(''),
  ]
}
