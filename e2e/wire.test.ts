import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { findSecret, newCanary, removePostgresData, startPlatform, startShadow, targetOf, tempDir } from '@rap/testkit'
import t from 'tap'
import { cannotCapture, startCapture } from './capture.ts'
import { endSession, openDesktop, typeUntil } from './desktop.ts'

const canary = newCanary()
const shadow = await startShadow({ username: 'svc', password: canary, security: 'nla' })
t.teardown(() => shadow.stop())
const home = tempDir('rap-wire-')
t.teardown(() => {
  removePostgresData(join(home.path, 'postgres'))
  home.remove()
})
const platform = await startPlatform({ dir: home.path, logLevel: 'trace' })
t.teardown(() => platform.stop())

/** The life of a secret and of a desktop, over both paths: everything that could tell it to a wire or a disk. */
async function liveOnce(): Promise<string[]> {
  const credential = { username: 'svc', password: canary }
  const target = targetOf(shadow, { name: 'desktop', credential, security: 'nla' })
  const resource = await platform.addTarget(target)
  const tokens: string[] = []
  for (const path of ['direct', 'gateway'] as const) {
    const desktop = await openDesktop(platform, { resourceId: resource.id, path })
    const witness = join(shadow.home, `typed-${path}`)
    await typeUntil(desktop, `touch typed-${path}`, () => existsSync(witness), { what: witness, timeoutMs: 30_000 })
    tokens.push(desktop.started.data_plane.token)
    await endSession(platform, desktop.started)
  }
  await platform.addTarget(target)
  return tokens
}

const skip = cannotCapture()
t.test('neither a password nor a token goes over any wire in the clear', { skip: skip ?? false }, async t => {
  const { apiUrl, internalUrl, resolverUrl, gatewayUrl, redisUrl, databaseUrls, workers } = platform
  const urls = [apiUrl, internalUrl, resolverUrl, gatewayUrl ?? '', redisUrl, databaseUrls.superuser]
  const ports = [...urls, ...workers.map(({ url }) => url)].map(url => Number(new URL(url).port))
  const capture = await startCapture([...ports, shadow.port])
  t.teardown(() => capture.stop())
  const tokens = await liveOnce()
  const accessToken = await platform.api.login(platform.admin.email, platform.admin.password)
  const wire = await capture.finish()
  t.ok(wire.includes('rap:worker:') && wire.includes('session_attachments'), 'Redis and Postgres were on the wire')
  t.same(findSecret(wire, canary), [], 'the password of the target')
  t.same(findSecret(wire, platform.admin.password), [], 'the password of the user')
  for (const token of [...tokens, accessToken]) t.notOk(wire.includes(token), 'a token of the client')
})

t.test('no file of the platform holds a password', async t => {
  if (skip !== undefined) await liveOnce()
  const files = filesBelow(home.path)
  t.ok(files.some(file => file.includes('pg_wal')) && files.some(file => file.endsWith('.log')), 'there are files')
  const holders = files.filter(file => findSecret(contentOf(file), canary).length > 0)
  t.same(holders, [])
})

function filesBelow(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.map(name => join(folder, name)).filter(file => statSync(file, { throwIfNoEntry: false })?.isFile())
}

/** Nothing for a file that its server has removed meanwhile. */
function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return Buffer.alloc(0)
  }
}
