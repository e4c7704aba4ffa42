import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createLogger } from '@rap/service-kit'
import { tempDir, waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import { PemKeys, type PemSource } from '../../src/control-plane/pem-keys.ts'
import { signingSet } from '../signing.ts'

const [first, second] = [await signingSet(), await signingSet()]
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const privatePem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }))

async function pemKeys(t: Test, source: PemSource, options: { lookMs?: number } = {}) {
  const lines: string[] = []
  const logger = createLogger({
    service: 'rdp-worker',
    level: 'info',
    destination: { write: line => lines.push(line) },
  })
  const unknown = { count: 0 }
  const keys = await PemKeys.open({
    source,
    logger,
    onUnknownKey: () => (unknown.count += 1),
    lookMs: 60_000,
    ...options,
  })
  t.teardown(() => keys.close())
  const logged = (event: string) => lines.filter(line => line.includes(`"event":"${event}"`))
  return { keys, unknown, lines, logged }
}

function keyFile(t: Test, text: string) {
  const dir = tempDir('rap-keys-')
  t.teardown(() => dir.remove())
  const path = join(dir.path, 'public.pem')
  writeFileSync(path, text)
  return { path, dir: dir.path, write: (next: string) => writeFileSync(path, next) }
}

t.test('several keys in one text are all in use', async t => {
  const { keys } = await pemKeys(t, { text: `${first.publicPem}\n${second.publicPem}` })
  for (const { key } of [first, second]) t.ok(await keys.lookup(key.kid))
})

t.test('a file that changes is in use without a restart, at the latest with the first token of its key', async t => {
  const file = keyFile(t, first.publicPem)
  const { keys, logged, unknown } = await pemKeys(t, { file: file.path })
  file.write(first.publicPem + second.publicPem)
  t.ok(await keys.lookup(second.key.kid), 'it is looked at before a token is refused')
  t.ok(await keys.lookup(first.key.kid))
  file.write(second.publicPem)
  await t.resolves(keys.lookup('made-up') as Promise<unknown>)
  t.notOk(await keys.lookup(first.key.kid), 'a key that was taken out is out of use')
  t.equal(logged('verification_keys_read').length, 2)
  t.equal(unknown.count, 2)
})

t.test(
  'a folder that is swapped by symbolic link, as Kubernetes does, is read from its new place by itself',
  async t => {
    const { dir } = keyFile(t, '')
    const version = (name: string, text: string) => {
      mkdirSync(join(dir, name))
      writeFileSync(join(dir, name, 'key.pem'), text)
    }
    version('..1', first.publicPem)
    symlinkSync('..1', join(dir, '..data'))
    symlinkSync('..data/key.pem', join(dir, 'key.pem'))
    const { keys, logged } = await pemKeys(t, { file: join(dir, 'key.pem') }, { lookMs: 20 })
    version('..2', second.publicPem)
    symlinkSync('..2', join(dir, '..data_tmp'))
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'))
    rmSync(join(dir, '..1'), { recursive: true })
    await waitFor(() => logged('verification_keys_read').length === 1, { what: 'the new keys' })
    t.ok(await keys.lookup(second.key.kid))
  },
)

t.test('content that cannot be used leaves the keys as they are, and is told once without repeating it', async t => {
  const file = keyFile(t, first.publicPem)
  const { keys, lines, logged } = await pemKeys(t, { file: file.path })
  const bad: [string, string][] = [
    ['nothing', ''],
    ['half of a file', first.publicPem.slice(0, 100)],
    ['a private key', first.publicPem + privatePem],
    ['too large', 'x'.repeat(20_000)],
  ]
  for (const [name, text] of bad) {
    file.write(text)
    t.notOk(await keys.lookup('made-up'))
    t.notOk(await keys.lookup('made-up again'))
    t.ok(await keys.lookup(first.key.kid), name)
  }
  rmSync(file.path)
  t.notOk(await keys.lookup('made-up'))
  t.ok(await keys.lookup(first.key.kid), 'a file that is gone')
  t.equal(logged('verification_keys_not_read').length, 5)
  const [, line = ''] = privatePem.split('\n')
  t.notOk(lines.some(logged => logged.includes(line)))
  file.write(second.publicPem)
  t.ok(await keys.lookup(second.key.kid), 'and a good one is in use again')
})

t.test('a start with anything but public keys is refused', async t => {
  const logger = createLogger({ service: 'rdp-worker', level: 'silent' })
  const open = (source: PemSource) => PemKeys.open({ source, logger, onUnknownKey: () => undefined })
  await t.rejects(open({ text: privatePem }), { code: 'ERR_VERIFICATION_KEY_PRIVATE' })
  await t.rejects(open({ file: keyFile(t, privatePem).path }), { code: 'ERR_VERIFICATION_KEY_PRIVATE' })
  await t.rejects(open({ text: '' }), { code: 'ERR_VERIFICATION_KEY_COUNT' })
  await t.rejects(open({ file: '/nowhere/key.pem' }), { code: 'ENOENT' })
})

t.test('a key that signs and is not here is said, and one that will sign is told ahead', async t => {
  const file = keyFile(t, first.publicPem)
  const { keys, logged } = await pemKeys(t, { file: file.path })
  const [here, there] = [first.key.kid, second.key.kid]
  t.match([keys.status(), keys.verifiesNewTokens], ['ok', true], 'nothing is known yet')
  for (let times = 0; times < 3; times++) keys.learn({ active_kid: here, next_kid: there })
  t.match([keys.status(), keys.verifiesNewTokens], ['ok', true])
  t.equal(logged('next_verification_key_missing').length, 1)
  keys.learn({ active_kid: there, next_kid: null })
  t.equal(keys.status(), `the control plane signs with ${there}, which is not configured here`)
  t.equal(keys.verifiesNewTokens, false)
  t.equal(logged('verification_key_missing').length, 1)
  file.write(second.publicPem)
  t.ok(await keys.lookup(there))
  t.match([keys.status(), keys.verifiesNewTokens], ['ok', true])
})

t.test(
  'a flood of tokens with made-up keys costs a few looks at the file, and no token whose key came with the last one',
  async t => {
    const file = keyFile(t, first.publicPem)
    const { keys, unknown } = await pemKeys(t, { file: file.path })
    let isOver = false
    let asked = 0
    const attackers = Array.from({ length: 100 }, async () => {
      while (!isOver) {
        asked += 1
        await keys.lookup(`made-up ${asked}`)
      }
    })
    await waitFor(() => unknown.count > 0, { what: 'the flood' })
    file.write(second.publicPem)
    t.ok(await keys.lookup(second.key.kid))
    isOver = true
    await Promise.all(attackers)
    t.ok(asked < 2000, `${asked} questions were held up`)
  },
)
