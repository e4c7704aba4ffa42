import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { launchBrowser, openDesktop, typeLine, waitFor } from '@rap/testkit'
import type { Stand } from './stand.ts'
import { DEMO_DIR } from './state.ts'

/** What one desktop session through the portal showed. */
export interface Sight {
  readonly ok: boolean
  readonly portal: string
  /** `direct` or `gateway`. */
  readonly path: string
  readonly connected_ms: number
  /** A line typed in the browser had its effect on the desktop. */
  readonly typed_reached_desktop: boolean
  readonly screenshot: string
}

/** Drives one session in headless Chromium that trusts the demo's authority as a person's browser would. */
export async function check({ platform, desktop, portalUrl }: Stand): Promise<Sight> {
  const browser = await launchBrowser({
    trustedCaPem: platform.authority.certificatePem,
    viewport: { width: 1280, height: 848 },
  })
  const screenshot = join(DEMO_DIR, 'check.png')
  try {
    const page = await browser.context.newPage()
    const { path, connectedMs } = await openDesktop(page, { portalUrl, login: platform.admin, name: 'Demo desktop' })
    const witness = `checked-${Date.now()}`
    await typeLine(page, `touch ${witness}; uname -sr; date; echo It works`)
    const typed = await waitFor(() => existsSync(join(desktop.home, witness)), {
      what: 'the typed line to have its effect',
      timeoutMs: 15_000,
    }).then(
      () => true,
      () => false,
    )
    await page.waitForTimeout(500)
    await page.screenshot({ path: screenshot })
    await page.getByRole('button', { name: 'Disconnect', exact: true }).click()
    return { ok: typed, portal: portalUrl, path, connected_ms: connectedMs, typed_reached_desktop: typed, screenshot }
  } finally {
    await browser.stop()
  }
}
