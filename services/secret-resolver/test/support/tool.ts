import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { KeyRing, openLocalKey, singleKeySource } from '@rap/key-provider'
import { type RunningProcess, startProcess, tempDir } from '@rap/testkit'
import type { Test } from 'tap'
import { startDatabase, type TestDatabase } from './database.ts'
import { type Kept, keepSecrets } from './keep.ts'
import { useKeys } from './keys.ts'

const TOOL = join(import.meta.dirname, '../../src/cli/main.ts')

/** One JSON line of the tool. */
export interface Line {
  readonly event: string
  readonly [field: string]: unknown
}

type EnvChange = Readonly<Record<string, string | undefined>>

/** A database with the keys 2026-a (of the environment, active) and 2026-b (of the providers file), and the tool. */
export interface ToolStand {
  readonly database: TestDatabase
  readonly dir: string
  readonly keys: KeyRing
  /** Writes the providers file with a file key for each name. */
  configure(...names: string[]): void
  start(args: readonly string[], change?: EnvChange): Promise<RunningProcess>
  /** Runs the tool to its end; fails the test where a key is printed. */
  run(
    t: Test,
    args: readonly string[],
    change?: EnvChange,
  ): Promise<{ code: number | null; output: string; lines: Line[] }>
  /** An empty store with so many secrets under 2026-a, and 2026-b active. */
  stored(count: number): Promise<Kept[]>
}

export async function startToolStand(t: Test): Promise<ToolStand> {
  const database = await startDatabase(t)
  const { resolver: sql, superuser, urls } = database
  const dir = tempDir('rap-secrets-tool-')
  t.teardown(() => dir.remove())
  const fileOf = (name: string) => join(dir.path, `${name}.key`)
  for (const name of ['2026-a', '2026-b']) writeFileSync(fileOf(name), randomBytes(32), { mode: 0o600 })
  const keys = new KeyRing(
    await Promise.all(
      ['2026-a', '2026-b'].map(async keyId => singleKeySource(await openLocalKey({ keyId, file: fileOf(keyId) }))),
    ),
  )
  await useKeys(sql, keys, '2026-a')
  const providers = join(dir.path, 'key-providers.json')
  const configure = (...names: string[]) => {
    const entries = names.map(name => ({ name, provider: 'file', file: fileOf(name) }))
    writeFileSync(providers, JSON.stringify({ keys: entries }), { mode: 0o600 })
  }
  configure('2026-b')
  const env = {
    APP_ENV: 'production',
    DATABASE_URL: urls.resolver,
    SECRET_ENCRYPTION_KEY_FILE: fileOf('2026-a'),
    SECRET_ENCRYPTION_KEY_ID: '2026-a',
    SECRET_KEY_PROVIDERS_FILE: providers,
  }
  const start = (args: readonly string[], change: EnvChange = {}) =>
    startProcess({ name: 'rap-secrets', command: process.execPath, args: [TOOL, ...args], env: { ...env, ...change } })
  return {
    database,
    dir: dir.path,
    keys,
    configure,
    start,
    async run(test, args, change) {
      const running = await start(args, change)
      const { code } = await running.exited
      const output = running.log()
      const printed = ['2026-a', '2026-b'].filter(name =>
        output.includes(readFileSync(fileOf(name)).toString('base64')),
      )
      test.strictSame(printed, [], 'no key is printed')
      const lines = output.split('\n').filter(line => line.startsWith('{'))
      return { code, output, lines: lines.map(line => JSON.parse(line) as Line) }
    },
    async stored(count) {
      await superuser`delete from secrets.resource_secrets`
      const kept = await keepSecrets(sql, keys, { count, keyId: '2026-a' })
      await sql`update secrets.master_keys set state = 'available', retired_at = null`
      await sql`update secrets.master_keys set state = 'active', activated_at = now() where key_id = '2026-b'`
      return kept
    },
  }
}
