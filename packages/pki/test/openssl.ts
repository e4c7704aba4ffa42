import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

const workspace = mkdtempSync(join(tmpdir(), 'rap-pki-'))
t.teardown(() => rmSync(workspace, { recursive: true }))

/** The exit code and output of openssl, which knows nothing of the library that wrote the certificates. */
export function openssl(args: string[], files: Record<string, string | Buffer> = {}): { code: number; output: string } {
  for (const [name, content] of Object.entries(files)) writeFileSync(join(workspace, name), content)
  const { status, stdout, stderr } = spawnSync('openssl', args, { cwd: workspace, encoding: 'utf8' })
  return { code: status ?? -1, output: stdout + stderr }
}
