import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram, requireProgram } from './debian-packages.ts'

/** openbox with one rule: a terminal fills the screen, has no frame, and has the keyboard. */
const OPENBOX_CONFIG = `<?xml version="1.0" encoding="UTF-8"?>
<openbox_config xmlns="http://openbox.org/3.4/rc">
  <focus><focusNew>yes</focusNew><followMouse>no</followMouse></focus>
  <desktops><number>1</number></desktops>
  <applications>
    <application class="XTerm"><decor>no</decor><maximized>yes</maximized><focus>yes</focus></application>
  </applications>
</openbox_config>
`

/** The file that the terminal's shell makes when it is there to be typed into. */
export const SHELL_READY_FILE = 'shell-ready'

/**
 * Writes the files of a desktop into `dir` and returns a shell script that runs it: a window manager and a terminal
 * that comes back when its shell ends. The caller gives DISPLAY and HOME.
 */
export function writeDesktop(dir: string): { readonly script: string; readonly readyFile: string } {
  mkdirSync(dir, { recursive: true })
  const openboxConfig = join(dir, 'openbox.xml')
  writeFileSync(openboxConfig, OPENBOX_CONFIG)
  const readyFile = join(dir, SHELL_READY_FILE)
  const shell = findProgram('bash') === undefined ? '/bin/sh' : 'bash --noprofile --norc'
  const innerShell = join(dir, 'shell.sh')
  writeFileSync(innerShell, `#!/bin/sh\ncd "$HOME"\n: > '${readyFile}'\nPS1='$ ' exec ${shell}\n`, { mode: 0o755 })
  const terminals = join(dir, 'terminals.sh')
  // waitForMap: the shell starts once its window is on the screen, so that its start means that keys arrive.
  const terminal = `'${requireProgram('xterm')}' -xrm 'XTerm*waitForMap: true' -fa Monospace -fs 11 -e '${innerShell}'`
  writeFileSync(terminals, `#!/bin/sh\nwhile :; do ${terminal} || sleep 1; done\n`, { mode: 0o755 })
  const script = join(dir, 'desktop.sh')
  writeFileSync(
    script,
    `#!/bin/sh\nexec '${requireProgram('openbox')}' --config-file '${openboxConfig}' --startup '${terminals}'\n`,
    { mode: 0o755 },
  )
  return { script, readyFile }
}
