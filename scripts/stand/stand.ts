import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { type Platform, type ShadowServer, startPlatform, startShadow } from '@rap/testkit'
import { startFront } from './front.ts'
import { DEMO_DIR, keptPort, portalPort } from './state.ts'

const ROOT = join(import.meta.dirname, '../..')
const DESKTOP_ACCOUNT = 'demo'
/** What `scripts/rap-secrets` needs to look at the demo's master keys. */
export const TOOL_ENV_FILE = join(DEMO_DIR, 'rap-secrets.env')

/** The demo as it runs. */
export interface Stand {
  readonly platform: Platform
  readonly desktop: ShadowServer
  readonly portalUrl: string
  stop(): Promise<void>
}

/** Starts a demo desktop, the platform and the front; `progress` is told each step in words. */
export async function startStand(progress: (step: string) => void): Promise<Stand> {
  const stops: (() => Promise<unknown>)[] = []
  const stop = async (): Promise<void> => {
    for (const part of stops.reverse().splice(0)) await part().catch(error => console.error(String(error)))
  }
  try {
    mkdirSync(join(DEMO_DIR, 'logs'), { recursive: true, mode: 0o700 })
    progress('Demo desktop')
    const password = kept('desktop-password', () => randomBytes(15).toString('base64url'))
    const desktop = await startShadow({
      username: DESKTOP_ACCOUNT,
      password,
      security: 'nla',
      logFile: join(DEMO_DIR, 'logs', 'demo-desktop.log'),
    })
    stops.push(() => desktop.stop())

    const [port, gatewayPort, workerPort, controlPlanePort] = [
      await portalPort(),
      await keptPort('gateway'),
      await keptPort('rdp-worker'),
      await keptPort('control-plane'),
    ]
    const portalUrl = `http://localhost:${port}`
    const platform = await startPlatform({
      appEnv: 'development',
      dir: DEMO_DIR,
      ports: { gateway: gatewayPort, 'rdp-worker': workerPort, 'control-plane': controlPlanePort },
      gateway: 'plaintext',
      gatewayPublicUrl: `ws://localhost:${port}${DATA_PLANE_PATH}`,
      env: { 'secret-resolver': { SECRET_KEY_PROVIDERS_FILE: keyProviders() } },
      portalDir: join(ROOT, 'packages/web-client/dist'),
      publicOrigins: [portalUrl],
      logLevel: 'info',
      ...(process.env.DATABASE_URL && { databaseUrl: process.env.DATABASE_URL }),
      ...(process.env.REDIS_URL && { redisUrl: process.env.REDIS_URL }),
      targets: [
        {
          name: 'Demo desktop',
          host: desktop.host,
          port: desktop.port,
          credential: { username: DESKTOP_ACCOUNT, password },
          certificatePins: [desktop.certificateFingerprint],
          security: 'nla',
        },
      ],
      onProgress: progress,
    })
    stops.push(() => platform.stop())
    writeToolEnv(platform)
    progress('Portal')
    const front = await startFront({
      port,
      controlPlaneUrl: platform.apiUrl,
      gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
      caPem: platform.authority.certificatePem,
    })
    stops.push(() => front.close())
    return { platform, desktop, portalUrl, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A second master key, so that a rotation can be tried; it waits beside the one that is active. */
function keyProviders(): string {
  kept('local-2.key', () => randomBytes(32).toString('base64'))
  const file = join(DEMO_DIR, 'local-2.key')
  kept('key-providers.json', () => JSON.stringify({ keys: [{ name: 'local-2', provider: 'file', file }] }))
  return join(DEMO_DIR, 'key-providers.json')
}

/** The environment of `rap-secrets`, for `--env-file`. */
function writeToolEnv(platform: Platform): void {
  const env = {
    APP_ENV: 'development',
    DATABASE_URL: platform.databaseUrls.secretResolver,
    SECRET_ENCRYPTION_KEY_FILE: join(DEMO_DIR, 'secret-encryption.key'),
    SECRET_ENCRYPTION_KEY_ID: 'local-1',
    SECRET_KEY_PROVIDERS_FILE: join(DEMO_DIR, 'key-providers.json'),
  }
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(TOOL_ENV_FILE, lines.join(''), { mode: 0o600 })
}

function kept(name: string, make: () => string): string {
  const file = join(DEMO_DIR, name)
  if (!existsSync(file)) writeFileSync(file, make(), { mode: 0o600 })
  return readFileSync(file, 'utf8')
}
