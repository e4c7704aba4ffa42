import { randomBytes } from 'node:crypto'
import { chmodSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { findSecret, newCanary, startProcess, waitFor } from '@rap/testkit'
import t from 'tap'
import { keyOf } from '../support/key-of.ts'
import { create, makeKey, openSource, optionsOf, softHsm } from './hsm.ts'

const CONTEXT = Buffer.from('context')
const hsm = await softHsm(t)
const token = await hsm.addToken('main')
const fragile = await hsm.addToken('fragile')
const twins = [await hsm.addToken('twin'), await hsm.addToken('twin')] as const
await makeKey(hsm, token, 'rap-2026', 'AES:32', '--sensitive')

// While a source is open its threads are, so that not every test has to start them.
await openSource(t, optionsOf(hsm, token, { name: 'keeper' }))

t.test('a wrong PIN is tried once, by however many callers, and then not before its file changes', async t => {
  writeFileSync(fragile.pinFile, '0000000000')
  const warnings: string[] = []
  const logger = {
    info: () => {},
    warn: (fields: object, message: string) => warnings.push(inspect({ fields, message })),
  }
  const source = await openSource(t, optionsOf(hsm, fragile), { logger })
  const attempts = Array.from({ length: 20 }, () => keyOf(source).wrap(randomBytes(32), CONTEXT))
  const errors = (await Promise.allSettled(attempts)).map(result => (result as PromiseRejectedResult).reason)
  t.ok(errors.every(error => error.code === 'ERR_KEY_FORBIDDEN'))
  const reasons = errors.map(error => error.facts.reason)
  t.equal(reasons.filter(reason => reason === 'CKR_PIN_INCORRECT').length, 1)
  t.equal(reasons.filter(reason => reason === 'pin_refused_before').length, 19)
  t.equal(warnings.length, 1)
  source.destroy()

  const reopened = await openSource(t, optionsOf(hsm, fragile), { logger })
  t.match(await reopened.health(), /pin_refused_before/, 'a reload is no reason for another try')
  t.equal(warnings.length, 1)
  writeFileSync(fragile.pinFile, fragile.pin)
  t.equal(await create(reopened), 'hsm-1')
  t.equal(await reopened.health(), 'ok')
})

t.test('a PIN file that is open to others, empty, too long or away is refused at the opening', async t => {
  const file = join(t.testdir({}), 'pin')
  const refused = async (pin: string, mode: number, code: string) => {
    writeFileSync(file, pin)
    chmodSync(file, mode)
    await t.rejects(openSource(t, optionsOf(hsm, token, { pin_file: file })), { code }, `${pin.length} ${mode}`)
  }
  for (const mode of [0o640, 0o604, 0o602]) await refused(token.pin, mode, 'ERR_KEY_FILE_PERMISSIONS')
  await refused('', 0o600, 'ERR_KEY_LENGTH')
  await refused('\n', 0o600, 'ERR_KEY_LENGTH')
  await refused('1'.repeat(256), 0o600, 'ERR_KEY_LENGTH')
  for (const pin_file of [`${file}-none`, '/dev', '/dev/zero']) {
    await t.rejects(openSource(t, optionsOf(hsm, token, { pin_file })), { code: 'ERR_KEY_FILE_UNREADABLE' }, pin_file)
  }
})

t.test('a PIN file that is not fit at a later log-in is named', async t => {
  const file = join(t.testdir({}), 'pin')
  writeFileSync(file, twins[0].pin, { mode: 0o600 })
  const source = await openSource(t, optionsOf(hsm, fragile, { pin_file: file, token_label: 'fragile' }))
  chmodSync(file, 0o644)
  const facts = { reason: 'pin_file', detail: 'ERR_KEY_FILE_PERMISSIONS' }
  await t.rejects(keyOf(source).wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_FILE_UNREADABLE', facts })
})

t.test('a library that is not there is refused at the opening, one that is none when it is used', async t => {
  const none = optionsOf(hsm, token, { module: '/usr/lib/no-such-library.so' })
  await t.rejects(openSource(t, none), { code: 'ERR_KEY_CONFIGURATION' })
  const text = join(t.testdir({ 'library.so': 'no library' }), 'library.so')
  const source = await openSource(t, optionsOf(hsm, token, { module: text }))
  const facts = { reason: 'load_failed' }
  await t.rejects(keyOf(source).wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_CONFIGURATION', facts })
})

t.test('a token that is not there is named with those that are', async t => {
  const source = await openSource(t, optionsOf(hsm, token, { token_label: 'typo' }))
  const error = await keyOf(source)
    .wrap(randomBytes(32), CONTEXT)
    .catch(error => error)
  t.match(error, { code: 'ERR_KEY_UNAVAILABLE', facts: { token: 'typo', reason: 'token_missing', detail: /main/ } })
})

t.test('two tokens of one label are refused', async t => {
  const source = await openSource(t, optionsOf(hsm, twins[0]))
  await t.rejects(keyOf(source).wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_CONFIGURATION' })
})

t.test(
  'a key that could leave the token, is too short or is not alone is refused by what is wrong with it',
  async t => {
    const unfit = async (label: string, detail: RegExp, ...flags: string[]) => {
      await makeKey(hsm, token, label, ...flags)
      const source = await openSource(t, optionsOf(hsm, token, { key_label: label }))
      const facts = { reason: 'key_unfit', key: label, detail }
      await t.rejects(keyOf(source).wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_NOT_FOUND', facts }, label)
    }
    await unfit('extractable', /^CKA_EXTRACTABLE is not false$/, 'AES:32', '--sensitive', '--extractable')
    await unfit('readable', /^CKA_SENSITIVE is not true$/, 'AES:32')
    await unfit('short', /^it has 128 bits, not 256$/, 'AES:16', '--sensitive')
    await unfit('all', /SENSITIVE.*EXTRACTABLE.*192 bits/, 'AES:24', '--extractable')
    for (let round = 0; round < 2; round++) await makeKey(hsm, token, 'double', 'AES:32', '--sensitive')
    const source = await openSource(t, optionsOf(hsm, token, { key_label: 'double' }))
    const facts = { reason: 'key_ambiguous' }
    await t.rejects(keyOf(source).wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_NOT_FOUND', facts })
  },
)

t.test('a key of another type does not count', async t => {
  await hsm.tool(token, '--keygen', '--key-type', 'GENERIC:32', '--label', 'generic', '--sensitive')
  const source = await openSource(t, optionsOf(hsm, token, { key_label: 'generic' }))
  const facts = { reason: 'key_missing' }
  await t.rejects(keyOf(source).wrap(randomBytes(32), CONTEXT), { code: 'ERR_KEY_NOT_FOUND', facts })
})

t.test('a key that is deleted while it is in use is missed by name', async t => {
  const source = await openSource(t, optionsOf(hsm, token, { key_label: 'short-lived' }))
  await create(source)
  const wrapped = await keyOf(source).wrap(randomBytes(32), CONTEXT)
  await hsm.tool(token, '--delete-object', '--type', 'secrkey', '--label', 'short-lived')
  const missing = { code: 'ERR_KEY_NOT_FOUND', facts: { key: 'short-lived', reason: 'key_missing' } }
  await t.rejects(keyOf(source).unwrap(wrapped, CONTEXT), missing)
  await create(source)
  await t.rejects(keyOf(source).unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNWRAP_FAILED' }, 'a new key of that label')
})

t.test('a token that goes away is unavailable, and is used again when it is back', async t => {
  const key = keyOf(await openSource(t, optionsOf(hsm, token)))
  const dataKey = randomBytes(32)
  const wrapped = await key.wrap(dataKey, CONTEXT)
  renameSync(hsm.tokenDir, `${hsm.tokenDir}-away`)
  await t.rejects(key.unwrap(wrapped, CONTEXT), { code: 'ERR_KEY_UNAVAILABLE', facts: { reason: 'token_missing' } })
  renameSync(`${hsm.tokenDir}-away`, hsm.tokenDir)
  await waitFor(async () => (await key.health()) === 'ok', { what: 'the token to be back', timeoutMs: 30_000 })
  t.same(await key.unwrap(wrapped, CONTEXT), dataKey)
})

t.test('a token that does not answer holds a caller for its time alone, and nothing else of the process', async t => {
  const key = keyOf(await openSource(t, optionsOf(hsm, token)))
  const hasty = keyOf(await openSource(t, optionsOf(hsm, token, { timeout_ms: 300 })))
  const dataKey = randomBytes(32)
  const wrapped = await key.wrap(dataKey, CONTEXT)
  const files = readdirSync(hsm.tokenDir, { recursive: true, encoding: 'utf8' }).filter(name => name.includes('.'))
  // SoftHSM waits for the locks of its files for ever.
  const lock = 'my $l = pack("s s l! l! i x4", F_WRLCK, 0, 0, 0, 0); fcntl($h, F_SETLKW, $l) or die $!'
  const script = `use Fcntl; for (@ARGV) { open(my $h, "+<", $_) or die $!; push @k, $h; ${lock}; } $| = 1; print "locked"; sleep 60`
  const locker = await startProcess({
    command: 'perl',
    args: ['-e', script, ...files.map(name => join(hsm.tokenDir, name))],
    readyWhen: /locked/,
  })
  t.teardown(() => locker.stop())
  let ticks = 0
  const ticking = setInterval(() => ticks++, 10)
  const calls = Array.from({ length: 8 }, () => hasty.unwrap(wrapped, CONTEXT))
  const errors = (await Promise.allSettled(calls)).map(result => (result as PromiseRejectedResult).reason)
  clearInterval(ticking)
  t.ok(errors.every(error => error.code === 'ERR_KEY_UNAVAILABLE' && error.facts.reason === 'timeout'))
  t.ok(ticks > 5, `the event loop ran on: ${ticks} ticks`)
  await locker.stop()
  await waitFor(async () => (await key.health()) === 'ok', { what: 'the token to answer again', timeoutMs: 30_000 })
  t.same(await key.unwrap(wrapped, CONTEXT), dataKey)
})

t.test('no error and no log line holds a PIN or a data key', async t => {
  const pin = newCanary()
  const file = join(t.testdir({ pin }), 'pin')
  chmodSync(file, 0o600)
  const said: unknown[] = []
  const logger = { info: (...line: unknown[]) => said.push(line), warn: (...line: unknown[]) => said.push(line) }
  const catching = async (work: Promise<unknown> | undefined) => {
    const error = await Promise.resolve(work).then(
      () => t.fail('it was to be refused'),
      error => error,
    )
    said.push(error, error?.stack, error?.cause)
  }
  const dataKey = newCanary()
  const bytes = Buffer.from(dataKey)
  const unused = await openSource(t, optionsOf(hsm, twins[1], { pin_file: file, token_label: 'typo' }), { logger })
  await catching(keyOf(unused).wrap(bytes, CONTEXT))
  // A token that nobody of this process is logged in to.
  const stranger = await openSource(t, optionsOf(hsm, fragile, { pin_file: file, token_label: 'fragile' }), { logger })
  await catching(keyOf(stranger).wrap(bytes, CONTEXT))
  const good = keyOf(await openSource(t, optionsOf(hsm, token), { logger }))
  const wrapped = await good.wrap(bytes, CONTEXT)
  await catching(good.unwrap(wrapped, Buffer.from('moved')))
  good.destroy()
  await catching(good.wrap(bytes, CONTEXT))
  const text = said.map(entry => `${inspect(entry, { depth: 9, showHidden: true })}${JSON.stringify(entry)}`).join('\n')
  t.match(text, /CKR_PIN_INCORRECT/, 'the PIN was tried')
  t.match(text, /Token refuses the PIN/)
  for (const secret of [pin, dataKey, token.pin]) t.same(findSecret(text, secret), [])
  t.same(findSecret(wrapped, dataKey), [])
})
