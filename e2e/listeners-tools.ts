import { spawn } from 'node:child_process'

export interface Ran {
  readonly code: number | null
  readonly output: string
}

/** Runs a program to its end, or kills it after `timeoutMs`; both outputs, with bytes that are no text left in. */
export function run(
  program: string,
  args: readonly string[],
  options: { input?: string; timeoutMs?: number } = {},
): Promise<Ran> {
  const { input = '', timeoutMs = 60_000 } = options
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'pipe', timeout: timeoutMs })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('latin1').on('data', text => {
        output += text
      })
    }
    child.stdin.on('error', () => {})
    child.on('error', reject)
    child.on('close', code => resolve({ code, output }))
    child.stdin.end(input)
  })
}

/** A handshake by openssl with these options; the session ends with the end of `input`. */
export function sClient(port: number, args: readonly string[], input = ''): Promise<Ran> {
  return run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'localhost', ...args], { input })
}

/** The cipher suite of a handshake by `sClient`, or undefined where there was none. */
export function suiteOf({ output }: Ran): string | undefined {
  const [, suite] = /^(?:New|Reused), .*Cipher is (\S+)$/m.exec(output) ?? []
  return suite === '(NONE)' ? undefined : suite
}

/** The status of an answer to curl, or 0 where there was none; and curl's own exit code. */
export async function curl(args: readonly string[]): Promise<{ code: number | null; status: number; output: string }> {
  const { code, output } = await run('curl', ['-sS', '-i', '--max-time', '50', ...args])
  const [, status] = /^HTTP\/[\d.]+ (\d{3})/m.exec(output) ?? []
  return { code, status: Number(status ?? 0), output }
}
