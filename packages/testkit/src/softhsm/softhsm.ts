import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { requireProgram } from '../debian-packages.ts'
import { runCommand } from '../run-command.ts'
import { tempDir } from '../temp-dir.ts'

export interface SoftHsmToken {
  readonly label: string
  readonly pin: string
  readonly soPin: string
  /** A file of mode 0600 that holds the PIN. */
  readonly pinFile: string
}

export interface SoftHsm {
  /** The PKCS#11 library. */
  readonly module: string
  /** For a process that is to use these tokens; SoftHSM reads it when it is first initialized there. */
  readonly env: { readonly SOFTHSM2_CONF: string }
  /** The folder with everything that the tokens hold. */
  readonly tokenDir: string
  addToken(label: string, pin?: string): Promise<SoftHsmToken>
  /** Runs OpenSC's pkcs11-tool as the user of a token, and answers what it wrote. */
  tool(token: SoftHsmToken, ...args: readonly string[]): Promise<string>
  remove(): void
}

/** Debian's library, and the same for other processors. */
const MODULES = ['/usr/lib/softhsm/libsofthsm2.so']

/**
 * A SoftHSM 2 with tokens of its own in a temporary folder. Nothing of the machine's own tokens is seen or changed.
 *
 * Throws TestkitError ERR_TESTKIT_NOT_INSTALLED, ERR_TESTKIT_COMMAND_FAILED.
 */
export async function startSoftHsm(): Promise<SoftHsm> {
  const util = requireProgram('softhsm2-util')
  const module = requireProgram(...MODULES)
  const folder = tempDir('rap-softhsm-')
  const tokenDir = join(folder.path, 'tokens')
  const conf = join(folder.path, 'softhsm2.conf')
  mkdirSync(tokenDir, { mode: 0o700 })
  const settings = [`directories.tokendir = ${tokenDir}`, 'objectstore.backend = file', 'log.level = ERROR']
  writeFileSync(conf, `${settings.join('\n')}\n`)
  const env = { SOFTHSM2_CONF: conf }
  return {
    module,
    env,
    tokenDir,
    async addToken(label, pin = randomBytes(12).toString('hex')) {
      const soPin = randomBytes(12).toString('hex')
      const names = ['--init-token', '--free', '--label', label]
      await runCommand(util, [...names, '--so-pin', soPin, '--pin', pin], { env })
      const pinFile = join(folder.path, `pin-${randomBytes(6).toString('hex')}`)
      writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 })
      return { label, pin, soPin, pinFile }
    },
    tool: async ({ label, pin }, ...args) => {
      const login = ['--module', module, '--token-label', label, '--login', '--pin', pin]
      return await runCommand(requireProgram('pkcs11-tool'), [...login, ...args], { env })
    },
    remove: () => folder.remove(),
  }
}
