import fc from 'fast-check'
import t from 'tap'
import { NameExpression, upcase } from '../../src/rdpdr/file-names.ts'

const isSameName = (one: string, other: string) => upcase(one) === upcase(other)
const isNameInExpression = (name: string, expression: string) => new NameExpression(expression).fits(upcase(name))

t.test('names are the same but for case, and a look-alike is another name', async t => {
  for (const [one, other] of [
    ['a.txt', 'A.TXT'],
    ['Grüße.pdf', 'GRÜßE.PDF'],
    ['τέλος', 'ΤΈΛΟΣ'],
    ['', ''],
  ] as const) {
    t.ok(isSameName(one, other), `${one} ${other}`)
  }
  for (const [one, other] of [
    ['a.txt', 'a.txt '],
    ['a.txt', 'a.txt.'],
    ['a.txt', 'a.txt::$DATA'],
    ['file', 'ﬁle'],
    ['strasse', 'straße'],
    ['kilo', '\u212ailo'],
    ['ı', 'i'],
    ['ſ', 's'],
  ] as const) {
    t.notOk(isSameName(one, other), `${one} ${other}`)
  }
})

t.test('wildcards mean what [MS-FSA] §2.1.4.4 says', async t => {
  const cases: readonly [name: string, expression: string, fits: boolean][] = [
    ['a', '*', true],
    ['a', '*.*', true],
    ['a.txt', '*.txt', true],
    ['a.TXT', '*.txt', true],
    ['a.txt.exe', '*.txt', false],
    ['a.txt', 'a.txt', true],
    ['a.txt', 'a.tx', false],
    ['a.txt', 'a.txtx', false],
    ['a.txt', '?.txt', true],
    ['.txt', '?.txt', false],
    ['ab.txt', '?.txt', false],
    ['abc', 'a*c', true],
    ['ac', 'a*c', true],
    ['abcb', 'a*c', false],
    ['a.b.c', '<.c', true],
    ['a.b.c', '<.b.c', true],
    ['a.b.c', '<', false],
    ['abc', '<', true],
    ['a.b.c', '<c', false],
    ['ab', '>>>>', true],
    ['abcde', '>>>>', false],
    ['ab.txt', '>>>>.txt', true],
    ['a.b', '>>>>', false],
    ['abc', 'abc"', true],
    ['abc.', 'abc"', true],
    ['abc.d', 'abc"d', true],
    ['abcd', 'abc"d', false],
    ['abc', 'abc"*', true],
    ['abc.txt', 'abc"*', true],
    ['a', '', false],
    ['', '*', false],
  ]
  for (const [name, expression, fits] of cases)
    t.equal(isNameInExpression(name, expression), fits, `${name} ${expression}`)
})

t.test('an expression with * and ? fits as a regular expression does', async t => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', 'c'), minLength: 1, maxLength: 8 })
  const wild = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(text, wild, (name, expression) => {
      const source = expression.replaceAll('.', '\\.').replaceAll('*', '.*').replaceAll('?', '.')
      const fits = expression === '*.*' || new RegExp(`^${source}$`).test(name)
      return isNameInExpression(name, expression) === fits
    }),
    { numRuns: 2_000 },
  )
  t.pass()
})

t.test('a hostile expression costs no more than name times expression', async t => {
  const started = process.cpuUsage()
  for (let round = 0; round < 100; round++) isNameInExpression('a'.repeat(255), `${'*a'.repeat(120)}b`)
  t.ok(process.cpuUsage(started).user < 2_000_000)
})
