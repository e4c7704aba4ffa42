import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { createRapClient } from '@rap/client-sdk'
import {
  findSecret,
  newCanary,
  startKms,
  startPlatform,
  startProcess,
  startShadow,
  startSoftHsm,
  startTransit,
  targetOf,
  tempDir,
  waitFor,
} from '@rap/testkit'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import t, { type Test } from 'tap'

// One platform, four places of keys at once, and one password that none of them may ever see.
const TOOL = join(import.meta.dirname, '../services/secret-resolver/src/cli/main.ts')
const canary = newCanary()
const scratch = tempDir('rap-e2e-keys-')
const dir = scratch.path
const file = (name: string, content: string): string => {
  const path = join(dir, name)
  writeFileSync(path, content, { mode: 0o600 })
  return path
}

const [shadow, transit, kms, hsm] = await Promise.all([
  startShadow({ username: 'svc', password: canary, security: 'nla' }),
  startTransit(),
  startKms({ tls: true }),
  startSoftHsm(),
])
t.teardown(() => Promise.all([shadow.stop(), transit.stop(), kms.stop()]))
t.teardown(() => hsm.remove())
const token = await hsm.addToken('rap')
await enableTransit()

const providers = file(
  'key-providers.json',
  JSON.stringify({
    keys: [
      {
        name: 'vault-main',
        provider: 'vault',
        address: transit.address,
        key: 'rap-secrets',
        ca_file: file('vault-ca.pem', transit.caPem),
        auth: { method: 'token', token_file: file('vault-token', transit.rootToken) },
      },
      {
        name: 'hsm-1',
        provider: 'pkcs11',
        module: hsm.module,
        token_label: token.label,
        key_label: 'rap-1',
        pin_file: token.pinFile,
      },
      { name: 'kms-1', provider: 'aws-kms', key_arn: kms.createKey(), endpoint: kms.endpoint },
    ],
  }),
)
const keyEnv = {
  SECRET_KEY_PROVIDERS_FILE: providers,
  NODE_EXTRA_CA_CERTS: file('kms-ca.pem', kms.caPem),
  ...hsm.env,
  ...kms.env,
}
const platformDir = join(dir, 'platform')
const target = (name: string) =>
  targetOf(shadow, { name, credential: { username: 'svc', password: canary }, security: 'nla' })
const platform = await startPlatform({
  dir: platformDir,
  gateway: 'none',
  targets: [target('under local-1')],
  env: { 'secret-resolver': keyEnv },
})
// Its logs are in the folder until it has stopped.
t.teardown(async () => {
  await platform.stop()
  scratch.remove()
})
const sql = postgres(platform.databaseUrls.superuser, { max: 2 })
t.teardown(() => sql.end())
const rap = createRapClient({ baseUrl: platform.apiUrl, trust: { caPem: readFileSync(platform.caFile, 'utf8') } })
await rap.login(platform.admin)
const resources = [platform.resources[0]?.id ?? '']
/** Everything that `rap-secrets` printed. */
const printed: string[] = []

async function enableTransit(): Promise<void> {
  const headers = { 'x-vault-token': transit.rootToken, 'x-vault-request': 'true' }
  const enable = request(`${transit.address}/v1/sys/mounts/transit`, { method: 'POST', ca: transit.caPem, headers })
  enable.end(JSON.stringify({ type: 'transit' }))
  const [{ statusCode }] = (await once(enable, 'response')) as [IncomingMessage]
  if (statusCode !== 204) throw new Error(`Transit was not enabled: ${statusCode}`)
}

async function tool(...args: string[]): Promise<{ code: number | null; last: Record<string, unknown> }> {
  const env = {
    ...keyEnv,
    DATABASE_URL: platform.databaseUrls.secretResolver,
    SECRET_ENCRYPTION_KEY_FILE: join(platformDir, 'secret-encryption.key'),
    SECRET_ENCRYPTION_KEY_ID: 'local-1',
  }
  const running = await startProcess({ command: process.execPath, args: [TOOL, ...args], env })
  const { code } = await running.exited
  printed.push(running.log())
  const lines = running.log().split('\n')
  return { code, last: JSON.parse(lines.filter(line => line.startsWith('{')).at(-1) ?? '{}') }
}

/** Logs on to the target with each resource's secret. */
async function signInEverywhere(): Promise<void> {
  for (const resourceId of resources) {
    const session = await rap.sessions.start({ resourceId })
    await rap.sessions.terminate(session.id)
  }
}

async function keysOfRows(): Promise<string[]> {
  const rows = await sql<{ key_id: string }[]>`
    select distinct key_id from secrets.resource_secrets where destroyed_at is null order by key_id`
  return rows.map(({ key_id }) => key_id)
}

