import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  canStartXrdp,
  connected,
  dropFile,
  launchBrowser,
  openDesktop,
  startPlatform,
  startXrdp,
  targetOf,
  typeLine,
  waitFor,
} from '@rap/testkit'
import type { Locator } from 'playwright-core'
import postgres from 'postgres'
import t from 'tap'

const PORTAL_DIR = join(import.meta.dirname, '../packages/web-client/dist')
const MIB = 2 ** 20
const ALL = ['display', 'input', 'clipboard_client_to_server', 'clipboard_server_to_client', 'file_upload', 'events']

const ability = canStartXrdp()
if (!ability.ok) {
  t.pass('skipped', { skip: ability.reason })
  process.exit(0)
}
const xrdp = await startXrdp({})
t.teardown(() => xrdp.stop())
const credential = { username: xrdp.username, password: xrdp.password }
const platform = await startPlatform({
  portalDir: PORTAL_DIR,
  policy: { channels: ALL },
  targets: ['open', 'quiet', 'watched'].map(name => targetOf(xrdp, { name, credential, security: 'tls' })),
})
t.teardown(() => platform.stop())
const { api, apiUrl, admin, organizationId } = platform
const [open, quiet, watched] = platform.resources
if (open === undefined || quiet === undefined || watched === undefined) throw new Error('three desktops were seeded')

const policyOf = (resourceId: string) => `/v1/resources/${resourceId}/policy`
await api.call('PUT', policyOf(quiet.id), { body: { document: { channels: ['display', 'input', 'events'] } } })
await api.call('PUT', policyOf(watched.id), { body: { document: { channels: ['display', 'events'] } } })

const browser = await launchBrowser({
  trustedCaPem: platform.authority.certificatePem,
  viewport: { width: 1200, height: 748 },
})
t.teardown(() => browser.stop())
const { context } = browser
await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: apiUrl })
// Counts what the page does with the clipboard of the person.
await context.addInitScript(`
  globalThis.clipboardCalls = { read: 0, write: 0 }
  for (const [name, kind] of [['read', 'read'], ['readText', 'read'], ['write', 'write'], ['writeText', 'write']]) {
    const original = Clipboard.prototype[name]
    Clipboard.prototype[name] = function (...given) {
      globalThis.clipboardCalls[kind]++
      return original.apply(this, given)
    }
  }
`)
const page = await context.newPage()
await openDesktop(page, { portalUrl: apiUrl, login: admin, name: 'open' })
await waitFor(() => xrdp.isShellReady(), { what: 'the shell on the desktop', timeoutMs: 30_000 })

/** Waits until a paste on the desktop gives this text. */
async function isPasted(text: string): Promise<boolean> {
  const isThere = async () => (await onDesktop('xclip -selection clipboard -o')).trimEnd() === text
  return await waitFor(isThere, { what: `${text} on the desktop`, timeoutMs: 60_000 })
}

/** Whether a person sees the whole of it without scrolling. */
function isInWindow(element: Element): boolean {
  const { top, bottom } = element.getBoundingClientRect()
  return top >= 0 && bottom <= globalThis.innerHeight
}

/** Goes to another desktop of the same account, which shows the same screen. */
async function visit(resourceId: string): Promise<void> {
  await page.goto(`${apiUrl}/resources/${resourceId}/desktop`)
  await connected(page)
}

let jobs = 0
/** Runs shell commands on the desktop, by typing, and answers what they print. */
async function onDesktop(commands: string): Promise<string> {
  const name = `job${++jobs}`
  const out = join(xrdp.home, `${name}.out`)
  const script = join(xrdp.home, `${name}.sh`)
  writeFileSync(script, `exec > ${name}.part 2>&1\n${commands}\nmv ${name}.part ${name}.out\n`, { mode: 0o755 })
  let typedAt = Number.NEGATIVE_INFINITY
  await waitFor(
    async () => {
      if (existsSync(out)) return true
      if (!existsSync(join(xrdp.home, `${name}.part`)) && performance.now() - typedAt > 3000) {
        await typeLine(page, `sh ${name}.sh`)
        typedAt = performance.now()
      }
      return false
    },
    { what: `the end of ${name} on the desktop`, timeoutMs: 120_000 },
  )
  return readFileSync(out, 'utf8')
}

