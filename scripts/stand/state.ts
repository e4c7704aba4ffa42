import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { freePort, removePostgresData } from '@rap/testkit'

/** Where the demo keeps everything. */
export const DEMO_DIR = join(import.meta.dirname, '../../.demo')
/** The port that the portal gets when it is free: people remember it. */
const LIKED_PORT = 8080

/** The ports of the first start are those of later ones, so that bookmarks and saved addresses hold. */
export async function keptPort(name: string, liked?: number): Promise<number> {
  const file = join(DEMO_DIR, `${name}.port`)
  const wanted = existsSync(file) ? Number(readFileSync(file, 'utf8')) : liked
  const port = wanted !== undefined && (await isFree(wanted)) ? wanted : await freePort()
  writeFileSync(file, String(port))
  return port
}

export const portalPort = (): Promise<number> => keptPort('portal', LIKED_PORT)

/** Refuses a second demo in the same folder, and forgets one that was killed. */
export function takeLock(): () => void {
  mkdirSync(DEMO_DIR, { recursive: true, mode: 0o700 })
  const file = join(DEMO_DIR, 'pid')
  const pid = runningPid()
  if (pid !== undefined) throw new Error(`the demo runs already (process ${pid}); stop it with Ctrl-C there`)
  writeFileSync(file, String(process.pid))
  return () => rmSync(file, { force: true })
}

/** Clears what the demo keeps. */
export function resetState(): void {
  const pid = runningPid()
  if (pid !== undefined) throw new Error(`the demo is running (process ${pid}); stop it first`)
  removePostgresData(join(DEMO_DIR, 'postgres'))
  rmSync(DEMO_DIR, { recursive: true, force: true })
}

function runningPid(): number | undefined {
  const file = join(DEMO_DIR, 'pid')
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8')) : Number.NaN
  if (!Number.isInteger(pid) || pid === process.pid) return undefined
  try {
    // The number may belong to somebody else by now.
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('stand/demo.ts') ? pid : undefined
  } catch {
    return undefined
  }
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise(resolve => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
