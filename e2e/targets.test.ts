import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  canStartXrdp,
  startPlatform,
  startRdpClient,
  startShadow,
  startXrdp,
  targetOf,
  tempDir,
  waitFor,
} from '@rap/testkit'
import t from 'tap'
import { startBridge } from './bridge.ts'
import { endSession, openDesktop, typeUntil } from './desktop.ts'

const scratch = tempDir('rap-targets-')
t.teardown(() => scratch.remove())
const platform = await startPlatform()
t.teardown(() => platform.stop())

t.test('a server of TLS 1.2 takes a password of 255 units, with marks of every kind, and a domain', async t => {
  const file = join(scratch.path, 'openssl.cnf')
  writeFileSync(file, 'openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n[c]\nMaxProtocol=TLSv1.2\n')
  const marks = ` "'\\/<>&%$#\u{1f511}éßÅ漢`
  const password = marks + 'x'.repeat(255 - marks.length)
  const shadow = await startShadow({ username: 'svc', password, security: 'nla', env: { OPENSSL_CONF: file } })
  t.teardown(() => shadow.stop())
  const credential = { username: 'svc', domain: 'CORP', password }
  const { id } = await platform.addTarget(targetOf(shadow, { name: 'nla', credential, security: 'nla' }))
  const desktop = await openDesktop(platform, { resourceId: id })
  await typeUntil(desktop, 'touch typed', () => existsSync(join(shadow.home, 'typed')), { what: 'what was typed' })
  await waitFor(() => desktop.client.updates.fastPath > 0, { what: 'a picture' })
  await endSession(platform, desktop.started)

  const bridge = await startBridge(platform, id)
  t.teardown(() => bridge.close())
  const client = await startRdpClient({
    host: '127.0.0.1',
    port: bridge.port,
    username: 'nobody',
    password: 'nothing',
    args: ['/sec:tls', '/gfx'],
  })
  t.teardown(() => client.stop())
  await waitFor(
    async () => {
      await client.type('touch native')
      await client.key('Return')
      return existsSync(join(shadow.home, 'native'))
    },
    { what: 'what was typed in a client that knows nothing of the platform', timeoutMs: 30_000, intervalMs: 500 },
  )
  t.same(bridge.endings, [])
})

t.test('the worker writes down in numbers what it has refused and held back', async t => {
  const ended = () => platform.workers[0]?.log().match(/"event":"attachment_ended".*$/m)?.[0]
  t.match(await waitFor(ended, { what: 'the end of an attachment' }), /"refused_channels":\d+,"withheld":\d+,/)
})

const ability = canStartXrdp()
t.test(
  'a server without fast-path, of 16 bits and without compression comes up and takes input',
  { skip: ability.ok ? false : ability.reason },
  async t => {
    const settings = { use_fastpath: 'none', max_bpp: '16', bitmap_compression: 'false', security_layer: 'negotiate' }
    const xrdp = await startXrdp({ settings })
    t.teardown(() => xrdp.stop())
    const { username, password } = xrdp
    const target = targetOf(xrdp, { name: 'xrdp', credential: { username, password }, security: 'auto' })
    const { id } = await platform.addTarget(target)
    const desktop = await openDesktop(platform, { resourceId: id, colorDepth: 24 })
    await typeUntil(desktop, 'touch typed', () => existsSync(join(xrdp.home, 'typed')), {
      what: 'what was typed',
      timeoutMs: 30_000,
    })
    await waitFor(() => desktop.client.updates.slowPath > 0, { what: 'a picture' })
    t.equal(desktop.client.updates.fastPath, 0)
    await endSession(platform, desktop.started)
  },
)