const clipboardOfPage = () => page.evaluate<string>('navigator.clipboard.readText()')
const copyInPage = (text: string) => page.evaluate(`navigator.clipboard.writeText(${JSON.stringify(text)})`)
/** Waits for a button of the clipboard to have this state. */
async function hasState(button: Locator, state: string): Promise<boolean> {
  await button.and(page.locator(`[data-state=${state}]`)).waitFor()
  return true
}
const paste = page.getByRole('button', { name: 'Paste to the desktop' })
const copy = page.getByRole('button', { name: 'Copy from the desktop' })

t.test('a text that was copied in the browser is pasted on the desktop', async t => {
  const text = 'Grüße, 你好, "quoted" & $HOME'
  await copyInPage(text)
  t.ok(await hasState(paste, 'automatic'))
  await page.mouse.move(10, 10)
  await page.getByTestId('desktop').hover()
  t.ok(await isPasted(text))
  await copyInPage('with the button')
  await paste.click()
  await page.getByText('The desktop has your text').waitFor()
  t.ok(await isPasted('with the button'))
})

t.test('a text that was copied on the desktop is in the clipboard of the browser', async t => {
  const text = 'vom Rechner: äöü 漢字'
  await onDesktop(`printf %s '${text}' | xclip -selection clipboard -i >/dev/null 2>&1`)
  await waitFor(async () => (await clipboardOfPage()) === text, { what: 'the text in the browser' })
  t.ok(await hasState(copy, 'copied'))
})

t.test('a file that is dropped on the desktop is there bit for bit, also one of 200 MB', async t => {
  const sha256 = await dropFile(page, { name: 'Bericht 2026.pdf', size: 3 * MIB + 17 })
  const small = page.locator('[data-testid=transfer][data-name="Bericht 2026.pdf"][data-state=ready]')
  await small.waitFor()
  const large = await dropFile(page, { name: 'large.bin', size: 200 * MIB })
  await page
    .getByTestId('upload')
    .getByText(/MB of 200 MB/)
    .waitFor()
  await page.locator('[data-testid=transfer][data-name="large.bin"][data-state=ready]').waitFor({ timeout: 180_000 })
  await page.getByRole('button', { name: 'Close files' }).click()
  const sums = await onDesktop('sha256sum thinclient_drives/RAP_*/*')
  t.match(sums, new RegExp(`${sha256}  .*Bericht 2026\\.pdf`))
  t.match(sums, new RegExp(`${large}  .*large\\.bin`))
  await page.getByRole('button', { name: 'Files', exact: true }).click()
  await page.getByRole('button', { name: 'Remove large.bin' }).click()
  await page.locator('[data-testid=transfer][data-name="large.bin"]').waitFor({ state: 'detached' })
  await page.getByRole('button', { name: 'Close files' }).click()
})

t.test('two hundred files that are dropped on whatever is on the page arrive, and are told of once', async t => {
  const isTaken = await page.evaluate(`(() => {
    const dataTransfer = new DataTransfer()
    for (let n = 0; n < 200; n++) dataTransfer.items.add(new File([String(n)], 'many-' + n + '.txt'))
    const drop = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true })
    // Where dialogs and notices are, beside the desktop's own part of the page.
    document.body.dispatchEvent(drop)
    return drop.defaultPrevented
  })()`)
  t.ok(isTaken, 'the browser does not leave the page for the file')
  await page.getByText('200 files are in RAP_Transfers').waitFor({ timeout: 180_000 })
  const ready = page.locator('[data-testid=transfer][data-name^="many-"][data-state=ready]')
  await waitFor(async () => (await ready.count()) === 200, { what: 'all of them in the list' })
  t.equal(await page.getByText(/^many-\d+\.txt is in RAP_Transfers$/).count(), 0, 'not one by one')
  await page.getByRole('button', { name: 'Close files' }).click()
})