async function isClean(t: Test): Promise<void> {
  const redis = new Redis(platform.redisUrl)
  const keys = await redis.keys('*')
  const values = await Promise.all(keys.map(async key => (await redis.dump(key).catch(() => null))?.toString() ?? ''))
  redis.disconnect()
  const places: Record<string, string | Buffer> = {
    database: await platform.dumpDatabase(),
    logs: platform.logs(),
    Redis: JSON.stringify([keys, values]),
    'rap-secrets': printed.join('\n'),
    Vault: transit.requests.map(({ path, body }) => `${path}\n${body}`).join('\n'),
    KMS: kms.requests.map(({ raw }) => raw).join('\n'),
    HSM: Buffer.concat(
      readdirSync(hsm.tokenDir, { recursive: true, withFileTypes: true })
        .filter(entry => entry.isFile())
        .map(entry => readFileSync(join(entry.parentPath, entry.name))),
    ),
  }
  for (const [place, content] of Object.entries(places)) {
    t.ok(content.length > 0, `there is something to search in: ${place}`)
    t.same(findSecret(content, canary), [], `the password is not in: ${place}`)
    if (place !== 'HSM') t.notOk(content.includes(token.pin), `the PIN is not in: ${place}`)
    if (place !== 'KMS') t.notOk(content.includes(kms.credentials.secretAccessKey), `no AWS secret in: ${place}`)
    t.notOk(content.includes(transit.rootToken), `no Vault token in: ${place}`)
  }
}

/** Over the API; a running resolver tries its sources again by itself, so a key that was just made is waited for. */
async function rotate(t: Test, source: string, keyId: string): Promise<void> {
  const answer = await waitFor(
    async () => {
      const { status, body } = await platform.api.send<{ code?: string; active_key_id?: string }>(
        'POST',
        '/v1/master-keys/rotate',
        { body: { source } },
      )
      return body.code === 'ERR_MASTER_KEY_NOT_EVERYWHERE' ? undefined : { status, body }
    },
    { what: `the resolver to have ${source}`, timeoutMs: 40_000 },
  )
  t.match(answer, { status: 200, body: { active_key_id: keyId } })
}

t.test('secrets are written under a key of every kind, and all of them open at once', async t => {
  t.match(await tool('create-key', 'vault-main'), { code: 0, last: { key_id: 'vault-main:v1' } })
  t.match(await tool('create-key', 'hsm-1'), { code: 0, last: { key_id: 'hsm-1' } })
  for (const [source, keyId] of [
    ['hsm-1', 'hsm-1'],
    ['kms-1', 'kms-1'],
    ['vault-main', 'vault-main:v1'],
  ] as const) {
    await rotate(t, source, keyId)
    resources.push((await platform.addTarget(target(`under ${keyId}`))).id)
  }
  await signInEverywhere()
  t.same(await keysOfRows(), ['hsm-1', 'kms-1', 'local-1', 'vault-main:v1'])
  await isClean(t)
})

t.test('a vault that is sealed stops the start of a session, spends nothing, and is told by name', async t => {
  const underVault = resources.at(-1) ?? ''
  transit.seal()
  await t.rejects(rap.sessions.start({ resourceId: underVault }))
  const { keys } = (await tool('keys')).last as { keys: { key_id: string; opens: boolean }[] }
  t.same(
    keys.filter(({ opens }) => !opens).map(({ key_id }) => key_id),
    ['vault-main:v1'],
  )
  const told = /"source":"vault-main".*"reason":"sealed".*"code":"ERR_KEY_UNAVAILABLE"/
  await waitFor(() => told.test(platform.secretResolver.log()), { what: 'the reason in the log' })
  transit.unseal()
  const session = await rap.sessions.start({ resourceId: underVault })
  await rap.sessions.terminate(session.id)
})

t.test('everything is wrapped again under a new version in the vault, and every older key is retired', async t => {
  await rotate(t, 'vault-main', 'vault-main:v2')
  const before = transit.requests.length
  t.match(await tool('rewrap'), { code: 0, last: { event: 'rewrap_finished', to_key_id: 'vault-main:v2', failed: 0 } })
  t.same(await keysOfRows(), ['vault-main:v2'])
  const paths = transit.requests.slice(before).map(({ path }) => path.split('?')[0])
  t.ok(paths.includes('transit/rewrap/rap-secrets'), 'from one version to the next inside the vault')
  for (const keyId of ['local-1', 'vault-main:v1', 'hsm-1', 'kms-1']) {
    const { status } = await platform.api.send('POST', `/v1/master-keys/${keyId}/retire`)
    t.equal(status, 200, keyId)
  }
  t.match(await tool('verify'), { code: 0, last: { checked: 5, failures: [] } })
  await signInEverywhere()
  await isClean(t)
})
