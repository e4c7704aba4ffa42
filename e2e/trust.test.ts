import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  createRapClient,
  fileTrustStore,
  openTrustBundles,
  type RapClient,
  type RapClientOptions,
} from '@rap/client-sdk'
import { connected, launchBrowser, newCanary, startPlatform, startShadow, targetOf, waitFor } from '@rap/testkit'
import type { Page } from 'playwright-core'
import t from 'tap'

const PORTAL_DIR = join(import.meta.dirname, '../packages/web-client/dist')
/** Identities look for what is new this often, so that a rotation takes seconds. */
const QUICK = { RAP_IDENTITY_POLL_SECONDS: '1' }

const password = newCanary()
const shadow = await startShadow({ username: 'svc', password, security: 'nla' })
t.teardown(() => shadow.stop())
const platform = await startPlatform({
  identities: 'enrolled',
  portalDir: PORTAL_DIR,
  env: { 'control-plane': QUICK, 'secret-resolver': QUICK, gateway: QUICK, 'rdp-worker': QUICK },
  targets: [targetOf(shadow, { name: 'nla', credential: { username: 'svc', password }, security: 'nla' })],
})
t.teardown(() => platform.stop())
const caPem = readFileSync(platform.caFile, 'utf8')
const [resource] = platform.resources

async function client(trust: NonNullable<RapClientOptions['trust']>): Promise<RapClient> {
  const rap = createRapClient({ baseUrl: platform.apiUrl, trust })
  await rap.login(platform.admin)
  return rap
}

/** The signed bundle as an operator saves it beside a program. */
async function savedBundle(version: number): Promise<string> {
  return JSON.stringify((await platform.api.send('GET', `/v1/trust-bundles/${version}`)).body)
}

async function pathOf(rap: RapClient): Promise<{ path: string; why: string }> {
  const session = await rap.sessions.start({ resourceId: resource?.id ?? '' })
  try {
    const { path, trace } = await session.connect()
    return { path, why: trace.explain() }
  } finally {
    await session.terminate()
  }
}

const owner = await client({ caPem })
const document = await savedBundle(1)

t.test(
  'in production a client with the bundle reaches the worker directly, one with another gets the gateway',
  async t => {
    const holder = await client({ bundles: await openTrustBundles({ first: { document } }) })
    t.same(await pathOf(holder), {
      path: 'direct',
      why: 'The direct way to the worker was taken: its certificate is of rap-platform-ca:v1.',
    })
    const stranger = await client({ bundles: await openTrustBundles({ first: { ref: 'other-ca:v1', pem: caPem } }) })
    t.same(await pathOf(stranger), {
      path: 'gateway',
      why: 'The gateway was taken because the trust bundle rap-platform-ca:v1, which the worker chains to, is not held here and could not be fetched.',
    })
  },
)

t.test('through a whole rotation an open desktop stays, an old client follows, and a sleeper catches up', async t => {
  const directory = t.testdir()
  const old = await client({
    bundles: await openTrustBundles({ first: { document }, store: fileTrustStore(directory) }),
  })
  const live = await (await old.sessions.start({ resourceId: resource?.id ?? '' })).connect()
  let ended = false
  void live.closed.then(() => {
    ended = true
  })
  const inForce = async (generation: number) =>
    (await owner.platformCa.status()).generations.find(entry => entry.generation === generation)?.certificates_in_force

  await owner.platformCa.stage()
  t.same(await pathOf(old), {
    path: 'direct',
    why: 'The direct way to the worker was taken: its certificate is of rap-platform-ca:v2.',
  })
  await t.rejects(owner.platformCa.activate(), { code: 'ERR_PLATFORM_CA_OVERLAP' })
  await owner.platformCa.activate({ force: true })
  t.equal((await pathOf(old)).path, 'direct')
  await waitFor(async () => (await inForce(1)) === 0, { what: 'everybody to have renewed', timeoutMs: 60_000 })
  t.equal((await pathOf(old)).path, 'direct', 'every machine has a certificate of the new generation')
  await owner.platformCa.retire()
  t.match(await pathOf(old), { path: 'direct', why: /rap-platform-ca:v3/ })
  t.notOk(ended, 'the desktop was open all the while')
  await live.close()

  const bundles = await openTrustBundles({ first: { document }, store: fileTrustStore(directory) })
  t.same(bundles.refs, ['rap-platform-ca:v3'], 'the next run begins where this one was')
})

t.test('an owner of the platform enrols, revokes and rotates in the portal', async t => {
  t.ok(existsSync(PORTAL_DIR), 'the portal is built')
  const [authority] = (await openTrustBundles({ first: { document: await savedBundle(3) } })).certificates
  const browser = await launchBrowser({ trustedCaPem: authority ?? '', viewport: { width: 1200, height: 900 } })
  t.teardown(() => browser.stop())
  const page = await browser.context.newPage()
  const complaints: string[] = []
  page.on('pageerror', error => complaints.push(error.message))
  await page.goto(platform.apiUrl)
  await page.getByLabel('E-mail').fill(platform.admin.email)
  await page.getByLabel('Password', { exact: true }).fill(platform.admin.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByLabel('Account', { exact: true }).click()
  await page.getByRole('menuitem', { name: 'Trust' }).click()

  const token = await enrol(page, 'worker-oslo-1')
  t.match(token, /^rapjoin\.[\w-]+\.[\w-]{43}\.[\w-]{43}$/)
  const item = page.locator('li', { hasText: 'worker-oslo-1' }).first()
  await item.getByText('Not enrolled yet').waitFor()
  t.notMatch(await page.content(), token, 'the token is shown once')

  await page.getByRole('button', { name: 'Actions for worker-oslo-1' }).click()
  await page.getByRole('menuitem', { name: 'Revoke' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
  await item.getByText('Revoked', { exact: true }).waitFor()
  t.match((await owner.joinTokens.list()).items[0], { name: 'worker-oslo-1', state: 'deleted' })

  await page.getByRole('tab', { name: 'Certificate authority' }).click()
  await page.getByRole('button', { name: 'Stage' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Stage' }).click()
  await page.getByText('rap-platform-ca:v4').first().waitFor()
  await page.getByRole('button', { name: 'Activate' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Activate' }).click()
  await page.getByRole('dialog').getByText('ERR_PLATFORM_CA_OVERLAP').waitFor()
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('button', { name: 'Roll back' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Roll back' }).click()
  await page.getByText('rap-platform-ca:v5').first().waitFor()

  await page.goto(platform.apiUrl)
  await page
    .getByRole('article', { name: 'nla' })
    .getByRole('button', { name: /Connect|Resume/ })
    .click()
  t.equal(await connected(page), 'direct')
  await page.getByTestId('path').click()
  t.match(await page.getByTestId('trace').textContent(), /^The direct way to the worker was taken/)
  t.same(complaints, [])
})

/** Fills in the form, and answers the token that is then shown. */
async function enrol(page: Page, name: string): Promise<string> {
  await page.getByRole('button', { name: 'Enrol a machine' }).click()
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByRole('combobox', { name: 'DNS names' }).fill(`${name}.example.com`)
  await page.getByRole('button', { name: 'Make the join token' }).click()
  const shown = page.getByLabel('Join token', { exact: true })
  await shown.waitFor()
  const token = (await shown.textContent()) ?? ''
  await page.getByRole('button', { name: 'Done' }).click()
  await shown.waitFor({ state: 'detached' })
  return token
}