t.test('a page that is loaded again amid a file comes back to its desktop, and the same file goes on', async t => {
  const path = join(xrdp.home, 'begun.bin')
  writeFileSync(path, randomBytes(8 * MIB))
  const sessions = async () =>
    (await api.call<{ items: { id: string }[] }>('GET', '/v1/sessions')).items.map(({ id }) => id)
  const before = await sessions()
  const choose = async () => {
    await page.getByRole('button', { name: 'Files', exact: true }).click()
    await page.locator('input[type=file]').setInputFiles(path)
  }
  // Until the page is loaded again, the rest of the file is not read.
  await page.evaluate(`(() => {
    const { slice } = Blob.prototype
    Blob.prototype.slice = function (start, ...more) {
      const stops = this.name === 'begun.bin' && start >= ${2 * MIB}
      return stops ? { arrayBuffer: () => new Promise(() => {}) } : slice.call(this, start, ...more)
    }
  })()`)
  await choose()
  await page
    .getByTestId('upload')
    .getByText(/[1-9][.0-9]* MB of 8 MB/)
    .waitFor()
  page.once('dialog', dialog => void dialog.accept())
  await page.reload()
  await connected(page)
  t.same(await sessions(), before, 'no second session')
  await page.getByRole('button', { name: 'Files', exact: true }).click()
  const begun = page.locator('[data-testid=transfer][data-name="begun.bin"]')
  await begun.getByText(/MB of 8 MB · not finished/).waitFor()
  await page.getByRole('button', { name: 'Close files' }).click()
  await choose()
  await begun.and(page.locator('[data-state=ready]')).waitFor()
  t.equal(await page.locator('[data-testid=transfer][data-name^="begun"]').count(), 1)
  await page.getByRole('button', { name: 'Close files' }).click()
})

t.test('what the policy refuses is said before it is sent, and while it is dragged', async t => {
  await api.call('PUT', policyOf(open.id), { body: { document: { limits: { upload_extensions: ['txt'] } } } })
  await page.getByRole('button', { name: 'Files', exact: true }).click()
  await page.getByTestId('upload-limits').getByText('only .txt').waitFor()
  await dropFile(page, { name: 'tool.exe', size: 10 })
  await page.locator('[data-testid=upload][data-name="tool.exe"][data-code=ERR_UPLOAD_EXTENSION]').waitFor()
  t.pass()
  await page.getByRole('button', { name: 'Take tool.exe off the list' }).click()
  await page.getByRole('button', { name: 'Close files' }).click()
})

t.test('a channel that is taken away under the open desktop is told at once', async t => {
  const document = { channels: ALL.filter(channel => channel !== 'clipboard_server_to_client') }
  await api.call('PUT', policyOf(open.id), { body: { document } })
  await page.getByText('The clipboard from the desktop was just turned off').waitFor()
  t.ok(await hasState(copy, 'off'))
  await page.getByRole('button', { name: 'What may I do here?' }).click()
  await page
    .locator('[data-channel=clipboard_server_to_client]')
    .getByText(/off by policy: set for this resource/)
    .waitFor()
  await page.keyboard.press('Escape')
})

t.test('a channel that is given back stays off until the next connection, and the person is told so', async t => {
  await api.call('PUT', policyOf(open.id), { body: { document: { limits: { idle_seconds: 7200 } } } })
  await page.getByRole('button', { name: 'What may I do here?' }).click()
  const may = page.getByTestId('what-may-i')
  await may.getByText('Without activity for 2 hours').waitFor()
  await may.getByText('The clipboard from the desktop was allowed after you connected').waitFor()
  t.equal(await copy.getAttribute('data-state'), 'off')
  await page.keyboard.press('Escape')
})

t.test(
  'a disconnect is not taken for the end of the connection for files, which the policy brought before',
  async t => {
    await api.call('PUT', policyOf(open.id), { body: { document: { channels: ['display', 'input'] } } })
    await page.getByRole('button', { name: 'Files', exact: true }).click()
    await page.locator('[data-testid=files] [data-code=ERR_SESSION_POLICY]').waitFor()
    await page.getByRole('button', { name: 'Disconnect' }).click()
    const ended = page.getByTestId('ended')
    await ended.waitFor()
    t.equal(await ended.getAttribute('data-code'), 'ERR_SESSION_DETACHED')
    await api.call('PUT', policyOf(open.id), { body: { document: {} } })
  },
)

t.test('a desktop without clipboard and files says so, and leaves the clipboard of the person alone', async t => {
  await visit(quiet.id)
  await page.getByTestId('desktop').hover()
  await onDesktop('printf secret | xclip -selection clipboard -i >/dev/null 2>&1')
  await page.keyboard.press('Control')
  t.same(await page.evaluate('clipboardCalls'), { read: 0, write: 0 })
  await paste.click()
  const dialog = page.getByTestId('clipboard-dialog')
  await dialog.getByText('The clipboard to the desktop is off by policy: set for this resource.').waitFor()
  await dialog.getByRole('button', { name: 'Close' }).click()
  await dialog.waitFor({ state: 'detached' })
  await copy.click()
  await dialog.getByText('The clipboard from the desktop is off by policy: set for this resource.').waitFor()
  await dialog.getByRole('button', { name: 'Close' }).click()
  await dialog.waitFor({ state: 'detached' })
  await dropFile(page, { name: 'no.txt', size: 10 })
  t.equal(await page.getByTestId('upload').count(), 0)
  t.same(await page.evaluate('clipboardCalls'), { read: 0, write: 0 })
})

