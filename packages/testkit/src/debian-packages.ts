import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { TestkitError } from './errors.ts'

/** Who needs a program: the demo, the demo's check in a browser, the tests, the benches. */
export type Purpose = 'demo' | 'check' | 'test' | 'bench'

export interface DebianPackage {
  /** What it is for, in words. */
  readonly what: string
  /** Paths or program names; one of them is enough. */
  readonly provides: readonly string[]
  /** Names in Debian and Ubuntu, newest first; the first one that the machine's package lists know is taken. */
  readonly packages: readonly string[]
  readonly purposes: readonly Purpose[]
}

/** Every program outside npm that the demo, the tests and the benches start. */
export const debianPackages = [
  { what: 'Redis', provides: ['redis-server'], packages: ['redis-server'], purposes: ['demo', 'test', 'bench'] },
  { what: 'X server without a screen', provides: ['Xvfb'], packages: ['xvfb'], purposes: ['demo', 'test', 'bench'] },
  { what: 'window manager', provides: ['openbox'], packages: ['openbox'], purposes: ['demo', 'test', 'bench'] },
  { what: 'terminal', provides: ['xterm'], packages: ['xterm'], purposes: ['demo', 'test', 'bench'] },
  {
    what: "FreeRDP's shadow server",
    provides: ['freerdp-shadow-cli3', 'freerdp-shadow-cli'],
    packages: ['freerdp3-shadow-x11', 'freerdp2-shadow-x11'],
    purposes: ['demo', 'test', 'bench'],
  },
  { what: 'browser', provides: ['chromium'], packages: ['chromium'], purposes: ['check', 'test'] },
  { what: 'certutil of NSS', provides: ['certutil'], packages: ['libnss3-tools'], purposes: ['demo', 'check', 'test'] },
  {
    what: 'RDP client',
    provides: ['xfreerdp3', 'xfreerdp'],
    packages: ['freerdp3-x11', 'freerdp2-x11'],
    purposes: ['test'],
  },
  { what: 'keyboard of an X server', provides: ['xdotool'], packages: ['xdotool'], purposes: ['test'] },
  { what: 'clipboard of an X server', provides: ['xclip'], packages: ['xclip'], purposes: ['test'] },
  { what: 'xrdp', provides: ['/usr/sbin/xrdp'], packages: ['xrdp'], purposes: ['test'] },
  {
    what: 'Xorg modules of xrdp',
    provides: ['/usr/lib/xorg/modules/drivers/xrdpdev_drv.so'],
    packages: ['xorgxrdp'],
    purposes: ['test'],
  },
  { what: 'cookies of X servers, which xrdp makes', provides: ['xauth'], packages: ['xauth'], purposes: ['test'] },
  { what: 'packets of an interface', provides: ['tcpdump'], packages: ['tcpdump'], purposes: ['test'] },
  { what: 'signals by user', provides: ['pkill'], packages: ['procps'], purposes: ['test'] },
  { what: 'nginx', provides: ['/usr/sbin/nginx'], packages: ['nginx'], purposes: ['bench'] },
  {
    what: 'TCP proxy of nginx',
    provides: ['/usr/lib/nginx/modules/ngx_stream_module.so'],
    packages: ['libnginx-mod-stream'],
    purposes: ['bench'],
  },
  { what: 'OpenSSL', provides: ['openssl'], packages: ['openssl'], purposes: ['test'] },
  { what: 'curl, against every listener', provides: ['curl'], packages: ['curl'], purposes: ['test'] },
  { what: 'compiler of native npm modules', provides: ['g++'], packages: ['g++'], purposes: ['test'] },
  { what: 'make, for the same', provides: ['make'], packages: ['make'], purposes: ['test'] },
  { what: 'Python, for the same', provides: ['python3'], packages: ['python3'], purposes: ['test'] },
  { what: 'HSM in software', provides: ['softhsm2-util'], packages: ['softhsm2'], purposes: ['test'] },
  { what: 'tools for HSMs', provides: ['pkcs11-tool'], packages: ['opensc'], purposes: ['test'] },
] as const satisfies readonly DebianPackage[]

const EXTRA_FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/local/sbin', '/usr/sbin', '/sbin']

/** The path of the first of these programs that is installed, also outside PATH (an ordinary user has no sbin there). */
export function findProgram(...names: readonly string[]): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter).filter(folder => folder !== ''), ...EXTRA_FOLDERS]
  for (const name of names) {
    const candidates = name.startsWith('/') ? [name] : folders.map(folder => join(folder, name))
    for (const path of candidates)
      if (canAccess(path, name.endsWith('.so') ? constants.R_OK : constants.X_OK)) return path
  }
  return undefined
}

/** Like `findProgram`; throws TestkitError NOT_INSTALLED with the Debian packages that bring it. */
export function requireProgram(...names: readonly string[]): string {
  const path = findProgram(...names)
  if (path !== undefined) return path
  const entry = debianPackages.find(({ provides }) => names.some(name => provides.some(known => known.endsWith(name))))
  const packages = entry === undefined ? [] : [packageName(entry)]
  throw new TestkitError(
    'ERR_TESTKIT_NOT_INSTALLED',
    `${names.join(' or ')} is not installed${packages.length === 0 ? '' : ` (sudo apt-get install ${packages})`}`,
    { what: names[0] ?? '', packages },
  )
}

/**
 * The Debian or Ubuntu packages that are missing for a purpose, by the names of this release.
 *
 * Ubuntu has no browser package that runs outside snap: there `chromium` is left out, and `browserInstallCommand` helps.
 */
export function missingDebianPackages(purpose: Purpose = 'test'): string[] {
  return debianPackages
    .filter((entry: DebianPackage) => entry.purposes.includes(purpose))
    .filter(entry => !isPresent(entry) && !(entry.what === 'browser' && isUbuntu()))
    .map(entry => packageName(entry))
}

/** Programs under which a browser is known, in the order they are tried. */
export const BROWSERS = ['chromium', 'google-chrome-stable', 'google-chrome', 'chromium-browser'] as const

/** One command for a machine whose packages have no browser, or undefined when there is one. */
export function browserInstallCommand(): string | undefined {
  return isUbuntu() && findProgram('google-chrome-stable', 'google-chrome') === undefined
    ? 'npx playwright-core install --with-deps chromium'
    : undefined
}

function isPresent(entry: DebianPackage): boolean {
  return findProgram(...(entry.what === 'browser' ? BROWSERS : entry.provides)) !== undefined
}

function packageName(entry: DebianPackage): string {
  const [newest = '', ...older] = entry.packages
  if (older.length === 0) return newest
  const known = spawnSync('apt-cache', ['pkgnames', newest.slice(0, -4)], { encoding: 'utf8' }).stdout ?? ''
  const names = new Set(known.split('\n'))
  return entry.packages.find(name => names.has(name)) ?? entry.packages.at(isOldRelease() ? -1 : 0) ?? newest
}

function osRelease(): Record<string, string> {
  try {
    const lines = readFileSync('/etc/os-release', 'utf8').matchAll(/^(\w+)="?(.*?)"?$/gm)
    return Object.fromEntries([...lines].map(([, key, value]) => [key, value]))
  } catch {
    return {}
  }
}

function isUbuntu(): boolean {
  return osRelease().ID === 'ubuntu'
}

/** Debian up to 12 and Ubuntu up to 23.10 have FreeRDP 2 only. */
function isOldRelease(): boolean {
  const { ID, VERSION_ID } = osRelease()
  return Number(VERSION_ID) < (ID === 'ubuntu' ? 24.04 : 13)
}

function canAccess(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
