import { randomBytes, type X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { createIntermediate, createRoot, identityOfCertificate, openAuthority } from '@rap/pki'
import { type RunningProcess, startProcess, tempDir, waitFor } from '@rap/testkit'
import { firstTrustBundle, nextTrustBundle } from '@rap/trust-bundle'
import t, { type Test } from 'tap'
import { type Stand, startStand } from '../helper.ts'

const stand = await startStand(t)
const TOOL = join(import.meta.dirname, '../../src/cli/main.ts')
const MAIN = join(import.meta.dirname, '../../src/main.ts')

interface Tool {
  readonly dir: string
  readonly env: Record<string, string>
  run(...args: string[]): Promise<{ code: number | null; output: string; line: Record<string, never> }>
}

/** The tool with a database of its own. */
async function startTool(test: Test): Promise<Tool & { at: Stand }> {
  const at = await stand.freshDatabase()
  const dir = tempDir('rap-pki-')
  test.teardown(() => dir.remove())
  const keyFile = join(dir.path, 'wrap.key')
  writeFileSync(keyFile, randomBytes(32).toString('base64'), { mode: 0o600 })
  const env = {
    APP_ENV: 'production',
    RAP_TRUST_DOMAIN: 'rap.test',
    DATABASE_URL: at.url,
    CONTROL_PLANE_SIGNING_KEY_ENCRYPTION_KEY_FILE: keyFile,
  }
  return {
    at,
    dir: dir.path,
    env,
    async run(...args) {
      const running = await startProcess({ name: 'rap-pki', command: process.execPath, args: [TOOL, ...args], env })
      const { code } = await running.exited
      const output = running.log()
      const line = output.split('\n').findLast(text => text.startsWith('{'))
      return { code, output, line: line === undefined ? {} : JSON.parse(line) }
    },
  }
}

t.test('--help says what there is, and a wrong call ends with 2', async t => {
  const tool = await startTool(t)
  const help = await tool.run('--help')
  t.equal(help.code, 0)
  for (const word of ['init', 'import', 'stage', 'activate', 'rollback', 'retire', 'join-token']) {
    t.match(help.output, new RegExp(`^ +${word}\\b`, 'm'))
  }
  t.equal((await tool.run('nonsense')).code, 2)
  t.equal((await tool.run('join-token')).code, 2)
})

t.test('a CA is made, shown and rotated, with a root key in a file under a passphrase', async t => {
  const tool = await startTool(t)
  t.match((await tool.run('status')).line, { managed: false })
  const [key, key2, passphrase] = ['root.key', 'root-2.key', 'passphrase'].map(name => join(tool.dir, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(passphrase, 'a long passphrase\nwith a second line\n')
  const secret = ['--passphrase-file', passphrase]
  const made = await tool.run('init', '--root-key-out', key, ...secret)
  t.match(made.line, { event: 'platform_ca_created', generations: [{ state: 'active', root: { key: 'elsewhere' } }] })
  t.match(readFileSync(key, 'utf8'), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
  t.equal(statSync(key).mode & 0o777, 0o600)
  t.match((await tool.run('init')).line, { code: 'ERR_PLATFORM_CA_EXISTS' })
  const refused = await tool.run('stage')
  t.match(refused, { code: 1, line: { code: 'ERR_PLATFORM_CA_ROOT_KEY_ELSEWHERE' } })
  t.match(refused.output, /hint: .*--root-key-file/)
  t.match((await tool.run('stage', '--root-key-file', key)).line, { code: 'ERR_KEY_FILE' }, 'without its passphrase')
  const staged = await tool.run('stage', '--root-key-file', key, '--root-key-out', key2, ...secret)
  t.match(staged.line, { bundle_ref: 'rap-platform-ca:v2', generations: [{ state: 'active' }, { state: 'staged' }] })
  t.match((await tool.run('activate')).line, { code: 'ERR_PLATFORM_CA_OVERLAP' })
  t.equal((await tool.run('activate', '--force')).code, 0)
  t.equal((await tool.run('retire', '--root-key-file', key2, ...secret)).code, 0)
  const again = await tool.run('stage', '--root-key-file', key2, '--root-key-out', key, ...secret)
  t.match(again.line, { code: 'ERR_KEY_FILE' }, 'a key file is never written over')
  t.match(await tool.at.audit(null), [
    { event: 'platform_ca_created', actor_kind: 'system', actor_id: /^rap-pki:/ },
    { event: 'platform_ca_staged' },
    { event: 'platform_ca_activated', details: { forced: true } },
    { event: 'platform_ca_retired' },
  ])
})

t.test('an existing CA is imported, and one that is no CA for this is refused', async t => {
  const tool = await startTool(t)
  const now = new Date()
  const pem = (der: Buffer) => `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`
  const write = (name: string, text: string) => {
    const path = join(tool.dir, name)
    writeFileSync(path, text)
    return path
  }
  const root = await createRoot({ name: 'Corporate root', days: 100, now })
  const other = await createRoot({ name: 'Other root', days: 100, now })
  const authority = await openAuthority(root.certificatePem, root.privateKey)
  const issuing = await createIntermediate({ root: authority, name: 'RAP issuing', days: 50, now })
  const given = [
    '--root',
    write('root.pem', root.certificatePem),
    '--root-key-file',
    write('root.key', pem(root.privateKey)),
  ]
  const wrongKey = ['--root-key-file', write('other.key', pem(other.privateKey))]
  t.match((await tool.run('import', given[0]!, given[1]!, ...wrongKey)).line, { code: 'ERR_PKI_INVALID_KEY' })
  const foreign = await createIntermediate({
    root: await openAuthority(other.certificatePem, other.privateKey),
    name: 'Foreign',
    days: 50,
    now,
  })
  const intermediate = (made: { certificatePem: string; privateKey: Buffer }, name: string) => [
    '--intermediate',
    write(`${name}.pem`, made.certificatePem),
    '--intermediate-key-file',
    write(`${name}.key`, pem(made.privateKey)),
  ]
  t.equal((await tool.run('import', ...given, ...intermediate(foreign, 'foreign'))).code, 1, 'of another root')
  const imported = await tool.run('import', ...given, ...intermediate(issuing, 'issuing'), '--keep-root-key-out')
  t.match(imported.line, { generations: [{ root: { subject: 'CN=Corporate root', key: 'elsewhere' } }] })
  t.notMatch(imported.output, /PRIVATE KEY/)
  const bundle = join(tool.dir, 'bundle.pem')
  await tool.run('bundle', '--out', bundle)
  t.equal(readFileSync(bundle, 'utf8').trim(), root.certificatePem.trim())
})

t.test('a join token is written to a new file, with labels and names', async t => {
  const tool = await startTool(t)
  t.match((await tool.run('join-token', '--service', 'gateway', '--dns', 'g.example')).line, {
    code: 'ERR_PLATFORM_CA_UNMANAGED',
  })
  await tool.run('init')
  const out = join(tool.dir, 'token')
  const worker = await tool.run(
    ...['join-token', '--worker', 'Worker 1', '--dns', 'worker-1.example', '--ip', '10.0.0.7'],
    ...['--label', 'site=berlin', '--label', 'zone=dmz', '--ttl', '600', '--out', out],
  )
  t.match(worker.line, { kind: 'worker', path: out })
  t.match(readFileSync(out, 'utf8'), /^rapjoin\.[0-9a-f-]{36}\.[\w-]{43}\.[\w-]{43}\n$/)
  t.equal(statSync(out).mode & 0o777, 0o600)
  t.notMatch(worker.output, /rapjoin/)
  const [row] = await tool.at
    .sql`select name, dns_names, ip_addresses, labels from rap.identities where kind = 'worker'`
  t.match(row, { name: 'Worker 1', dns_names: ['worker-1.example'], labels: { site: 'berlin', zone: 'dmz' } })
})

/** The leaf that a listener shows to a peer that holds `ca`, and whether it verifies. */
async function seen(port: number, ca: string): Promise<{ leaf: X509Certificate; authorized: boolean }> {
  return await new Promise((resolve, reject) => {
    const socket = connect({ host: 'localhost', port, servername: 'localhost', ca, rejectUnauthorized: false }, () => {
      resolve({ leaf: socket.getPeerX509Certificate()!, authorized: socket.authorized })
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

async function startControlPlane(tool: Tool): Promise<{ running: RunningProcess; port: number }> {
  const running = await startProcess({
    name: 'control-plane',
    command: process.execPath,
    args: [MAIN],
    env: {
      ...tool.env,
      LOG_LEVEL: 'info',
      REDIS_URL: stand.redisServer.url,
      CONTROL_PLANE_NAMES: 'localhost,127.0.0.1',
      CONTROL_PLANE_HOST: '127.0.0.1',
      CONTROL_PLANE_PORT: '0',
      CONTROL_PLANE_INTERNAL_HOST: '127.0.0.1',
      CONTROL_PLANE_INTERNAL_PORT: '0',
      HEALTH_PORT: '0',
      SECRET_RESOLVER_URL: 'https://localhost:1',
    },
    readyWhen: /service_ready|"level":"?(fatal|60)/,
    readyTimeoutMs: 60_000,
  })
  const [, port] = /"public_url":"https:\/\/127\.0\.0\.1:(\d+)"/.exec(running.log()) ?? []
  return { running, port: Number(port) }
}

t.test('without a CA and without certificates a control plane ends with 78 and says what to do', async t => {
  const tool = await startTool(t)
  const running = await startProcess({
    name: 'control-plane',
    command: process.execPath,
    args: [MAIN],
    env: {
      ...tool.env,
      REDIS_URL: stand.redisServer.url,
      CONTROL_PLANE_NAMES: 'localhost',
      SECRET_RESOLVER_URL: 'https://localhost:1',
    },
  })
  t.equal((await running.exited).code, 78)
  t.match(running.log(), /rap-pki init/)
})

t.test(
  'a running control plane follows a rotation: old and new clients verify it, and open connections stay',
  async t => {
    const tool = await startTool(t)
    const bundleOf = async (name: string) => {
      const out = join(tool.dir, name)
      await tool.run('bundle', '--out', out)
      return readFileSync(out, 'utf8')
    }
    await tool.run('init')
    const v1 = await bundleOf('v1.pem')
    const { running, port } = await startControlPlane(tool)
    t.teardown(() => running.stop())
    const before = await seen(port, v1)
    t.ok(before.authorized)
    t.equal(identityOfCertificate(before.leaf), 'spiffe://rap.test/service/control-plane')

    const { Agent } = await import('node:https')
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: v1 })
    t.teardown(() => agent.destroy())
    const get = (path: string) =>
      new Promise<{ status: number; body: string; reused: boolean }>((resolve, reject) => {
        const outgoing = request({ host: 'localhost', port, path, agent }, incoming => {
          let body = ''
          incoming.on('data', chunk => {
            body += chunk
          })
          incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, body, reused: outgoing.reusedSocket }))
        })
        outgoing.on('error', reject).end()
      })
    let held = await firstTrustBundle(JSON.parse((await get('/v1/trust-bundle')).body).signed)
    await tool.run('stage')
    await tool.run('activate', '--force')
    const v2 = await bundleOf('v2.pem')
    const [, root2 = ''] = v2.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? []
    await waitFor(async () => (await seen(port, root2)).authorized, {
      timeoutMs: 60_000,
      what: 'the certificate of generation 2, which a client that knows the new root alone verifies',
    })
    t.ok((await seen(port, v1)).authorized, 'a client that knows v1 alone')
    t.ok((await seen(port, v2)).authorized, 'a client that has moved on')
    t.not((await seen(port, v1)).leaf.fingerprint256, before.leaf.fingerprint256)
    held = await nextTrustBundle(held, JSON.parse((await get('/v1/trust-bundles/2')).body).signed)
    const { body, reused } = await get('/v1/trust-bundle')
    t.equal(JSON.parse(body).sha256, held.sha256)
    t.ok(reused, 'the connection of before is still the one')

    const leaf2 = (await seen(port, v2)).leaf.fingerprint256
    await tool.run('retire')
    await waitFor(async () => (await seen(port, v2)).leaf.fingerprint256 !== leaf2, { timeoutMs: 60_000, what: 'v3' })
    t.notOk((await seen(port, v1)).authorized, 'the old root vouches for nothing any more')
    t.ok((await seen(port, v2)).authorized)
    t.notOk(existsSync(join(tool.dir, 'identity.pem')), 'its key is in memory alone')
  },
)
