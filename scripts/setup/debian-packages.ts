import { spawnSync } from 'node:child_process'
import { browserInstallCommand, missingDebianPackages } from '@rap/testkit'

/** Installs the Debian packages that the named purposes need, as root; otherwise prints the one line to run. */
const purposes = process.argv.slice(2) as Parameters<typeof missingDebianPackages>[0][]
const missingNow = (): string[] => [...new Set(purposes.flatMap(purpose => missingDebianPackages(purpose)))]

let missing = missingNow()
if (missing.length > 0) {
  const install = (packages: readonly string[]): string =>
    `apt-get install --no-install-recommends --yes ${packages.join(' ')}`
  if (process.getuid?.() !== 0) fail('Debian packages are missing', `run this once: sudo ${install(missing)}`)
  run('apt-get update')
  // The lists are there now, and with them the names of this release.
  missing = missingNow()
  console.error(`Installing Debian packages: ${missing.join(' ')} ...`)
  run(install(missing))
}
const browser = purposes.some(purpose => purpose === 'check' || purpose === 'test')
  ? browserInstallCommand()
  : undefined
if (browser !== undefined)
  fail('no browser is installed, and this system has none in its packages', `run this once: ${browser}`)

function run(command: string): void {
  const [program = '', ...args] = command.split(' ')
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const { status, stdout, stderr } = spawnSync(program, args, { env, encoding: 'utf8' })
  if (status !== 0) fail(`\`${command}\` failed with status ${status}`, `${stdout}${stderr}`.trim())
}

function fail(error: string, hint: string): never {
  console.error(`error: ${error}\nhint:  ${hint}`)
  process.exit(1)
}
