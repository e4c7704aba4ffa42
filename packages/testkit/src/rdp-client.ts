import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { requireProgram } from './debian-packages.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { runCommand } from './run-command.ts'
import { tempDir } from './temp-dir.ts'
import { startXDisplay } from './x-display.ts'

export interface RdpClientOptions {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password: string
  /** More arguments of xfreerdp, such as `/sec:tls`. */
  readonly args?: readonly string[]
}

export interface RdpClient {
  /** DISPLAY and XAUTHORITY of the screen that it shows the desktop on. */
  readonly env: Readonly<Record<string, string>>
  /** Settles when the client has ended, with its exit code. */
  readonly exited: RunningProcess['exited']
  log(): string
  /** Types on the remote desktop. */
  type(text: string): Promise<void>
  /** Presses one key by its X name, such as `Return`. */
  key(name: string): Promise<void>
  stop(): Promise<void>
}

/** FreeRDP's client on an X server without a screen, with a keyboard that a test can use. It accepts any certificate. */
export async function startRdpClient(options: RdpClientOptions): Promise<RdpClient> {
  const command = requireProgram('xfreerdp3', 'xfreerdp')
  const keyboard = requireProgram('xdotool')
  const scratch = tempDir('rap-rdp-client-')
  const x = await startXDisplay({ dir: scratch.path, width: 1280, height: 800 })
  const home = join(scratch.path, 'home')
  mkdirSync(home)
  const env = { ...x.env, HOME: home, XDG_CONFIG_HOME: undefined }
  const client = await startProcess({
    name: 'xfreerdp',
    command,
    args: [
      `/v:${options.host}:${options.port}`,
      `/u:${options.username}`,
      '/from-stdin:force',
      '/cert:ignore',
      '/size:1024x768',
      '/log-level:INFO',
      ...(options.args ?? []),
    ],
    // The password comes over standard input, not in the argument list.
    input: `${options.password}\n`,
    env,
  })
  return {
    env: x.env,
    exited: client.exited,
    log: () => client.log(),
    async type(text) {
      await runCommand(keyboard, ['type', '--delay', '20', text], { env })
    },
    async key(name) {
      await runCommand(keyboard, ['key', name], { env })
    },
    async stop() {
      await client.stop()
      await x.process.stop()
      scratch.remove()
    },
  }
}
