import { DEFAULT_LIMITS, type SessionLimits } from '@rap/session-policy'
import t from 'tap'
import { localRefusal, usedBy } from '../src/desktop/files/local-refusal.ts'
import { shownName } from '../src/desktop/files/shown-name.ts'
import { sizeText, timeText } from '../src/desktop/files/sizes.ts'

const NOTHING = { files: 0, bytes: 0 }
const limits = (change: Partial<SessionLimits>): SessionLimits => ({ ...DEFAULT_LIMITS, ...change })

t.test('what the worker would refuse for certain is refused here, at the bound and not before', async t => {
  const cases: [string, Partial<SessionLimits>, { name: string; size: number }, typeof NOTHING, string | undefined][] =
    [
      ['within every limit', {}, { name: 'a.txt', size: 5 }, NOTHING, undefined],
      ['an empty file', {}, { name: 'a', size: 0 }, NOTHING, undefined],
      ['as large as allowed', { upload_file_bytes: 5 }, { name: 'a', size: 5 }, NOTHING, undefined],
      ['a byte larger', { upload_file_bytes: 5 }, { name: 'a', size: 6 }, NOTHING, 'ERR_UPLOAD_FILE_TOO_LARGE'],
      ['fills the quota', { upload_session_bytes: 9 }, { name: 'a', size: 5 }, { files: 1, bytes: 4 }, undefined],
      [
        'over the quota',
        { upload_session_bytes: 9 },
        { name: 'a', size: 6 },
        { files: 1, bytes: 4 },
        'ERR_UPLOAD_QUOTA',
      ],
      ['the last file', { upload_files: 2 }, { name: 'a', size: 1 }, { files: 1, bytes: 1 }, undefined],
      ['one file more', { upload_files: 2 }, { name: 'a', size: 1 }, { files: 2, bytes: 1 }, 'ERR_UPLOAD_TOO_MANY'],
      ['an allowed kind in capitals', { upload_extensions: ['pdf'] }, { name: 'A.PDF', size: 1 }, NOTHING, undefined],
      ['another kind', { upload_extensions: ['pdf'] }, { name: 'a.pdf.exe', size: 1 }, NOTHING, 'ERR_UPLOAD_EXTENSION'],
      ['no kind at all', { upload_extensions: [] }, { name: 'a', size: 1 }, NOTHING, 'ERR_UPLOAD_EXTENSION'],
    ]
  for (const [what, change, file, used, code] of cases) {
    t.equal(localRefusal(file, limits(change), used)?.code, code, what)
  }
})

t.test('a file that the worker knows of already is counted once', async t => {
  const item = { upload_id: 'one', name: 'a', size: 10, offset: 3, state: 'receiving' as const }
  t.same(
    usedBy(
      [item],
      [
        { id: 'one', size: 10 },
        { id: 'two', size: 7 },
      ],
    ),
    { files: 2, bytes: 17 },
  )
})

t.test('sizes and times are told with as many digits as people read', async t => {
  const sizes = { 0: '0 bytes', 1: '1 byte', 999: '999 bytes', 1000: '1 KB', 1536: '1.5 KB', 209715200: '200 MB' }
  for (const [bytes, text] of Object.entries(sizes)) t.equal(sizeText(Number(bytes)), text)
  t.equal(sizeText(10 * 2 ** 30), '10 GB')
  t.equal(sizeText(1023 * 2 ** 20), '1 GB')
  t.same([0.2, 89, 90, 5399, 7200].map(timeText), ['1 s', '89 s', '2 min', '90 min', '2 h'])
})

t.test('a name is shown in the order in which it is written, whatever it holds', async t => {
  t.equal(shownName('in\u202Etxt.exe'), 'intxt.exe')
  t.equal(shownName('\u2066a\u2069\u200F\u061C.pdf'), 'a.pdf')
  t.equal(shownName('Grüße 你好 שלום.pdf'), 'Grüße 你好 שלום.pdf')
})
