import { join } from 'node:path'
import { launchBrowser, openDesktop, startPlatform, startShadow, targetOf } from '@rap/testkit'
import t, { type Test } from 'tap'

const PORTAL_DIR = join(import.meta.dirname, '../packages/web-client/dist')
const credential = { username: 'svc', password: 'revoked-Pa55' }

const shadow = await startShadow({ ...credential, security: 'nla', width: 1024, height: 700 })
t.teardown(() => shadow.stop())
const platform = await startPlatform({
  portalDir: PORTAL_DIR,
  workers: 2,
  targets: [targetOf(shadow, { name: 'desktop', credential, security: 'nla' })],
})
t.teardown(() => platform.stop())
const { api, authority, apiUrl, admin, workers } = platform

/** Opens the desktop in a browser of its own; answers the worker that carries it. */
async function open(t: Test) {
  const browser = await launchBrowser({
    trustedCaPem: authority.certificatePem,
    viewport: { width: 1024, height: 748 },
  })
  t.teardown(() => browser.stop())
  const page = await browser.context.newPage()
  const { path } = await openDesktop(page, { portalUrl: apiUrl, login: admin, name: 'desktop' })
  const { items } = await api.call<{ items: { id: string }[] }>('GET', '/v1/sessions?state=active')
  const [newest] = items
  const session = await api.call<{ attachment: { worker_id: string } }>('GET', `/v1/sessions/${newest?.id}`)
  const worker = workers.find(({ id }) => id === session.attachment.worker_id)
  if (worker === undefined) throw new Error('nobody carries the desktop')
  return { page, path, worker }
}

t.test('the desktop of a revoked worker closes, and the page says why and what to do', async t => {
  const { page, worker } = await open(t)
  await api.call('POST', `/v1/workers/${worker.id}/revoke`)
  const panel = page.locator('[data-testid=ended]')
  await panel.waitFor()
  t.equal(await panel.getAttribute('data-code'), 'ERR_WORKER_REVOKED')
  t.match(await panel.textContent(), /revoked[\s\S]*Start the session again/)
})

t.test('it closes also where the worker keeps the connection', async t => {
  const { page, path, worker } = await open(t)
  t.equal(path, 'direct')
  // Deaf, and with its connections open, as one that turned bad would be.
  process.kill(worker.pid, 'SIGSTOP')
  t.teardown(() => process.kill(worker.pid, 'SIGCONT'))
  await api.call('POST', `/v1/workers/${worker.id}/revoke`)
  const panel = page.locator('[data-testid=ended]')
  await panel.waitFor()
  t.equal(await panel.getAttribute('data-code'), 'ERR_WORKER_REVOKED')
})
