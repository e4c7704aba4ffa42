import { existsSync } from 'node:fs'
import { join } from 'node:path'
import {
  canStartXrdp,
  connected,
  findSecret,
  launchBrowser,
  monitorRedis,
  newCanary,
  openDesktop,
  startPlatform,
  startShadow,
  startXrdp,
  targetOf,
  typeLine,
  waitFor,
} from '@rap/testkit'
import { Redis } from 'ioredis'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'

const PORTAL_DIR = join(import.meta.dirname, '../packages/web-client/dist')
const canary = newCanary()

const shadow = await startShadow({ username: 'svc', password: canary, security: 'nla', width: 1024, height: 700 })
t.teardown(() => shadow.stop())
const ability = canStartXrdp()
const xrdp = ability.ok ? await startXrdp({}) : undefined
if (xrdp !== undefined) t.teardown(() => xrdp.stop())

const platform = await startPlatform({
  logLevel: 'trace',
  portalDir: PORTAL_DIR,
  targets: [
    targetOf(shadow, { name: 'nla', credential: { username: 'svc', password: canary }, security: 'nla' }),
    ...(xrdp === undefined
      ? []
      : [
          targetOf(xrdp, {
            name: 'tls',
            credential: { username: xrdp.username, password: xrdp.password },
            security: 'tls',
          }),
        ]),
  ],
})
t.teardown(() => platform.stop())
const { authority, apiUrl, admin } = platform

/** Opens a desktop by hand in a browser and types a line there; answers the path that was taken and what the client was sent. */
async function work(
  t: Test,
  name: string,
  home: string,
  args: readonly string[] = [],
): Promise<{ path: string; page: Page; received: Buffer[] }> {
  const browser = await launchBrowser({
    trustedCaPem: authority.certificatePem,
    viewport: { width: 1024, height: 748 },
    args,
  })
  t.teardown(() => browser.stop())
  const page = await browser.context.newPage()
  const received: Buffer[] = []
  page.on('websocket', socket => socket.on('framereceived', ({ payload }) => received.push(Buffer.from(payload))))
  const { path } = await openDesktop(page, { portalUrl: apiUrl, login: admin, name })
  const witness = `typed-${name}-${path}-${received.length}`
  // A desktop that has just come up may still be drawing its first window.
  await waitFor(
    async () => {
      await typeLine(page, `touch ${witness}`)
      await page.waitForTimeout(500)
      return existsSync(join(home, witness))
    },
    { what: `${witness} on the desktop`, timeoutMs: 30_000 },
  )
  return { path, page, received }
}

t.test('what is typed in the browser has its effect on an NLA desktop, over the direct way', async t => {
  const redis = new Redis(platform.redisUrl)
  const monitor = await monitorRedis(platform.redisUrl)
  t.teardown(() => {
    monitor.stop()
    redis.disconnect()
  })

  const { path, page, received } = await work(t, 'nla', shadow.home)
  t.equal(path, 'direct')

  const values: Buffer[] = []
  for (const key of await redis.keys('*')) values.push((await redis.dumpBuffer(key)) ?? Buffer.alloc(0))
  const audit = await platform.api.send('GET', `/v1/audit-events?organization_id=${platform.organizationId}&limit=200`)
  const places: Record<string, string | Uint8Array> = {
    'a key of Redis': Buffer.concat(values),
    'a command of Redis': monitor.commands(),
    Postgres: await platform.dumpDatabase(),
    'a log': platform.logs(),
    'a WebSocket message of the client': Buffer.concat(received),
    'the page': await page.content(),
    'the audit': JSON.stringify(audit.body),
  }
  t.ok(monitor.commands().length > 0 && values.length > 0 && received.length > 0, 'there was something to search')
  for (const [place, content] of Object.entries(places))
    t.same(findSecret(content, canary), [], `the password is not in ${place}`)

  await page.getByRole('button', { name: 'Disconnect', exact: true }).click()
  await page.getByTestId('ended').waitFor()
  t.match(await page.getByTestId('ended').getAttribute('data-code'), 'ERR_SESSION_DETACHED')
  await page.getByRole('button', { name: 'Resume' }).click()
  t.equal(await connected(page), 'direct', 'the desktop comes back')
})

t.test('the same over the gateway where the direct way is blocked', async t => {
  const port = new URL(platform.workers[0]?.url ?? '').port
  const { path } = await work(t, 'nla', shadow.home, [`--host-resolver-rules=MAP localhost:${port} ~NOTFOUND`])
  t.equal(path, 'gateway')
})

t.test(
  'what is typed in the browser has its effect on an xrdp desktop',
  { skip: ability.ok ? false : ability.reason },
  async t => {
    const { path } = await work(t, 'tls', xrdp?.home ?? '')
    t.equal(path, 'direct')
  },
)

t.test('a wrong password is explained on the screen', async t => {
  await platform.addTarget(
    targetOf(shadow, { name: 'wrong', credential: { username: 'svc', password: 'wrong' }, security: 'nla' }),
  )
  const browser = await launchBrowser({ trustedCaPem: authority.certificatePem })
  t.teardown(() => browser.stop())
  const page = await browser.context.newPage()
  await t.rejects(openDesktop(page, { portalUrl: apiUrl, login: admin, name: 'wrong' }), /refused the account/i)
  t.equal(await page.getByTestId('ended').getAttribute('data-code'), 'ERR_TARGET_LOGON_FAILED')
})

t.test('a desktop with another certificate is never sent a password, and the screen says so', async t => {
  await platform.addTarget({
    ...targetOf(shadow, { name: 'impostor', credential: { username: 'svc', password: canary }, security: 'nla' }),
    certificatePins: ['0'.repeat(64)],
  })
  const browser = await launchBrowser({ trustedCaPem: authority.certificatePem })
  t.teardown(() => browser.stop())
  const page = await browser.context.newPage()
  await t.rejects(openDesktop(page, { portalUrl: apiUrl, login: admin, name: 'impostor' }), /certificate/i)
  t.equal(await page.getByTestId('ended').getAttribute('data-code'), 'ERR_TARGET_CERTIFICATE_MISMATCH')
})
