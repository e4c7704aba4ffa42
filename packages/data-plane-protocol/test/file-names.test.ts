import fc from 'fast-check'
import t from 'tap'
import { distinctName, extensionOf, MAX_GIVEN_NAME_UNITS, nameKey, safeFileName } from '../src/index.ts'

t.test('of what a browser or a system gives, the last component counts', async t => {
  const cases = {
    'report.pdf': 'report.pdf',
    '../../etc/passwd': 'passwd',
    '..\\..\\Windows\\win.ini': 'win.ini',
    '/etc/shadow': 'shadow',
    '\\\\server\\share\\file.txt': 'file.txt',
    '\\\\?\\C:\\file.txt': 'file.txt',
    'C:\\fakepath\\photo.jpg': 'photo.jpg',
    'a/b\\c.txt': 'c.txt',
    '%2e%2e%2fnotes.txt': '%2e%2e%2fnotes.txt',
  }
  for (const [given, wanted] of Object.entries(cases)) t.equal(safeFileName(given), wanted, given)
})

t.test('what leaves nothing to be called by is refused', async t => {
  for (const given of ['', '.', '..', '...', ' ', '/', 'folder/', '..\\', '. .', '\u200b\u202e', '\u0301', 'a/..']) {
    t.equal(safeFileName(given), undefined, JSON.stringify(given))
  }
})

t.test('control characters, line separators and halves of surrogate pairs are refused', async t => {
  const controls = [...Array(32).keys(), 127, ...Array.from({ length: 32 }, (_, index) => 128 + index), 0x2028, 0x2029]
  for (const code of controls) {
    t.equal(safeFileName(`a${String.fromCharCode(code)}b.txt`), undefined, `U+${code.toString(16)}`)
  }
  for (const half of ['\ud800', '\udfff', '\udc00\ud800']) t.equal(safeFileName(`a${half}.txt`), undefined)
})

t.test('what Windows forbids becomes a low line, so that no alternate stream, drive or wildcard is left', async t => {
  const cases = {
    'a<b>c.txt': 'a_b_c.txt',
    'what?.txt': 'what_.txt',
    'file.txt:hidden': 'file.txt_hidden',
    'file.txt::$DATA': 'file.txt__$DATA',
    'C:evil.txt': 'C_evil.txt',
    'a|b*"c".txt': 'a_b__c_.txt',
  }
  for (const [given, wanted] of Object.entries(cases)) t.equal(safeFileName(given), wanted, given)
})

t.test('what some system reads as a separator or as forbidden ASCII becomes a low line', async t => {
  for (const odd of '\u2044\u2215\u2216\u29f5\u29f8\u29f9\uff0f\uff3c\ufe68\u00a5\u20a9\uf03a\uf05c\ufffe\ufdd0') {
    t.equal(safeFileName(`..${odd}evil.txt`), '_evil.txt', `U+${odd.codePointAt(0)?.toString(16)}`)
  }
})

t.test('beyond the Basic Multilingual Plane there is nothing, since targets exist that take harm from it', async t => {
  t.equal(safeFileName('party 🎉.png'), 'party _.png')
  t.equal(safeFileName('👨‍👩‍👧.png'), '___.png')
})

t.test('DOS devices get a low line in front, in every spelling', async t => {
  const devices = ['CON', 'PRN', 'AUX', 'NUL', 'CLOCK$', 'CONIN$', 'CONOUT$']
  for (const digit of '0123456789¹²³') devices.push(`COM${digit}`, `LPT${digit}`)
  for (const device of devices) {
    for (const given of [device, device.toLowerCase(), `${device}.txt`, `${device}.tar.gz`, `${device} .txt`]) {
      t.equal(safeFileName(given), `_${given}`, given)
    }
    for (const hidden of [
      `${device} `,
      `${device}.`,
      `${device}...`,
      ` ${device}`,
      `${device[0]}\u200b${device.slice(1)}`,
    ]) {
      t.equal(safeFileName(hidden), `_${device}`, JSON.stringify(hidden))
    }
  }
  t.equal(safeFileName('ＣＯＮ.txt'), '_ＣＯＮ.txt', 'full width')
  t.equal(safeFileName('NUL:'), 'NUL_', 'with a colon it is no device any more')
  for (const harmless of ['CONSOLE.txt', 'COM10', 'COM', 'nullable.ts', 'my con.txt', 'LPT.txt']) {
    t.equal(safeFileName(harmless), harmless, harmless)
  }
})

