import { connect } from 'node:net'
import { TestkitError } from './errors.ts'
import { waitFor } from './wait-for.ts'

export interface RedisMonitor {
  /** Every command since the start, as bytes: what MONITOR escapes is as it was sent. */
  commands(): Buffer
  stop(): void
}

/**
 * Sees every command that a Redis gets, as MONITOR tells it, from when this resolves on.
 *
 * It reads the connection itself: ioredis takes a command that comes together with the answer to MONITOR for an answer to nothing.
 */
export async function monitorRedis(url: string): Promise<RedisMonitor> {
  const { hostname, port, username, password } = new URL(url)
  const socket = connect(Number(port), hostname)
  const received: Buffer[] = []
  socket.on('data', bytes => received.push(bytes))
  socket.on('error', () => {})
  const text = () => Buffer.concat(received).toString('latin1')
  const words = [username || 'default', decodeURIComponent(password)]
  socket.write(`${password === '' ? '' : `AUTH ${words.join(' ')}\r\n`}MONITOR\r\n`)
  const answers = password === '' ? '+OK\r\n' : '+OK\r\n+OK\r\n'
  await waitFor(() => text().length >= answers.length, { what: 'Redis to be watched' })
  if (!text().startsWith(answers)) {
    socket.destroy()
    throw new TestkitError('ERR_TESTKIT_COMMAND_FAILED', 'Redis refused MONITOR')
  }
  return {
    commands: () => Buffer.from(unescaped(text().slice(answers.length)), 'latin1'),
    stop: () => socket.destroy(),
  }
}

const LETTERS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' }

function unescaped(text: string): string {
  return text.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, code: string | undefined, letter: string) =>
    code === undefined ? (LETTERS[letter] ?? letter) : String.fromCharCode(Number.parseInt(code, 16)),
  )
}
