import { setImmediate } from 'node:timers/promises'
import { RapError, type Transfers } from '@rap/client-sdk'
import { DEFAULT_LIMITS, type SessionLimits } from '@rap/session-policy'
import t from 'tap'
import { begunBefore } from '../src/desktop/files/begun-before.ts'
import { localRefusal, usedBy } from '../src/desktop/files/local-refusal.ts'
import { shownName } from '../src/desktop/files/shown-name.ts'
import { sizeText, timeText } from '../src/desktop/files/sizes.ts'
import { goesOn, type UploadEnd, Uploads } from '../src/desktop/files/uploads.ts'

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
      ['a kind that spaces hide', { upload_extensions: ['pdf'] }, { name: 'a.pdf ', size: 1 }, NOTHING, undefined],
      [
        'a kind that turned text hides',
        { upload_extensions: ['pdf'] },
        { name: 'a\u202efdp.exe', size: 1 },
        NOTHING,
        'ERR_UPLOAD_EXTENSION',
      ],
      ['what the Explorer acts on', {}, { name: 'a.LNK', size: 1 }, NOTHING, 'ERR_UPLOAD_NAME'],
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

t.test(
  'a file goes on where a page before has left it: the same name and size, not finished, and not under way',
  async t => {
    const item = { upload_id: 'one', name: 'a_b.txt', size: 10, offset: 3, state: 'receiving' as const }
    const others = [{ ...item, upload_id: 'two', state: 'ready' as const }, item]
    const own = new Set<string>()
    t.equal(begunBefore({ name: 'a:b.txt', size: 10 }, others, own), item, 'by the name that it has there')
    t.equal(begunBefore({ name: 'a_b.txt', size: 11 }, others, own), undefined)
    t.equal(begunBefore({ name: 'c.txt', size: 10 }, others, own), undefined)
    t.equal(begunBefore({ name: 'a_b.txt', size: 10 }, others, own.add('one')), undefined)
  },
)

const explain = (error: unknown) => ({ title: '', detail: '', remedy: undefined, code: (error as RapError).code })

/** The uploads of a page, and what it asks of the connection, answered by the test. */
function connected() {
  const asked: { id: string; resolve(name: string): void; reject(error: Error): void }[] = []
  const upload = (_file: File, { uploadId }: { uploadId: string }) =>
    new Promise<{ name: string }>((resolve, reject) => {
      asked.push({ id: uploadId, resolve: name => resolve({ name }), reject })
    })
  const transfers = { upload } as unknown as Transfers
  const uploads = new Uploads(explain)
  uploads.use(transfers, 'session')
  return { uploads, asked, transfers }
}

t.test(
  'what was taken up and turns out to be another file is sent anew, once, and whoever looks sees no failure',
  async t => {
    const { uploads, asked } = connected()
    for (const code of ['ERR_UPLOAD_CONFLICT', 'ERR_UPLOAD_HASH_MISMATCH']) {
      uploads.takeUp(new File(['abc'], 'a.txt'), 'begun')
      asked.shift()?.reject(new RapError(code, 'refused'))
      await setImmediate()
      const [again] = asked.splice(0)
      t.not(again?.id, 'begun')
      t.match(uploads.state, [{ name: 'a.txt', state: 'sending', failure: undefined }])
      again?.reject(new RapError('ERR_UPLOAD_HASH_MISMATCH', 'refused'))
      await setImmediate()
      t.match(uploads.state, [{ state: 'failed', failure: { code: 'ERR_UPLOAD_HASH_MISMATCH' } }])
      uploads.cancel(uploads.state[0]?.id ?? '')
    }
  },
)

t.test(
  'a file that was lost there is shown with its reason, and cannot be sent from a page that has it not',
  async t => {
    const { uploads, asked, transfers } = connected()
    const ends: UploadEnd[] = []
    uploads.onEnd = end => ends.push(end)
    const failure = { title: 'Gone', detail: 'It was changed.', code: 'ERR_UPLOAD_DAMAGED', remedy: undefined }
    uploads.addLost({ upload_id: 'one', name: 'a.txt', size: 3, offset: 3, state: 'ready' }, failure)
    t.match(uploads.state, [{ id: 'one', name: 'a.txt', state: 'failed', isHere: false, failure }])
    t.match(ends, [{ name: 'a.txt', failure }])
    uploads.retry('one')
    uploads.use(transfers, 'session')
    t.same(asked, [])
    t.notOk(uploads.state.some(goesOn))
    uploads.cancel('one')
    t.same(uploads.state, [])
  },
)

t.test(
  'a file that has changed since it was chosen cannot be sent again by a button, and any other one can',
  async t => {
    const { uploads, asked } = connected()
    for (const [code, isHere] of [
      ['ERR_FILE_UNREADABLE', false],
      ['ERR_UPLOAD_QUOTA', true],
    ] as const) {
      uploads.add([new File(['abc'], 'a.txt')])
      asked.shift()?.reject(new RapError(code, 'refused'))
      await setImmediate()
      t.match(uploads.state, [{ state: 'failed', failure: { code }, isHere }])
      uploads.cancel(uploads.state[0]?.id ?? '')
    }
  },
)
