import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRapClient, type RapClient } from '@rap/client-sdk'
import { findSecret, launchBrowser, newCanary, startPlatform, startShadow, targetOf, waitFor } from '@rap/testkit'
import type { Page } from 'playwright-core'
import t from 'tap'

const PORTAL_DIR = join(import.meta.dirname, '../packages/web-client/dist')
const canary = newCanary()

const dir = t.testdir({})
const nextKey = join(dir, 'next.key')
writeFileSync(nextKey, randomBytes(32), { mode: 0o600 })
const providers = join(dir, 'key-providers.json')
writeFileSync(providers, JSON.stringify({ keys: [{ name: 'next', provider: 'file', file: nextKey }] }), { mode: 0o600 })

const shadow = await startShadow({ username: 'svc', password: canary, security: 'nla' })
t.teardown(() => shadow.stop())
const platform = await startPlatform({
  portalDir: PORTAL_DIR,
  gateway: 'none',
  targets: [targetOf(shadow, { name: 'Ledger', credential: { username: 'svc', password: canary }, security: 'nla' })],
  env: { 'secret-resolver': { SECRET_KEY_PROVIDERS_FILE: providers } },
})
t.teardown(() => platform.stop())
const { admin, apiUrl, organizationId } = platform
const resourceId = platform.resources[0]?.id ?? ''
const member = { email: 'operator@rap.example', password: 'a long enough passphrase' }
await platform.api.call('POST', `/v1/organizations/${organizationId}/members`, {
  body: { ...member, role: 'operator' },
})

async function client({ email, password }: { email: string; password: string }): Promise<RapClient> {
  const rap = createRapClient({ baseUrl: apiUrl, trust: { caPem: readFileSync(platform.caFile, 'utf8') } })
  await rap.login({ email, password })
  return rap
}
const rap = await client(admin)

/** Starts a session, which logs on to the target, and ends it. */
async function signIn(): Promise<void> {
  const session = await rap.sessions.start({ resourceId })
  await rap.sessions.terminate(session.id)
}

t.test('a wrong credential is rolled back, and the next session signs in with the one before', async t => {
  await signIn()
  const wrong = await rap.resources.setSecret(
    resourceId,
    { username: 'svc', password: newCanary() },
    { expectedVersion: 1 },
  )
  await t.rejects(rap.sessions.start({ resourceId }), { code: 'ERR_TARGET_LOGON_FAILED' })
  const restored = await rap.resources.rollbackSecret(resourceId, 1, { expectedVersion: wrong.version })
  t.equal(restored.version, 3)
  await signIn()
  t.same(
    (await rap.resources.listSecretVersions(resourceId)).map(({ version, state }) => [version, state]),
    [
      [3, 'live'],
      [2, 'superseded'],
      [1, 'superseded'],
    ],
  )
})

t.test(
  'a session signs in after the master key was rotated, everything re-wrapped, and the old key retired',
  async t => {
    await waitFor(
      async () => (await rap.masterKeys.list()).items.some(key => key.source === 'next' && key.missing_on.length === 0),
      { what: 'the next key on every resolver' },
    )
    t.same(await rap.masterKeys.rotate('next'), { previous_key_id: 'local-1', active_key_id: 'next' })
    await t.rejects(rap.masterKeys.retire('local-1'), { code: 'ERR_MASTER_KEY_IN_USE' })
    const { id } = await rap.rewraps.start()
    await waitFor(async () => (await rap.rewraps.get(id)).state === 'finished', { what: 'the end of the re-wrap' })
    await rap.masterKeys.retire('local-1')
    await signIn()
    await platform.secretResolver.restart()
    await rap.resources.rollbackSecret(resourceId, 1)
    await signIn()
    await t.rejects((await client(member)).masterKeys.list(), { code: 'ERR_FORBIDDEN' })
  },
)

const browser = await launchBrowser({ trustedCaPem: platform.authority.certificatePem })
t.teardown(() => browser.stop())

async function openPortal({ email, password }: { email: string; password: string }, path: string): Promise<Page> {
  await browser.context.clearCookies()
  const page = await browser.context.newPage()
  await page.goto(`${apiUrl}${path}`)
  await page.getByLabel('E-mail').fill(email)
  await page.getByLabel('Password', { exact: true }).fill(password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  return page
}

t.test('in the portal a version is restored by keyboard, and a change in between is explained', async t => {
  const page = await openPortal(admin, `/resources/${resourceId}`)
  const confirm = page.getByRole('dialog').getByRole('button', { name: 'Restore version 1' })
  const inForce = (version: number) => page.getByTestId('live-secret').getByText(`Version ${version} is`).waitFor()
  const ask = async () => {
    await page.getByRole('button', { name: 'Restore version 1' }).focus()
    await page.keyboard.press('Enter')
    // The dialog has the focus on Cancel, and the button that does it comes next.
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).and(page.locator(':focus')).waitFor()
    await page.keyboard.press('Tab')
    t.ok(await confirm.evaluate(button => button === button.ownerDocument.activeElement))
  }
  const before = (await rap.resources.getSecretMetadata(resourceId)).version
  await inForce(before)
  await ask()
  await rap.resources.setSecret(resourceId, { username: 'svc', password: newCanary() })
  await page.keyboard.press('Enter')
  t.equal(await page.getByRole('alert').getAttribute('data-code'), 'ERR_SECRET_VERSION_CONFLICT')
  t.match(await page.getByRole('alert').textContent(), `version ${before + 1} is in force now`)
  await page.getByRole('button', { name: 'Reload' }).and(page.locator(':focus')).waitFor()
  await page.keyboard.press('Enter')
  await inForce(before + 1)
  await page.getByRole('button', { name: 'Restore version 1' }).and(page.locator(':focus')).waitFor()
  await ask()
  await page.keyboard.press('Enter')
  await inForce(before + 2)
  t.same(findSecret(await page.content(), canary), [], 'the page has no password')
  await signIn()
})

t.test('the portal shows keys to owners of the platform and credentials to those who look after them', async t => {
  const owner = await openPortal(admin, '/secret-keys')
  await owner.locator('[data-key="next"]').getByText('Active').waitFor()
  await owner
    .locator('[data-key="local-1"]')
    .getByText(/^Retired /)
    .waitFor()
  t.equal(
    await owner.getByRole('button', { name: 'Start re-wrap' }).isDisabled(),
    true,
    'there is nothing to wrap again',
  )
  const [runbook] = await Promise.all([
    browser.context.waitForEvent('page'),
    owner.getByRole('link', { name: 'the runbook' }).click(),
  ])
  await runbook.getByText('rap-secrets rotate-key').first().waitFor()
  const operator = await openPortal(member, `/resources/${resourceId}`)
  await operator.getByRole('heading', { name: 'Ledger' }).waitFor()
  t.equal(await operator.getByRole('heading', { name: 'Credential' }).count(), 0)
  await operator.getByRole('button', { name: 'Account' }).click()
  await operator.getByRole('menuitem', { name: 'Sign out' }).waitFor()
  t.equal(await operator.getByRole('menuitem', { name: 'Secret keys' }).count(), 0)
  await operator.goto(`${apiUrl}/secret-keys`)
  await operator.getByText('This page is for owners of the platform').waitFor()
})
