import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { EXPLAINED } from '../src/explain.ts'

const ROOT = join(import.meta.dirname, '../../..')

t.test('the examples of the guide are the files that are type-checked', async t => {
  const guide = readFileSync(join(ROOT, 'docs/guides/sdk.md'), 'utf8')
  const names = [...guide.matchAll(/<!-- example: (\S+) -->/g)].map(([, name]) => name ?? '')
  t.ok(names.length > 0)
  for (const name of names) t.ok(guide.includes(readFileSync(join(ROOT, name), 'utf8')), name)
})

t.test('every error code of the client is in the guide', async t => {
  const guide = readFileSync(join(ROOT, 'docs/guides/sdk.md'), 'utf8')
  const source = readFileSync(join(import.meta.dirname, '../src/errors.ts'), 'utf8')
  const union = source.slice(0, source.indexOf('export interface'))
  for (const [code] of union.matchAll(/ERR_[A-Z_]+/g)) t.ok(guide.includes(`\`${code}\``), code)
})

t.test('every reason that the trace has words for is in the guide', async t => {
  const guide = readFileSync(join(ROOT, 'docs/guides/sdk.md'), 'utf8')
  for (const reason of [...EXPLAINED.skipped, ...EXPLAINED.failed.filter(name => name !== 'aborted')]) {
    t.ok(guide.includes(`\`${reason}\``), reason)
  }
})
