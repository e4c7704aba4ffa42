import fc from 'fast-check'
import t from 'tap'
import type { DriveFile } from '../../src/index.ts'
import { FileIndex } from '../../src/rdpdr/file-index.ts'
import { NameExpression, upcase } from '../../src/rdpdr/file-names.ts'

const file = (id: string, name: string, size = 1, modifiedAt = 1): DriveFile => ({ id, name, size, modifiedAt })

/** Files that may change, and a clock that is set. */
function held(list: readonly DriveFile[]) {
  const state = { list, now: 0 }
  const index = new FileIndex({ list: () => state.list, read: (_f, _o, _l, done) => done('failed') }, () => state.now)
  return { state, index }
}

/** As hostile as names may be: a thousand of the longest, all alike. */
const LONGEST = Array.from({ length: 1000 }, (_, at) =>
  file(String(at), `${'a'.repeat(251)}${String(at).padStart(4, '0')}`),
)

t.test('files are found by name, whatever its case, and follow the list', async t => {
  const { state, index } = held([file('1', 'Notes.txt', 5000, 7), file('2', 'b', 1, 9)])
  t.match(index.named('NOTES.TXT'), { id: '1' })
  t.equal(index.named('notes'), undefined)
  t.equal(index.modifiedAt, 9)
  t.equal(index.allocationUnits, 3n)
  const [notes] = state.list
  state.list = [file('2', 'b', 1, 9), file('3', 'c', 1, 8)]
  t.notOk(index.has(notes!))
  t.equal(index.named('notes.txt'), undefined)
  t.match(index.named('C'), { id: '3' })
  t.equal(index.allocationUnits, 2n)
})

t.test('a search by name, by wildcards and for everything says the same as looking at each file', async t => {
  const name = fc.string({ unit: fc.constantFrom('a', 'B', '.', 'c'), minLength: 1, maxLength: 5 })
  const names = fc.uniqueArray(name, { maxLength: 8, selector: upcase })
  const wild = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?', '<', '>', '"'), minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(names, fc.oneof(name, wild), (given, expression) => {
      const { index } = held(given.map(each => file(each, each)))
      const found = index.matching(expression)?.map(({ name: each }) => each)
      const single = new NameExpression(expression)
      return JSON.stringify(found) === JSON.stringify(given.filter(each => single.fits(upcase(each))))
    }),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('a target that searches without end gets a share of the time, and no more', async t => {
  const { state, index } = held(LONGEST)
  t.equal(index.matching(`${'*a'.repeat(250)}b`), undefined, 'never: one of them would take seconds')
  const started = process.cpuUsage()
  let answered = 0
  for (let round = 0; round < 1000; round++) if (index.matching('*a*a*b') !== undefined) answered++
  t.equal(answered, 6)
  t.ok(process.cpuUsage(started).user < 2_000_000)
  t.equal(index.matching('*')?.length, 1000, 'what takes no search goes on')
  t.match(index.matching(`${'A'.repeat(251)}0007`), [{ id: '7' }])
  state.now += 500
  t.equal(index.matching('*7')?.length, 100, 'and so does searching, a moment later')
})