t.test(
  'dots and spaces at the ends are dropped, so that nothing is hidden and the extension is the real one',
  async t => {
    const cases = {
      'setup.exe. . .': 'setup.exe',
      'setup.exe ': 'setup.exe',
      '.bashrc': 'bashrc',
      '..hidden.txt': 'hidden.txt',
      ' a.txt': 'a.txt',
      '\u0338a.txt': 'a.txt',
    }
    for (const [given, wanted] of Object.entries(cases)) t.equal(safeFileName(given), wanted, given)
  },
)

t.test('no name begins with a hyphen, which a command takes for an option', async t => {
  t.equal(safeFileName('-rf'), '_rf')
  t.equal(safeFileName('--checkpoint-action=exec=sh x.sh'), '_-checkpoint-action=exec=sh x.sh')
  t.equal(safeFileName('.-rf'), '_rf')
})

t.test('characters that disguise an extension are gone', async t => {
  const cases: [string, string][] = [
    ['photo\u202egpj.exe', 'photogpj.exe'],
    ['photo\u2066gpj.exe\u2069', 'photogpj.exe'],
    ['a\u200f.txt\u200e', 'a.txt'],
    ['invoice.pdf\u200b.exe', 'invoice.pdf.exe'],
    ['invoice.pdf\u3164\u115f.exe', 'invoice.pdf.exe'],
    ['\ufeffbom.txt', 'bom.txt'],
    ['a.t\u00adxt', 'a.txt'],
    ['a.e\u200dxe', 'a.exe'],
    ['a.txt\u{e0065}\u{e0078}', 'a.txt'],
  ]
  for (const [given, wanted] of cases) t.equal(safeFileName(given), wanted, JSON.stringify(given))
  t.equal(safeFileName(`invoice.pdf${' '.repeat(200)}.exe`), 'invoice.pdf .exe', 'spaces push nothing out of sight')
  t.equal(safeFileName('a\u00a0\u3000\u2800b.txt'), 'a b.txt', 'every space is the same')
  t.equal(safeFileName(`a${'\u0337'.repeat(200)}.txt`), `a${'\u0337'.repeat(8)}.txt`, 'marks do not pile up')
})

t.test('names of every script stay as they are', async t => {
  for (const name of [
    'Übersicht.docx',
    'отчёт.pdf',
    '報告書（最終）.xlsx',
    'می\u200cخواهم.docx',
    'क्\u200dष.txt',
    'ﺍلتقرير.pdf',
    'a  b'.replace('  ', ' '),
  ]) {
    t.equal(safeFileName(name), name.normalize('NFC'), name)
  }
  t.equal(safeFileName('u\u0308ber.txt'), 'über.txt', 'in NFC')
})

t.test('what the Explorer acts upon as soon as it shows a folder is refused', async t => {
  const names = [
    'desktop.ini',
    'Desktop.INI',
    'AUTORUN.inf',
    'folder.htt',
    'Thumbs.db',
    'desktop.ini.',
    '\u202edesktop.ini',
    'ｄｅｓｋｔｏｐ．ｉｎｉ',
    'holiday．lnk',
  ]
  const kinds = [
    'lnk',
    'LNK',
    'scf',
    'url',
    'pif',
    'library-ms',
    'searchConnector-ms',
    'theme',
    'deskthemepack',
    'desktop',
    'website',
    'lnk.',
    'lnk ',
    'ＬＮＫ',
    '\u017fcf',
  ]
  for (const name of [...names, ...kinds.map(kind => `holiday.${kind}`)]) t.equal(safeFileName(name), undefined, name)
  for (const name of ['desktop.ini.txt', 'lnk', 'url.txt']) t.equal(safeFileName(name), name, name)
})

t.test('a long name is cut in the stem and keeps its extension; in units and in UTF-8 bytes', async t => {
  t.equal(safeFileName(`${'a'.repeat(251)}.pdf`), `${'a'.repeat(251)}.pdf`)
  t.equal(safeFileName(`${'a'.repeat(252)}.pdf`), `${'a'.repeat(251)}.pdf`)
  t.equal(safeFileName(`${'é'.repeat(200)}.pdf`), `${'é'.repeat(125)}.pdf`)
  t.equal(safeFileName(`${'漢'.repeat(200)}.pdf`), `${'漢'.repeat(83)}.pdf`)
  t.equal(safeFileName('a'.repeat(300)), 'a'.repeat(255))
  t.equal(safeFileName(`a.${'b'.repeat(300)}`), undefined, 'no cut may bring forth another extension')
  t.equal(safeFileName('a'.repeat(MAX_GIVEN_NAME_UNITS + 1)), undefined)
})

t.test('the extension is the last one, lower case, or empty', async t => {
  const cases = { 'a.TXT': 'txt', 'a.tar.gz': 'gz', a: '', 'a.': '', '.a': '', 'a b.Docx': 'docx' }
  for (const [name, wanted] of Object.entries(cases)) t.equal(extensionOf(name), wanted, name)
})

