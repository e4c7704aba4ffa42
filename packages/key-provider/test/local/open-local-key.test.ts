import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KeyProviderError, openLocalKey } from '../../src/index.ts'
import { decodeBase64Key } from '../../src/local/open-local-key.ts'

const CONTEXT = Buffer.from('context')

async function keyFile(t: Test, content: Buffer | string, mode = 0o600): Promise<string> {
  const path = join(t.testdir({}), 'key')
  await writeFile(path, content)
  await chmod(path, mode)
  return path
}

t.test('the key of SECRET_ENCRYPTION_KEY_B64 and the same key in a file open each other’s wraps', async t => {
  const key = randomBytes(32)
  const text = key.toString('base64')
  const dataKey = randomBytes(32)
  const fromText = await openLocalKey({ keyId: 'key-1', base64: text })
  const wrapped = await fromText.wrap(dataKey, CONTEXT)
  const sources = {
    'a buffer': await openLocalKey({ keyId: 'key-1', base64: Buffer.from(`${text}\n`) }),
    'a raw file': await openLocalKey({ keyId: 'key-1', file: await keyFile(t, key) }),
    'a text file': await openLocalKey({ keyId: 'key-1', file: await keyFile(t, text) }),
    'a text file with a newline': await openLocalKey({ keyId: 'key-1', file: await keyFile(t, `${text}\r\n`) }),
  }
  for (const [name, provider] of Object.entries(sources)) t.same(await provider.unwrap(wrapped, CONTEXT), dataKey, name)
  t.equal(fromText.describe().provider, 'env')
  t.equal(sources['a raw file'].describe().provider, 'file')
})

t.test('exactly one source must be given', async t => {
  const base64 = randomBytes(32).toString('base64')
  await t.rejects(openLocalKey({ keyId: 'key-1' }), { code: 'ERR_KEY_SOURCE' })
  await t.rejects(openLocalKey({ keyId: 'key-1', base64, file: '/nowhere' }), { code: 'ERR_KEY_SOURCE' })
})

t.test('text that is not the base64 of 32 bytes is refused', async t => {
  const good = randomBytes(32).toString('base64')
  const lengths = [
    '',
    'AAAA',
    randomBytes(30).toString('base64'),
    randomBytes(33).toString('base64'),
    good.slice(0, 43),
  ]
  for (const base64 of [...lengths, `${good}A`, `${good}${good}`, randomBytes(32).toString('hex')]) {
    await t.rejects(openLocalKey({ keyId: 'key-1', base64 }), { code: 'ERR_KEY_LENGTH' }, `${base64.length} characters`)
  }
  for (const character of ['-', '_', ' ', '\0', '=', 'ä', '.']) {
    const base64 = `${good.slice(0, 20)}${character}${good.slice(21)}`
    await t.rejects(openLocalKey({ keyId: 'key-1', base64 }), { code: 'ERR_KEY_ENCODING' }, JSON.stringify(character))
  }
  const shorter = randomBytes(31).toString('base64')
  await t.rejects(openLocalKey({ keyId: 'key-1', base64: shorter }), { code: 'ERR_KEY_ENCODING' }, 'more padding')
  await t.rejects(
    openLocalKey({ keyId: 'key-1', base64: `${'A'.repeat(42)}B=` }),
    { code: 'ERR_KEY_ENCODING' },
    'bits behind the last byte',
  )
})

t.test('the decoder agrees with RFC 4648 for random keys', async t => {
  for (let round = 0; round < 200; round++) {
    const key = randomBytes(32)
    t.same(decodeBase64Key(Buffer.from(key.toString('base64'))), key)
  }
})

t.test('a key file that the group or the world can touch is refused, except for development', async t => {
  const key = randomBytes(32)
  for (const mode of [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666]) {
    const file = await keyFile(t, key, mode)
    await t.rejects(openLocalKey({ keyId: 'key-1', file }), { code: 'ERR_KEY_FILE_PERMISSIONS' }, mode.toString(8))
    await t.resolves(openLocalKey({ keyId: 'key-1', file, allowOpenPermissions: true }), mode.toString(8))
  }
  for (const mode of [0o600, 0o400])
    await t.resolves(openLocalKey({ keyId: 'key-1', file: await keyFile(t, key, mode) }))
})

t.test('a symbolic link is followed to the file whose permissions count', async t => {
  const file = await keyFile(t, randomBytes(32), 0o644)
  const link = `${file}-link`
  await symlink(file, link)
  await t.rejects(openLocalKey({ keyId: 'key-1', file: link }), { code: 'ERR_KEY_FILE_PERMISSIONS' })
  await chmod(file, 0o600)
  await t.resolves(openLocalKey({ keyId: 'key-1', file: link }))
})

t.test('a missing file, a directory and a named pipe are refused without waiting', async t => {
  const directory = t.testdir({})
  const pipe = join(directory, 'pipe')
  execFileSync('mkfifo', ['-m', '600', pipe])
  for (const file of [join(directory, 'none'), directory, pipe, '/dev/zero']) {
    await t.rejects(openLocalKey({ keyId: 'key-1', file }), { code: 'ERR_KEY_FILE_UNREADABLE' }, file)
  }
})

t.test('a file of another length, a pass phrase and a placeholder are refused', async t => {
  const refused = async (content: Buffer | string, code: string) => {
    await t.rejects(openLocalKey({ keyId: 'key-1', file: await keyFile(t, content) }), { code }, String(content.length))
  }
  await refused('', 'ERR_KEY_LENGTH')
  await refused(randomBytes(31), 'ERR_KEY_LENGTH')
  await refused(randomBytes(33), 'ERR_KEY_LENGTH')
  await refused(randomBytes(100_000), 'ERR_KEY_FILE_UNREADABLE')
  await refused(randomBytes(16).toString('hex'), 'ERR_KEY_WEAK')
  await refused('correct horse battery staple 123', 'ERR_KEY_WEAK')
  await refused(Buffer.alloc(32), 'ERR_KEY_WEAK')
})

t.test('no refusal repeats the key', async t => {
  const key = randomBytes(40).toString('base64')
  const error = await openLocalKey({ keyId: 'key-1', base64: key }).catch((error: unknown) => error)
  t.ok(error instanceof KeyProviderError)
  const text = `${(error as Error).stack}${JSON.stringify(error)}`
  for (let start = 0; start + 6 <= key.length; start++) t.notOk(text.includes(key.slice(start, start + 6)))
})
