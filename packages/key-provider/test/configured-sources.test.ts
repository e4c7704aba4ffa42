import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempDir } from '@rap/testkit'
import t, { type Test } from 'tap'
import { ConfiguredSources, KeyRing, type KeySource } from '../src/index.ts'

const CONTEXT = Buffer.from('context')

function place(t: Test) {
  const dir = tempDir('rap-key-sources-')
  t.teardown(() => dir.remove())
  const path = join(dir.path, 'key-providers.json')
  const file = (name: string) => join(dir.path, `${name}.key`)
  const entry = (name: string) => ({ name, provider: 'file', file: file(name) })
  return {
    dir: dir.path,
    path,
    file,
    entry,
    makeKey: (name: string) => writeFileSync(file(name), randomBytes(32), { mode: 0o600 }),
    write: (document: unknown) =>
      writeFileSync(path, typeof document === 'string' ? document : JSON.stringify(document), { mode: 0o600 }),
    sources: (isDevelopment = false) => new ConfiguredSources(path, { isDevelopment }),
  }
}

t.test(
  'every entry becomes a source, and the same entry stays the same source when the file is read again',
  async t => {
    const { makeKey, write, entry, sources } = place(t)
    for (const name of ['a', 'b', 'c']) makeKey(name)
    write({ keys: [entry('a'), entry('b')] })
    const configured = sources()
    const ring = new KeyRing(await configured.load())
    const [a, b] = ring.sources as [KeySource, KeySource]
    const wrapped = await ring.wrap('a', randomBytes(32), CONTEXT)
    write({ keys: [entry('c'), entry('a')] })
    ring.replaceSources(await configured.load())
    t.strictSame(
      ring.sources.map(({ name }) => name),
      ['c', 'a'],
    )
    t.equal(ring.sources[1], a)
    t.resolves(ring.unwrap({ keyId: 'a', wrapped }, CONTEXT))
    t.equal(await b.health(), 'key file is not there', 'what is not in the file any more was destroyed')
    t.notOk(ring.has('b'))
  },
)

t.test('a file that is wrong is told by entry and field, and what was read before stays', async t => {
  const { makeKey, write, entry, sources, path } = place(t)
  makeKey('a')
  write({ keys: [entry('a')] })
  const configured = sources()
  const [before] = await configured.load()
  const a = entry('a')
  for (const [document, facts] of [
    ['', { path }],
    ['[]', { path, field: '' }],
    [{ keys: {} }, { field: 'keys' }],
    [{ keys: [], more: 1 }, { field: 'more' }],
    [{ keys: [{ ...a, name: 'a:v1' }] }, { field: 'keys.0.name' }],
    [{ keys: [{ ...a, name: '' }] }, { field: 'keys.0.name' }],
    [{ keys: [a, a] }, { name: 'a' }],
    [{ keys: [{ ...a, provider: 'constructor' }] }, { name: 'a', field: 'provider' }],
    [{ keys: [{ ...a, provider: 'azure' }] }, { name: 'a', field: 'provider' }],
    [{ keys: [{ ...a, file: 'relative.key' }] }, { name: 'a', field: 'file' }],
    [{ keys: [{ ...a, key: 'c2VjcmV0' }] }, { name: 'a', field: 'key' }],
    [{ keys: [{ name: 'v', provider: 'vault' }] }, { name: 'v' }],
    [{ keys: [{ name: 'h', provider: 'pkcs11' }] }, { name: 'h' }],
    [{ keys: [{ name: 'k', provider: 'aws-kms' }] }, { name: 'k' }],
    [{ keys: Array.from({ length: 33 }, (_, at) => entry(`k${at}`)) }, { field: 'keys' }],
  ] as const) {
    write(document)
    await t.rejects(configured.load(), { code: 'ERR_KEY_CONFIGURATION', facts }, JSON.stringify(document).slice(0, 80))
  }
  write(' '.repeat(70_000))
  await t.rejects(configured.load(), { code: 'ERR_KEY_FILE_UNREADABLE', facts: { path, reason: 'too large' } })
  write({ keys: [a] })
  t.equal((await configured.load())[0], before)
})

t.test('an entry that cannot be opened opens none of the new ones', async t => {
  const { makeKey, write, entry, file, sources } = place(t)
  makeKey('a')
  writeFileSync(file('short'), 'not a key', { mode: 0o600 })
  write({ keys: [entry('a'), entry('short')] })
  await t.rejects(sources().load(), { code: /^ERR_KEY_(ENCODING|LENGTH)$/ })
})

t.test('a file that others may write, that is missing or that is no file is refused', async t => {
  const { dir, makeKey, write, entry, path, sources } = place(t)
  makeKey('a')
  const unreadable = { code: 'ERR_KEY_FILE_UNREADABLE' }
  await t.rejects(sources().load(), unreadable)
  write({ keys: [entry('a')] })
  for (const mode of [0o620, 0o602, 0o666]) {
    chmodSync(path, mode)
    await t.rejects(sources().load(), { code: 'ERR_KEY_FILE_PERMISSIONS' }, mode.toString(8))
  }
  t.equal((await sources(true).load()).length, 1, 'but not in development')
  const folder = join(dir, 'folder')
  mkdirSync(folder)
  await t.rejects(new ConfiguredSources(folder, { isDevelopment: false }).load(), unreadable)
})

t.test('a key file that others may read is refused, but in development', async t => {
  const { makeKey, write, entry, file, sources } = place(t)
  makeKey('a')
  chmodSync(file('a'), 0o640)
  write({ keys: [entry('a')] })
  await t.rejects(sources().load(), { code: 'ERR_KEY_FILE_PERMISSIONS' })
  t.equal((await sources(true).load()).length, 1)
})
