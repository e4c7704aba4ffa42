import { randomBytes, randomInt, randomUUID, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { issueCertificate, sha256Fingerprint } from '@rap/pki'
import { type Platform, type RunningProcess, startPlatform, startProcess, tempDir, waitFor } from '@rap/testkit'
import postgres from 'postgres'
import { Peer, type TargetPorts } from '../relay-parts/peer.ts'
import { addTarget } from '../relay-parts/sessions.ts'
import { quantile } from '../resolve-parts/measure.ts'
import { storeSecrets } from './store.ts'

const { values } = parseArgs({
  options: {
    secrets: { type: 'string', default: '100000' },
    runners: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  },
})
const [count, runnerCount] = [Number(values.secrets), Number(values.runners)]
if (
  !(Number.isInteger(count) && count >= 100 && count <= 10_000_000 && [1, 2, 3, 4, 5, 6, 7, 8].includes(runnerCount))
) {
  process.stderr.write(
    'error: --secrets is from 100 to 10000000, --runners from 1 to 8\nhint:  scripts/bench/rewrap --help\n',
  )
  process.exit(2)
}

const TOOL = join(import.meta.dirname, '../../../services/secret-resolver/src/cli/main.ts')
/** Seconds of session starts before the re-wrap, to compare with. */
const QUIET_SECONDS = 8
const say = (step: string): void => void process.stderr.write(`\x1b[2m${step} ...\x1b[0m\n`)

interface Report {
  readonly secrets: number
  readonly runners: number
  readonly seconds: number
  readonly rows_per_second: number
  readonly killed_runners: number
  readonly sessions_before: Starts
  readonly sessions_during: Starts
  readonly failed_resolves: number
  readonly rows_that_do_not_open: number
  readonly rows_lost: number
  readonly old_key_retired: boolean
}

interface Starts {
  readonly started: number
  readonly failed: number
  readonly p50_ms: number
  readonly p99_ms: number
}

const home = tempDir('rap-bench-rewrap-')
const stops: (() => unknown)[] = [() => home.remove()]
let report: Report
try {
  report = await run()
} finally {
  for (const stop of stops.reverse()) await stop()
}
process.stdout.write(`${values.json ? JSON.stringify(report, undefined, 2) : tableOf(report)}\n`)
const isRight =
  report.failed_resolves + report.rows_that_do_not_open + report.rows_lost === 0 &&
  report.sessions_before.failed + report.sessions_during.failed === 0 &&
  report.sessions_during.started > 0 &&
  report.old_key_retired
process.exit(isRight ? 0 : 1)

async function run(): Promise<Report> {
  const [providers, newKey] = [join(home.path, 'key-providers.json'), join(home.path, 'next.key')]
  writeFileSync(newKey, randomBytes(32), { mode: 0o600 })
  writeFileSync(providers, JSON.stringify({ keys: [{ name: 'next', provider: 'file', file: newKey }] }), {
    mode: 0o600,
  })
  const platform = await startPlatform({
    dir: join(home.path, 'platform'),
    gateway: 'none',
    logLevel: 'info',
    env: {
      'secret-resolver': { SECRET_KEY_PROVIDERS_FILE: providers, RESOLVE_LIMIT_PER_WORKER: '1000000' },
      'rdp-worker': { RDP_WORKER_MAX_SESSIONS: '1000' },
      'control-plane': { SESSION_LIMIT_PER_USER: '1000', SESSION_LIMIT_PER_ORGANIZATION: '1000' },
    },
    onProgress: say,
  })
  stops.push(() => platform.stop())
  const starter = await sessionStarter(platform)
  const keyFile = join(home.path, 'platform', 'secret-encryption.key')
  const sql = postgres(platform.databaseUrls.secretResolver, { max: 2 })
  stops.push(() => sql.end({ timeout: 1 }))

  say(`${count} secrets`)
  await storeSecrets(sql, { count, keyId: 'local-1', keyFile }, () => {})
  const [before] = await sql`select count(*)::int as count from secrets.resource_secrets where destroyed_at is null`

  say('sessions start, and nothing else happens')
  const quiet = startSessions(platform, starter)
  await delay(QUIET_SECONDS * 1000)
  const sessionsBefore = await quiet.stop()

  say('sessions start, and everything is wrapped again')
  const busy = startSessions(platform, starter)
  await platform.api.call('POST', '/v1/master-keys/rotate', { body: { source: 'next' } })
  const env = {
    DATABASE_URL: platform.databaseUrls.secretResolver,
    SECRET_ENCRYPTION_KEY_FILE: keyFile,
    SECRET_ENCRYPTION_KEY_ID: 'local-1',
    SECRET_KEY_PROVIDERS_FILE: providers,
  }
  const tool = (...args: string[]) => startProcess({ command: process.execPath, args: [TOOL, ...args], env })
  const startedAt = performance.now()
  const runners = await Promise.all(Array.from({ length: runnerCount }, () => tool('rewrap')))
  await killOne(runners)
  const last = await finished(await tool('rewrap'))
  const codes = await Promise.all(runners.slice(1).map(async runner => (await finished(runner)).code))
  const seconds = (performance.now() - startedAt) / 1000
  if (last.code !== 0 || codes.some(code => code !== 0)) throw new Error(`a runner failed:\n${last.output}`)
  const sessionsDuring = await busy.stop()

  say('every row is verified, and the old key is retired')
  const verified = await finished(await tool('verify'))
  const { checked, failures } = JSON.parse(verified.output.trim().split('\n').at(-1) ?? '{}')
  const [after] = await sql`select count(*)::int as count from secrets.resource_secrets where destroyed_at is null`
  const [denied] = await postgresCount(platform, 'resource_secret_access_denied')
  const retired = await platform.api.send('POST', '/v1/master-keys/local-1/retire')
  if (typeof checked !== 'number') throw new Error(verified.output)
  return {
    secrets: count,
    runners: runnerCount,
    seconds: round(seconds),
    rows_per_second: round(count / seconds),
    killed_runners: 1,
    sessions_before: sessionsBefore,
    sessions_during: sessionsDuring,
    failed_resolves: denied?.count,
    rows_that_do_not_open: failures.length,
    rows_lost: before?.count - after?.count,
    old_key_retired: retired.status === 200,
  }
}

async function sessionStarter(platform: Platform): Promise<{ start(): Promise<string> }> {
  const target = new Peer(join(import.meta.dirname, '../relay-parts/target.ts'))
  stops.push(() => target.stop())
  const { certificatePem, keyPem } = await issueCertificate({
    authority: platform.authority,
    commonName: 'bench target',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    usages: ['server'],
    now: new Date(),
  })
  const ports = await target.order<TargetPorts>({ do: 'listen', cert: certificatePem, key: keyPem, frameBytes: 1000 })
  const pin = sha256Fingerprint(new X509Certificate(certificatePem).raw)
  const resourceId = await addTarget(platform, ports.worker, pin)
  return {
    start: async () => {
      const body = { resource_id: resourceId, dpop_jkt: randomBytes(32).toString('base64url') }
      const { session } = await platform.api.call<{ session: { id: string } }>('POST', '/v1/sessions', {
        body,
        headers: { 'idempotency-key': randomUUID() },
      })
      return session.id
    },
  }
}

/** Starts one session after the other, waits until each has its desktop ready, and ends it. */
function startSessions(platform: Platform, starter: { start(): Promise<string> }) {
  const times: number[] = []
  let failed = 0
  let isStopping = false
  const one = async () => {
    const startedAt = performance.now()
    const id = await starter.start()
    const state = async () => (await platform.api.call<{ state: string }>('GET', `/v1/sessions/${id}`)).state
    let now = await state()
    while (now === 'assigning') {
      await delay(10)
      now = await state()
    }
    if (now === 'ready' || now === 'active') times.push(performance.now() - startedAt)
    else failed++
    await platform.api.send('POST', `/v1/sessions/${id}/terminate`)
  }
  const running = (async () => {
    while (!isStopping) await one().catch(() => failed++)
  })()
  return {
    stop: async (): Promise<Starts> => {
      isStopping = true
      await running
      const sorted = Float64Array.from(times).sort()
      const at = (part: number) => round(quantile(sorted, part))
      return { started: times.length, failed, p50_ms: at(0.5), p99_ms: at(0.99) }
    },
  }
}

async function killOne(runners: readonly RunningProcess[]): Promise<void> {
  const [victim] = runners
  if (victim === undefined) return
  await waitFor(() => victim.log().includes('rewrap_progress'), { what: 'progress', timeoutMs: 60_000 })
  await delay(randomInt(500, 2000))
  victim.kill('SIGKILL')
  await victim.exited
}

async function finished(running: RunningProcess): Promise<{ code: number | null; output: string }> {
  const { code } = await running.exited
  return { code, output: running.log() }
}

async function postgresCount(platform: Platform, event: string) {
  const sql = postgres(platform.databaseUrls.superuser, { max: 1 })
  try {
    return await sql`select count(*)::int as count from rap.audit_events where event = ${event}`
  } finally {
    await sql.end()
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function tableOf(r: Report): string {
  const starts = ({ started, failed, p50_ms, p99_ms }: Starts) =>
    `${started} started, ${failed} failed, p50 ${p50_ms} ms, p99 ${p99_ms} ms`
  return [
    `${r.secrets} secrets wrapped again in ${r.seconds} s by ${r.runners} runners, one of them killed: ${r.rows_per_second} rows a second`,
    `sessions before     ${starts(r.sessions_before)}`,
    `sessions meanwhile  ${starts(r.sessions_during)}`,
    `refused resolves    ${r.failed_resolves}`,
    `rows lost           ${r.rows_lost}`,
    `rows that do not open  ${r.rows_that_do_not_open}`,
    `old key retired     ${r.old_key_retired ? 'yes' : 'NO'}`,
  ].join('\n')
}
