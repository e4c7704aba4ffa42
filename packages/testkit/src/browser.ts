import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BrowserContext, BrowserType, LaunchOptions, ViewportSize } from 'playwright-core'
import { BROWSERS, findProgram, requireProgram } from './debian-packages.ts'
import { TestkitError } from './errors.ts'
import { runCommand } from './run-command.ts'
import { tempDir } from './temp-dir.ts'

export interface BrowserOptions {
  /** Authorities to trust beside those of the machine, PEM. */
  readonly trustedCaPem?: string | readonly string[]
  readonly viewport?: ViewportSize
  /** More command line switches. */
  readonly args?: readonly string[]
  /** More variables for the browser's process. */
  readonly env?: Readonly<Record<string, string>>
}

export interface TestBrowser {
  /** Playwright's context of a new profile; `context.newPage()` opens a page. */
  readonly context: BrowserContext
  /** The browser's private HOME. */
  readonly home: string
  stop(): Promise<void>
}

/** For each step on a page: as long as a busy machine takes to bring up a desktop in it. */
const STEP_TIMEOUT_MS = 90_000

const SWITCHES = [
  '--headless=new',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/**
 * Chromium with a new profile, which trusts the given authorities the way a person's browser would: through an NSS
 * database in its HOME. Certificate errors stay errors.
 */
export async function launchBrowser(options: BrowserOptions = {}): Promise<TestBrowser> {
  // Loaded here, because it takes half of the time that this whole package takes, and few tests need it.
  const { chromium } = await import('playwright-core')
  const executablePath = findBrowser(chromium)
  const scratch = tempDir('rap-browser-')
  const home = join(scratch.path, 'home')
  mkdirSync(home)
  try {
    const authorities = [options.trustedCaPem ?? []].flat()
    await trustAuthorities(home, authorities)
    const launch: LaunchOptions = {
      executablePath,
      // Playwright's own headless switch starts the old headless shell; the new one is the browser that people have.
      headless: false,
      args: [...SWITCHES, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), ...(options.args ?? [])],
      env: {
        PATH: process.env.PATH ?? '',
        LANG: 'C.UTF-8',
        ...options.env,
        HOME: home,
        XDG_CONFIG_HOME: join(home, '.config'),
      },
    }
    const context = await chromium.launchPersistentContext(join(scratch.path, 'profile'), {
      ...launch,
      ...(options.viewport === undefined ? {} : { viewport: options.viewport }),
    })
    context.setDefaultTimeout(STEP_TIMEOUT_MS)
    return {
      context,
      home,
      async stop() {
        await context.close()
        scratch.remove()
      },
    }
  } catch (err) {
    scratch.remove()
    throw err
  }
}

/** Makes the NSS database of a HOME and puts authorities into it as trusted for servers. */
export async function trustAuthorities(home: string, authoritiesPem: readonly string[]): Promise<void> {
  const certutil = requireProgram('certutil')
  const database = join(home, '.pki', 'nssdb')
  mkdirSync(database, { recursive: true, mode: 0o700 })
  await runCommand(certutil, ['-N', '-d', `sql:${database}`, '--empty-password'])
  for (const [index, pem] of authoritiesPem.entries()) {
    const file = join(database, `authority-${index}.pem`)
    writeFileSync(file, pem)
    await runCommand(certutil, ['-A', '-d', `sql:${database}`, '-n', `authority-${index}`, '-t', 'C,,', '-i', file])
  }
}

function findBrowser(chromium: BrowserType): string {
  const installed = findProgram(...BROWSERS)
  if (installed !== undefined) return installed
  // The build that `playwright-core install chromium` puts into its own folder.
  const own = findProgram(chromium.executablePath())
  if (own !== undefined) return own
  throw new TestkitError('ERR_TESTKIT_NOT_INSTALLED', 'no Chromium is installed', { packages: ['chromium'] })
}
