import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ntowfv1 } from '../../src/credssp/ntlm-crypto.ts'
import { toHex, utf16 } from './helper.ts'

// The test kit has the full server; it depends on this package, so this package cannot depend on it.

const START_TIMEOUT_MS = 60_000
/** Seconds after which the programs end by themselves, should the test be killed before it can stop them. */
const LIFETIME = '600'

export interface ShadowServer {
  readonly port: number
  /** Such as 2 for FreeRDP 2.11. */
  readonly majorVersion: number
  stop(): Promise<void>
}

/** FreeRDP's shadow server with NLA over an empty Xvfb, on a free port of 127.0.0.1 (freerdp2-shadow-x11, xvfb). */
export async function startShadowServer(username: string, password: string): Promise<ShadowServer> {
  const home = mkdtempSync(join(tmpdir(), 'rdp-credssp-'))
  const started: ChildProcess[] = []
  const stop = async () => {
    for (const child of started.reverse().splice(0)) await end(child)
    rmSync(home, { recursive: true, force: true })
  }
  try {
    const samFile = join(home, 'sam')
    writeFileSync(samFile, `${username}:::${toHex(ntowfv1(utf16(password)))}:::\n`, { mode: 0o600 })
    const version = await outputOf(spawn('freerdp-shadow-cli', ['/version']), /FreeRDP version (\d+)\./)
    const env = { ...process.env, HOME: home }
    // A server that chooses its number itself takes no lock, and the end of another one takes its socket away.
    const number = `:${randomInt(1000, 60_000)}`
    const screen = ['-screen', '0', '640x480x24', '-nolisten', 'tcp', '-noreset']
    const xvfb = bounded(['Xvfb', number, '-displayfd', '1', ...screen], { env })
    started.push(xvfb)
    const display = await outputOf(xvfb, /^(\d+)\n/m)
    const port = await freePort()
    const args = ['/bind-address:127.0.0.1', `/port:${port}`, '/sec:nla', '+auth', `/sam-file:${samFile}`]
    const shadow = bounded(['freerdp-shadow-cli', ...args], {
      env: { ...env, DISPLAY: `:${display}` },
    })
    const log = keepOutput(shadow)
    started.push(shadow)
    await listening(port, shadow, log)
    return { port, majorVersion: Number(version), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function bounded(command: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn('timeout', [LIFETIME, ...command], options)
}

/** The first group of `pattern` in what the program writes. */
function outputOf(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let output = ''
    const timer = setTimeout(() => reject(new Error(`no ${pattern} in time`)), START_TIMEOUT_MS)
    const read = (chunk: Buffer) => {
      output += chunk.toString('latin1')
      const match = output.match(pattern)
      if (match?.[1] === undefined) return
      clearTimeout(timer)
      resolve(match[1])
    }
    child.stdout?.on('data', read)
    child.stderr?.on('data', read)
    child.once('error', reject)
    child.once('close', () => reject(new Error(`ended without ${pattern}`)))
  })
}

/** Below the ports that the kernel gives to outgoing connections, and below those of the test kit, so that nobody takes it meanwhile. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 20_000)
    const server = net.createServer()
    const isFree = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
    })
    if (isFree) return port
  }
}

/** What the program has written so far, for an error that explains itself. */
function keepOutput(child: ChildProcess): () => string {
  let output = ''
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString('latin1')).slice(-4000)
  }
  child.stdout?.on('data', keep)
  child.stderr?.on('data', keep)
  return () => output
}

async function listening(port: number, child: ChildProcess, log: () => string): Promise<void> {
  let failure: Error | undefined
  child.once('error', error => {
    failure = error
  })
  const deadline = Date.now() + START_TIMEOUT_MS
  while (Date.now() < deadline && child.exitCode === null && failure === undefined) {
    const open = await new Promise<boolean>(resolve => {
      const socket = net.connect(port, '127.0.0.1')
      socket.once('connect', () => socket.destroy() && resolve(true))
      socket.once('error', () => resolve(false))
    })
    if (open) return
    await delay(50)
  }
  throw failure ?? new Error(`shadow server does not listen, exit code ${child.exitCode}: ${log()}`)
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const closed = new Promise(resolve => child.once('close', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000)
  await closed
  clearTimeout(timer)
}
