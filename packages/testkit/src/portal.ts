import type { Page } from 'playwright-core'

export interface OpenDesktopOptions {
  readonly portalUrl: string
  readonly login: { readonly email: string; readonly password: string }
  /** Name of the resource. */
  readonly name: string
}

/** Logs in to the portal and opens a desktop, as a person does. */
export async function openDesktop(
  page: Page,
  options: OpenDesktopOptions,
): Promise<{ path: string; connectedMs: number }> {
  const { portalUrl, login, name } = options
  await page.goto(portalUrl)
  await page.getByLabel('E-mail').fill(login.email)
  await page.getByLabel('Password', { exact: true }).fill(login.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  const started = Date.now()
  await page
    .getByRole('article', { name })
    .getByRole('button', { name: /Connect|Resume/ })
    .click()
  return { path: await connected(page), connectedMs: Date.now() - started }
}

/** Waits until the desktop is on the page, and answers the way it takes. Throws with what the page says where it failed. */
export async function connected(page: Page): Promise<string> {
  const path = page.getByTestId('path')
  const ended = page.getByTestId('ended')
  await path.or(ended).waitFor()
  if (await ended.isVisible()) throw new Error(`the desktop did not come up: ${await ended.textContent()}`)
  return (await path.getAttribute('data-path')) ?? ''
}

/** Types a line into the desktop, and Enter. The keyboard goes to the desktop once it was clicked. */
export async function typeLine(page: Page, line: string): Promise<void> {
  const desktop = page.getByTestId('desktop')
  const box = await desktop.boundingBox()
  if (box === null) throw new Error('the desktop is not on the page')
  await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2)
  await page.keyboard.type(line, { delay: 15 })
  await page.keyboard.press('Enter')
}

/** A file for `dropFile`: so many bytes that do not repeat. */
export interface DroppedFile {
  readonly name: string
  readonly size: number
}

/** Runs in the page, for which this package has no types. */
const MAKE_FILE = `async ({ name, size }) => {
  const content = new Uint8Array(size)
  // 64 KiB is the most that one call gives.
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(content.subarray(at, at + 65536))
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', content))
  const transfer = new DataTransfer()
  transfer.items.add(new File([content], name))
  return { transfer, sha256: Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('') }
}`

/** Drags a new file of random bytes over the desktop and lets it go; answers its SHA-256 in hexadecimal. */
export async function dropFile(page: Page, file: DroppedFile): Promise<string> {
  const made = await page.evaluateHandle(`(${MAKE_FILE})(${JSON.stringify(file)})`)
  const dataTransfer = await made.getProperty('transfer')
  const desktop = page.getByTestId('desktop')
  await desktop.dispatchEvent('dragenter', { dataTransfer })
  await page.getByTestId('drop-zone').waitFor()
  await desktop.dispatchEvent('dragover', { dataTransfer })
  await desktop.dispatchEvent('drop', { dataTransfer })
  const sha256 = await made.getProperty('sha256')
  return String(await sha256.jsonValue())
}