t.test('a desktop that can only be seen says so, and what is typed there has no effect', async t => {
  await visit(watched.id)
  await page.getByTestId('view-only').getByText('off by policy').waitFor()
  await typeLine(page, 'touch typed')
  await visit(quiet.id)
  await onDesktop('true')
  t.notOk(existsSync(join(xrdp.home, 'typed')))
})

t.test('a session whose time is over says so, and the way on', async t => {
  await visit(open.id)
  const kept = await page.evaluate('history.state')
  const sql = postgres(platform.databaseUrls.controlPlane, { max: 1 })
  t.teardown(() => sql.end())
  await sql`update rap.remote_sessions set ends_at = now() + interval '2 seconds' where state = 'active'`
  const ended = page.getByTestId('ended')
  await ended.waitFor()
  t.equal(await ended.getAttribute('data-code'), 'ERR_SESSION_TIME_LIMIT')
  t.notSame(await page.evaluate('history.state'), kept, 'a reload has nothing to come back to')

  // As if it had ended while nobody looked: the page still means to come back to it.
  await page.evaluate(state => history.replaceState(state, ''), kept)
  await page.reload()
  await page.locator('[data-testid=ended][data-code=ERR_SESSION_ENDED]').waitFor()
  await ended.getByRole('button', { name: 'Start a new session' }).click()
  await connected(page)
})

t.test('what is allowed while a desktop is open is offered with a new connection to it', async t => {
  await visit(quiet.id)
  const sessionNow = async () => {
    const path = `/v1/sessions?organization_id=${organizationId}&resource_id=${quiet.id}&state=active`
    const [session] = (await api.call<{ items: { id: string }[] }>('GET', path)).items
    return session?.id
  }
  const before = await sessionNow()
  await api.call('PUT', policyOf(quiet.id), { body: { document: {} } })
  // The person comes back from wherever they were told so.
  await page.evaluate(() => globalThis.dispatchEvent(new Event('focus')))
  const bar = page.getByTestId('newly-allowed')
  await bar.getByText('the clipboard to the desktop').waitFor()
  await bar.getByRole('button', { name: 'Reconnect' }).click()
  await bar.waitFor({ state: 'detached' })
  await connected(page)
  t.equal(await sessionNow(), before, 'the same session goes on')
  await page.getByRole('button', { name: 'What may I do here?' }).click()
  await page.getByText('The clipboard to the desktop is on.').waitFor()
  await page.keyboard.press('Escape')
  t.equal(await bar.count(), 0)
})

t.test('an administrator edits the policy and sees what it comes to', async t => {
  await page.goto(`${apiUrl}/policy`)
  const editor = page.getByTestId('policy-organization')
  await editor.locator('[data-channel=file_upload]').getByText('Off', { exact: true }).click()
  await editor.locator('[data-result=file_upload]').getByText('Off', { exact: true }).waitFor()
  await editor.getByRole('button', { name: 'Save' }).click()
  await page.getByText('The policy is in force').waitFor()
  const path = `/v1/organizations/${organizationId}/policy`
  const { document, version } = await api.call<{ document: { channels: string[] }; version: number }>('GET', path)
  t.same(
    document.channels,
    ALL.filter(channel => channel !== 'file_upload'),
  )

  // Somebody else is quicker the next time.
  await api.call('PUT', path, { body: { document: { channels: ALL }, version } })
  await editor.locator('[data-channel=events]').getByText('Off', { exact: true }).click()
  await editor.getByRole('button', { name: 'Save' }).click()
  const conflict = page.locator('[data-code=ERR_POLICY_CHANGED]')
  await conflict.waitFor()
  t.ok(await conflict.evaluate(isInWindow), 'whoever has saved at the foot of the page sees it')
  await conflict.getByRole('button', { name: 'Reload' }).click()
  await editor.locator('[data-result=file_upload]').getByText('On', { exact: true }).waitFor()
})

t.teardown(() => rmSync(join(xrdp.home, 'typed'), { force: true }))
