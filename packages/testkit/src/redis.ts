import { randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { Redis } from 'ioredis'
import { requireProgram } from './debian-packages.ts'
import { freePort } from './free-port.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { tempDir } from './temp-dir.ts'

export interface RedisOptions {
  /** Where a persistent server keeps its data; default a temporary folder. */
  readonly dir?: string
  readonly port?: number
  /** Keep the data over `restart` and, with `dir`, over `stop`. Default false: a restart comes back empty. */
  readonly persistent?: boolean
  readonly logFile?: string
}

export interface RedisServer {
  /** With the password. */
  readonly url: string
  readonly port: number
  log(): string
  /** Ends the server if it runs, and starts it again on the same port with the same password. */
  restart(): Promise<void>
  /** Ends the server and removes a temporary folder; `restart` after it starts an empty server again. */
  stop(): Promise<void>
}

/** A real Redis server on 127.0.0.1 that asks for a random password. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const command = requireProgram('redis-server')
  const scratch = options.dir === undefined ? tempDir('rap-redis-') : undefined
  const dir = options.dir ?? scratch?.path ?? ''
  mkdirSync(dir, { recursive: true })
  const port = options.port ?? (await freePort())
  const password = randomBytes(18).toString('base64url')
  const url = `redis://:${password}@127.0.0.1:${port}/0`
  const settings = [
    'bind 127.0.0.1',
    `port ${port}`,
    `requirepass ${password}`,
    `dir ${JSON.stringify(dir)}`,
    'save ""',
    `appendonly ${options.persistent === true ? 'yes' : 'no'}`,
    'daemonize no',
    'logfile ""',
  ]
  const start = () =>
    startProcess({
      name: 'redis-server',
      command,
      // The configuration comes over standard input, so that the password is in no argument list and in no file.
      args: ['-'],
      input: `${settings.join('\n')}\n`,
      cwd: dir,
      readyWhen: () => answers(url),
      ...(options.logFile === undefined ? {} : { logFile: options.logFile }),
    })
  let running: RunningProcess
  try {
    running = await start()
  } catch (err) {
    scratch?.remove()
    throw err
  }
  return {
    url,
    port,
    log: () => running.log(),
    async restart() {
      await running.stop()
      mkdirSync(dir, { recursive: true })
      running = await start()
    },
    async stop() {
      await running.stop()
      scratch?.remove()
    },
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Redis(url, { lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null })
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.ping()) === 'PONG'
  } catch {
    return false
  } finally {
    client.disconnect()
  }
}
