import type { Page } from 'playwright-core'

const STEP_TIMEOUT_MS = 30_000

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
  page.setDefaultTimeout(STEP_TIMEOUT_MS)
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
