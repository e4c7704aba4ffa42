import { CHANNELS, LIMITS, NUMBER_LIMITS, POLICY_SCOPES, type PolicyDocument } from '@rap/session-policy'
import t from 'tap'
import { amountText, documentOf, formOf, isKind, mayBeNone, mistakeOf, plainKind } from '../src/policies/policy-form.ts'

const DOCUMENTS: Record<string, PolicyDocument> = {
  'says nothing': {},
  'allows nothing': { channels: [] },
  'allows everything': { channels: [...CHANNELS] },
  'has every limit': {
    limits: {
      idle_seconds: 901,
      session_seconds: 3600,
      clipboard_bytes: 3,
      upload_file_bytes: 5 * 2 ** 30,
      upload_session_bytes: 2 ** 20 + 1,
      upload_files: 7,
      upload_extensions: ['pdf', ''],
    },
  },
  'lifts limits': { limits: { idle_seconds: null, session_seconds: null, upload_extensions: null } },
  'allows no kind of file': { limits: { upload_extensions: [] } },
}

t.test('a document that nobody edits is written as it was read', async t => {
  for (const [what, document] of Object.entries(DOCUMENTS)) {
    for (const scope of POLICY_SCOPES) t.same(documentOf(formOf(document, scope)), document, `${what}, ${scope}`)
  }
})

t.test('every bound of a limit may be written, and nothing beyond it', async t => {
  for (const name of NUMBER_LIMITS) {
    const { min, max } = LIMITS[name]
    const form = (amount: number | string) => ({ choice: 'set', amount, unit: '1' }) as const
    for (const amount of [min, max, String(min)]) t.equal(mistakeOf(name, form(amount)), undefined, `${name} ${amount}`)
    for (const amount of [min - 1, max + 1, '', 'x', '-'])
      t.type(mistakeOf(name, form(amount)), 'string', `${name} ${amount}`)
    t.equal(mistakeOf(name, { ...form(''), choice: 'as_above' }), undefined, 'what is not set is not looked at')
  }
})

t.test('no limit is offered for times, and by the organization alone', async t => {
  const offered = POLICY_SCOPES.flatMap(scope =>
    NUMBER_LIMITS.filter(name => mayBeNone(name, scope)).map(name => `${scope} ${name}`),
  )
  t.same(offered, ['organization idle_seconds', 'organization session_seconds'])
})

t.test('a limit is told in its largest whole unit', async t => {
  t.equal(amountText('idle_seconds', 60), '1 minute')
  t.equal(amountText('idle_seconds', 90), '90 seconds')
  t.equal(amountText('session_seconds', 172_800), '2 days')
  t.equal(amountText('session_seconds', null), 'no limit')
  t.equal(amountText('clipboard_bytes', 2 ** 20), '1 MB')
  t.equal(amountText('upload_files', 1), '1 file')
})

t.test('an extension is taken as people write it, and only where a policy may name it', async t => {
  for (const [written, plain] of [
    ['.PDF', 'pdf'],
    [' docx ', 'docx'],
    ['7z', '7z'],
    ['', ''],
  ] as const) {
    t.ok(isKind(written))
    t.equal(plainKind(written), plain)
  }
  for (const written of ['tar.gz', 'a b', '*', 'ä', 'x'.repeat(17)]) t.notOk(isKind(written), written)
})
