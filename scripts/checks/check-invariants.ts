import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'

/** Every test that docs/architecture/invariants.md names is there, with the title that is quoted. */
const PAGE = 'docs/architecture/invariants.md'

const problems: string[] = []
for (const line of readFileSync(PAGE, 'utf8').split('\n')) {
  const id = line.match(/^\| (INV-\d+) /)?.[1]
  if (id === undefined) continue
  const shown = line.split(' | ').at(-1) ?? ''
  for (const part of shown.split(/(?=`[\w-]+\/)/)) {
    const place = part.match(/^`([^`]+)`/)?.[1]
    if (place === undefined) continue
    if (!existsSync(place)) {
      problems.push(`${id}: ${place} does not exist`)
      continue
    }
    const text = textOf(place)
    for (const [, title = ''] of part.matchAll(/"([^"]+)"/g)) {
      if (!text.includes(title)) problems.push(`${id}: no test in ${place} has the title "${title}"`)
    }
  }
}

for (const problem of problems) console.log(`${PAGE}: ${problem}`)
process.exitCode = problems.length === 0 ? 0 : 1

function textOf(place: string): string {
  if (statSync(place).isFile()) return readFileSync(place, 'utf8')
  return readdirSync(place, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .map(name => readFileSync(`${place}/${name}`, 'utf8'))
    .join('\n')
}
