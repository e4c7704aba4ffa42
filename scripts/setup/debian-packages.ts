import { spawnSync } from 'node:child_process'
import { missingDebianPackages } from '@rap/testkit'

/** Installs the Debian packages that the demo or the tests need, as root; otherwise prints the one line to run. */
const missing = missingDebianPackages()
if (missing.length > 0) {
  const line = `apt-get install --no-install-recommends --yes ${missing.join(' ')}`
  if (process.getuid?.() !== 0) {
    console.error(`error: Debian packages are missing\nhint:  run this once: sudo ${line}`)
    process.exit(1)
  }
  console.error(`Installing Debian packages: ${missing.join(' ')} ...`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  for (const command of ['apt-get update', line]) {
    const [program = '', ...args] = command.split(' ')
    const { status, stdout, stderr } = spawnSync(program, args, { env, encoding: 'utf8' })
    if (status !== 0) {
      console.error(`${stdout}${stderr}\nerror: \`${command}\` failed with status ${status}`)
      process.exit(1)
    }
  }
}
