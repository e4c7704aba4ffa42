import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DATA_PLANE_PATH } from '@rap/data-plane-protocol'
import { type Platform, type ShadowServer, startPlatform, startShadow } from '@rap/testkit'
import { CHANNELS } from '@rap/token-claims'
import { startFront } from './front.ts'
import { DEMO_DIR, keptPort, portalPort } from './state.ts'

const ROOT = join(import.meta.dirname, '../..')
const DESKTOP_ACCOUNT = 'demo'
/** What `scripts/rap-secrets` and `scripts/rap-pki` need to look at the demo's master keys and its CA. */
export const SECRETS_ENV_FILE = join(DEMO_DIR, 'rap-secrets.env')
export const PKI_ENV_FILE = join(DEMO_DIR, 'rap-pki.env')
/** The roots of the demo's CA, as its services hold them. */
export const CA_FILE = join(DEMO_DIR, 'identities', 'secret-resolver', 'trust-bundle.pem')
/** How soon the demo's services follow a rotation, in seconds: a person who tries one is watching. */
const FOLLOW = { RAP_IDENTITY_POLL_SECONDS: '5' }

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
      identities: 'enrolled',
      env: {
        'control-plane': { CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES: '1' },
        'secret-resolver': { SECRET_KEY_PROVIDERS_FILE: keyProviders(), ...FOLLOW },
        gateway: FOLLOW,
        'rdp-worker': FOLLOW,
      },
      // Everything, so that a newcomer sees it; what an administrator leaves out is off.
      policy: { channels: CHANNELS },
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
    writeToolEnvs(platform)
    progress('Portal')
    const front = await startFront({
      port,
      controlPlaneUrl: platform.apiUrl,
      gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
      caPem: () => platform.authority.certificatePem,
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

/** The environments of the tools, for `--env-file`. */
function writeToolEnvs(platform: Platform): void {
  writeEnv(SECRETS_ENV_FILE, {
    APP_ENV: 'development',
    DATABASE_URL: platform.databaseUrls.secretResolver,
    SECRET_ENCRYPTION_KEY_FILE: join(DEMO_DIR, 'secret-encryption.key'),
    SECRET_ENCRYPTION_KEY_ID: 'local-1',
    SECRET_KEY_PROVIDERS_FILE: join(DEMO_DIR, 'key-providers.json'),
  })
  writeEnv(PKI_ENV_FILE, {
    APP_ENV: 'development',
    DATABASE_URL: platform.databaseUrls.controlPlane,
    CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: join(DEMO_DIR, 'signing-key-encryption.key'),
    CONTROL_PLANE_TRUST_BUNDLE_OVERLAP_MINUTES: '1',
  })
}

function writeEnv(file: string, env: Readonly<Record<string, string>>): void {
  const lines = Object.entries(env).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(file, lines.join(''), { mode: 0o600 })
}

function kept(name: string, make: () => string): string {
  const file = join(DEMO_DIR, name)
  if (!existsSync(file)) writeFileSync(file, make(), { mode: 0o600 })
  return readFileSync(file, 'utf8')
}