t.test('a second file of one name, as Windows compares, gets a number in front of its extension', async t => {
  const taken = new Set<string>()
  const add = (name: string) => {
    const distinct = distinctName(name, key => taken.has(key))
    taken.add(nameKey(distinct))
    return distinct
  }
  t.equal(add('Report.pdf'), 'Report.pdf')
  t.equal(add('report.PDF'), 'report (2).PDF')
  t.equal(add('REPORT.pdf'), 'REPORT (3).pdf')
  t.equal(add('report (2).pdf'), 'report (2) (2).pdf')
  t.equal(add('ÜBER'), 'ÜBER')
  t.equal(add('über'), 'über (2)')
  t.equal(add('ς.txt'), 'ς.txt')
  t.equal(add('Σ.txt'), 'Σ (2).txt')
  const long = `${'a'.repeat(251)}.pdf`
  t.equal(add(long), long)
  t.equal(add(long), `${'a'.repeat(247)} (2).pdf`)
})

t.test('a thousand files of one name are numbered in order, with few look-ups', async t => {
  const taken = new Set<string>()
  let asked = 0
  const names = Array.from({ length: 1000 }, () => {
    const name = distinctName('a.txt', key => {
      asked++
      return taken.has(key)
    })
    taken.add(nameKey(name))
    return name
  })
  t.equal(names.at(-1), 'a (1000).txt')
  t.equal(taken.size, 1000)
  t.ok(asked < 1000 * 25, `${asked}`)
})

/** Names made of what is dangerous, and of anything. */
const hostile = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...[
          '.',
          ' ',
          '/',
          '\\',
          ':',
          '-',
          '_',
          'CON',
          'nul',
          'com¹',
          '.exe',
          '.lnk',
          '.txt',
          'desktop.ini',
          ' (2)',
          'a',
          'Ω',
          '漢',
          '🎉',
        ],
        ...[
          '\u202e',
          '\u200d',
          '\u200c',
          '\u0301',
          '\u0345',
          '\u00a0',
          '\u0338',
          '\ufe0f',
          '\u1100',
          '\u1161',
          '\u0130',
          'ß',
          'ﬃ',
          '\uf03a',
        ],
        'x'.repeat(120),
        '漢'.repeat(80),
      ),
      fc.string({ unit: 'binary', maxLength: 6 }),
    ),
    { maxLength: 24 },
  )
  .map(parts => parts.join('').slice(0, MAX_GIVEN_NAME_UNITS))

const DEVICE = /^(con|prn|aux|nul|clock\$|conin\$|conout\$|(com|lpt)[0-9]) *(\.|$)/i

t.test('whatever is given, a name that comes out is harmless, and safe again', async t => {
  let accepted = 0
  fc.assert(
    fc.property(hostile, given => {
      const name = safeFileName(given)
      if (name === undefined) return true
      accepted++
      const bytes = new TextEncoder().encode(name).length
      return (
        safeFileName(name) === name &&
        name.normalize('NFC') === name &&
        name.isWellFormed() &&
        name.length > 0 &&
        bytes <= 255 &&
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
        !/[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u{10000}-\u{10ffff}]/u.test(name) &&
        !/[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/.test(name) &&
        !/^[. -]|[. ]$| {2}/.test(name) &&
        !DEVICE.test(name.normalize('NFKC'))
      )
    }),
    { numRuns: 3000 },
  )
  t.ok(accepted > 500, `${accepted} were accepted`)
})

t.test('names of one session stay apart and safe, whatever is given', async () => {
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 30 }), givens => {
      const taken = new Set<string>()
      for (const given of givens) {
        const safe = safeFileName(given)
        if (safe === undefined) continue
        const name = distinctName(safe, key => taken.has(key))
        if (taken.has(nameKey(name)) || safeFileName(name) !== name) return false
        if (extensionOf(name) !== extensionOf(safe)) return false
        taken.add(nameKey(name))
      }
      return true
    }),
    { numRuns: 300 },
  )
})

t.test('keys tell apart no two names that differ in case alone', async t => {
  for (let unit = 0; unit < 0x10000; unit++) {
    const character = String.fromCharCode(unit)
    const upper = character.toUpperCase()
    const lower = character.toLowerCase()
    if (upper.length === 1 && nameKey(upper) !== nameKey(character)) t.fail(`U+${unit.toString(16)} and its capital`)
    if (lower.length === 1 && nameKey(lower) !== nameKey(character))
      t.fail(`U+${unit.toString(16)} and its small letter`)
  }
})
