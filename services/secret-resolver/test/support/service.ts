import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunningProcess, startProcess, tempDir } from '@rap/testkit'
import type { Test } from 'tap'
import { TRUST_DOMAIN } from './platform.ts'
import { ISSUER, type World } from './world.ts'

const MAIN = join(import.meta.dirname, '../../src/main.ts')

/** The environment of a resolver in this world, with its files in a folder that goes with the test. */
export async function serviceEnv(t: Test, world: World): Promise<Record<string, string>> {
  const dir = tempDir('rap-resolver-')
  t.teardown(() => dir.remove())
  const own = await world.platform.identity('service', 'secret-resolver')
  const file = (name: string, content: string) => {
    const path = join(dir.path, name)
    writeFileSync(path, content, { mode: 0o600 })
    return path
  }
  return {
    APP_ENV: 'production',
    LOG_LEVEL: 'trace',
    SECRET_RESOLVER_HOST: '127.0.0.1',
    SECRET_RESOLVER_PORT: '0',
    HEALTH_PORT: '0',
    RAP_TRUST_DOMAIN: TRUST_DOMAIN,
    RAP_PLATFORM_CA_FILE: file('ca.pem', world.platform.ca),
    RAP_TLS_CERT_FILE: file('cert.pem', own.cert),
    RAP_TLS_KEY_FILE: file('key.pem', own.key),
    DATABASE_URL: world.database.urls.resolver,
    REDIS_URL: world.redisServer.url,
    CONTROL_PLANE_JWKS_URL: world.keySet.url,
    DATA_PLANE_ISSUER: ISSUER,
    SECRET_ENCRYPTION_KEY_FILE: file('master.key', randomBytes(32).toString('base64')),
    SECRET_ENCRYPTION_KEY_ID: 'key-1',
  }
}

/** Starts `src/main.ts` as its own process; not waited for. */
export async function startService(t: Test, env: Record<string, string>): Promise<RunningProcess> {
  const running = await startProcess({ name: 'secret-resolver', command: process.execPath, args: [MAIN], env })
  t.teardown(() => running.stop())
  return running
}

/** The fields of the `service_ready` line. */
export async function readyFields(running: RunningProcess) {
  const [line] = await running.waitForOutput(/^.*"event":"service_ready".*$/m, 60_000)
  return JSON.parse(line) as { internal_url: string; health_url: string; pid: number }
}

/** What `/readyz` says. */
export async function readiness(healthUrl: string) {
  const answer = await fetch(`${healthUrl}/readyz`)
  const { checks } = (await answer.json()) as { checks: Record<string, string> }
  return { status: answer.status, checks }
}
