import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunningProcess, runCommand, startProcess, TestkitError, tempDir } from '@rap/testkit'

/** A program that pastes waits that long for the clipboard, and then hangs for good. */
const PASTE_TIMEOUT_MS = 10_000
const TEXT = 'UTF8_STRING'

/** The clipboard of one X server, as its programs use it. */
export class XClipboard {
  readonly #env: Readonly<Record<string, string>>
  readonly #scratch = tempDir('rap-clipboard-')
  #owner: RunningProcess | undefined

  /** `env` has DISPLAY and XAUTHORITY. */
  constructor(env: Readonly<Record<string, string>>) {
    this.#env = env
  }

  /** Owns the clipboard with this content, in one format. */
  async copy(content: string | Buffer, format = TEXT): Promise<void> {
    await this.#owner?.stop()
    const file = join(this.#scratch.path, 'content')
    writeFileSync(file, content)
    this.#owner = await startProcess({
      command: 'xclip',
      args: ['-selection', 'clipboard', '-t', format, '-quiet', '-in', file],
      env: this.#env,
      readyWhen: /Waiting/,
    })
  }

  /** What a program pastes; empty where there is nothing in that format. Throws where the program is left waiting. */
  async paste(format = TEXT): Promise<string> {
    try {
      return await runCommand('xclip', ['-selection', 'clipboard', '-t', format, '-out'], {
        env: this.#env,
        timeoutMs: PASTE_TIMEOUT_MS,
      })
    } catch (error) {
      if (error instanceof TestkitError && error.code === 'ERR_TESTKIT_COMMAND_FAILED') return ''
      throw error
    }
  }

  /** The formats that the owner of the clipboard has. */
  async formats(): Promise<readonly string[]> {
    return (await this.paste('TARGETS')).trim().split('\n')
  }

  async close(): Promise<void> {
    await this.#owner?.stop()
    this.#scratch.remove()
  }
}
