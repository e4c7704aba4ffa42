import fc from 'fast-check'
import t from 'tap'
import { credentialNameRule, MAX_NAME_CHARACTERS } from '../src/names.ts'
import { ATTRIBUTES, CREDENTIAL_WORDS, HARMLESS, QUALIFIERS } from '../src/words.ts'
import { ALLOWED, LINES, spellingsOf } from './table.ts'

const WORDS = CREDENTIAL_WORDS.flatMap(({ rule: _, ...lists }) => Object.values(lists).flatMap(list => list.split(' ')))
/** A name of which other spellings can be made: nothing but ASCII letters, digits and plain separators. */
const isPlain = (name: string) => /^[A-Za-z0-9_. :-]+$/.test(name)

t.test('every name of the decision table is decided as the table says', async t => {
  t.ok(LINES.length > 500)
  for (const { name, decision, rule } of LINES) {
    const found = credentialNameRule(name)
    if (decision !== 'refused') t.equal(found, undefined, name)
    else if (rule === undefined) t.ok(found, name)
    else t.equal(found, rule, name)
  }
})

t.test('another spelling of a name in the table is decided like the name', async t => {
  for (const { name, decision, rule } of LINES) {
    if (decision === 'allowed as written' || !isPlain(name)) continue
    const wrong = spellingsOf(name).filter(spelling => {
      const found = credentialNameRule(spelling)
      return decision === 'allowed'
        ? found !== undefined
        : found === undefined || (rule !== undefined && found !== rule)
    })
    t.same(wrong, [], name)
  }
})

t.test('every credential word has a line in the table', async t => {
  const names = new Set(LINES.filter(line => line.decision === 'refused').map(line => line.name))
  t.same(
    WORDS.filter(word => !names.has(word)),
    [],
  )
})

t.test('no word is in two tables that contradict each other', async t => {
  t.same(
    QUALIFIERS.filter(word => ATTRIBUTES.includes(word)),
    [],
    'what makes harmless is no qualifier',
  )
  const stems = HARMLESS.map(word => word.replace('*', ''))
  t.same(
    WORDS.filter(word => stems.includes(word)),
    [],
  )
  t.equal(new Set(WORDS).size, WORDS.length)
})

/** Case by letter, and separators, invisible characters and full-width letters anywhere. */
function disguise(letters: string): fc.Arbitrary<string> {
  const one = (letter: string) =>
    fc
      .tuple(
        fc.constantFrom('', '', '', '_', '-', '.', ' ', '/', '\u200b', '\u00ad', '\u2063', '\u0301'),
        fc.constantFrom<(text: string) => string>(
          text => text.toLowerCase(),
          text => text.toUpperCase(),
          text => String.fromCodePoint((text.codePointAt(0) ?? 0) + 0xfee0),
        ),
      )
      .map(([separator, write]) => separator + write(letter))
  return fc.tuple(...[...letters].map(one)).map(parts => parts.join(''))
}

const qualified = fc
  .record({
    before: fc.array(fc.constantFrom(...QUALIFIERS), { maxLength: 2 }),
    word: fc.constantFrom(...WORDS),
    plural: fc.constantFrom('', 's'),
    after: fc.array(fc.constantFrom(...QUALIFIERS), { maxLength: 1 }),
    digits: fc.constantFrom('', '1', '42'),
  })
  .map(({ before, word, plural, after, digits }) => [...before, word + plural, ...after].join('') + digits)

t.test(
  'a credential word is found behind qualifiers, plurals, digits, case, separators and invisible characters',
  async t => {
    fc.assert(
      fc.property(qualified.chain(disguise), name => credentialNameRule(name) !== undefined),
      { numRuns: 3000 },
    )
    t.pass()
  },
)

t.test('a harmless name is found in no case and with no separators', async t => {
  const letters = ALLOWED.filter(isPlain).map(name => name.replaceAll(/[^A-Za-z0-9]/g, ''))
  fc.assert(
    fc.property(fc.constantFrom(...letters).chain(disguise), name => credentialNameRule(name) === undefined),
    { numRuns: 3000 },
  )
  t.pass()
})

t.test('no phrase that excuses hides a credential word that stands beside it', async t => {
  const harmless = fc.constantFrom(...ALLOWED.filter(isPlain))
  const long = fc.constantFrom('password', 'passwd', 'clientsecret', 'privatekey', 'credential', 'username', 'apikey')
  const separator = fc.constantFrom('', '_', '-', '.')
  fc.assert(
    fc.property(harmless, separator, long, (phrase, between, word) => {
      return credentialNameRule(phrase + between + word) !== undefined
    }),
  )
  t.pass()
})

t.test('a letter of another script among Latin ones is refused, and a whole word of lookalikes is read', async t => {
  const CYRILLIC: Record<string, string> = { a: 'а', c: 'с', e: 'е', i: 'і', o: 'о', p: 'р', s: 'ѕ', y: 'у' }
  for (const word of ['password', 'passcode', 'secret', 'privatekey', 'apikey', 'username']) {
    for (const [index, letter] of [...word].entries()) {
      const other = CYRILLIC[letter]
      if (other === undefined) continue
      t.ok(credentialNameRule(word.slice(0, index) + other + word.slice(index + 1)), `${word} ${index}`)
    }
  }
  t.equal(credentialNameRule('раѕѕ'), 'password')
  t.equal(credentialNameRule('температура_cpu'), undefined, 'words of two scripts are two words')
})

t.test('the Turkish letters that change with case hide nothing', async t => {
  for (const name of ['LOGİN', 'logın', 'LOGIN', 'Client_Id_Sıgnıng_Key']) t.ok(credentialNameRule(name), name)
})

t.test('a name over the bound is refused unread, and one at the bound is read', async t => {
  t.equal(credentialNameRule('x'.repeat(MAX_NAME_CHARACTERS)), undefined)
  t.equal(credentialNameRule('x'.repeat(MAX_NAME_CHARACTERS + 1)), 'name_too_long')
  t.equal(credentialNameRule(`${'x'.repeat(MAX_NAME_CHARACTERS - 8)}password`), 'password')
})

t.test('every text is a name: nothing throws', async t => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), name => {
      credentialNameRule(name)
    }),
  )
  t.equal(credentialNameRule(''), undefined)
  t.equal(credentialNameRule('__proto__'), undefined)
  t.equal(credentialNameRule('constructor'), undefined)
})
