import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import { startPlatform } from '@rap/testkit'
import t from 'tap'
import { Forger, forgeries, type RightPeer, type Shown, type Verdict } from './listeners-certificates.ts'
import { curl, sClient, suiteOf } from './listeners-tools.ts'

// Every listener of a running platform, seen by a stranger with openssl, curl and certificates of all kinds.

const platform = await startPlatform({ workers: 1 })
t.teardown(() => platform.stop())
const forger = new Forger(platform.authority)
t.teardown(() => forger.close())
const workspace = mkdtempSync(join(tmpdir(), 'rap-listeners-'))
t.teardown(() => rmSync(workspace, { recursive: true }))

const ca = platform.authority.certificatePem
const worker = platform.workers[0]!
const portOf = (url = '') => Number(new URL(url).port)
const CERTIFIED = ['-CAfile', platform.caFile, '-verify_return_error', '-verify_hostname', 'localhost']

interface Listener {
  readonly name: string
  readonly port: number
  /** Whether it asks for a certificate. */
  readonly isMutual: boolean
  readonly path: string
  /** What a stranger gets there. */
  readonly status: number
}
const listeners: readonly Listener[] = [
  { name: 'control-plane', port: portOf(platform.apiUrl), isMutual: false, path: '/v1/me', status: 401 },
  { name: 'gateway', port: portOf(platform.gatewayUrl), isMutual: false, path: '/', status: 404 },
  { name: 'rdp-worker', port: portOf(worker.url), isMutual: false, path: '/', status: 404 },
  { name: 'control-plane, internal', port: portOf(platform.internalUrl), isMutual: true, path: '/', status: 0 },
  { name: 'secret-resolver', port: portOf(platform.resolverUrl), isMutual: true, path: '/', status: 0 },
]

interface Route {
  readonly name: string
  readonly url: string
  readonly peer: RightPeer
  /** Sent with POST; GET without it. */
  readonly body?: string
}

/** Connections that say nothing, from the beginning on, and how long each was kept, in milliseconds. */
const silences = listeners.map(async ({ port }) => {
  const socket = connectTcp(port, '127.0.0.1')
  socket.on('error', () => {})
  const begin = performance.now()
  socket.resume()
  await once(socket, 'close')
  return performance.now() - begin
})

/** Routes of the listeners that ask for a certificate, each with the one peer that it is for. */
const routes: readonly Route[] = [
  {
    name: 'control-plane, for the gateway',
    url: `${platform.internalUrl}/internal/v1/workers/directory`,
    peer: { kind: 'service', id: 'gateway' },
  },
  {
    name: 'control-plane, for a worker',
    url: `${platform.internalUrl}/internal/v1/workers/self/attachments`,
    peer: { kind: 'worker', id: worker.id },
    body: '{"attachment_ids":[]}',
  },
  {
    name: 'secret-resolver, for the control plane',
    url: `${platform.resolverUrl}/v1/master-keys`,
    peer: { kind: 'service', id: 'control-plane' },
  },
]

async function verdictOf({ url, body }: Route, shown: Shown | undefined, agent?: Agent): Promise<Verdict> {
  const method = body === undefined ? 'GET' : 'POST'
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  const call = request(url, { method, headers, ca, servername: 'localhost', agent: agent ?? false, ...shown })
  call.end(body)
  try {
    const [answer] = await once(call, 'response')
    let text = ''
    for await (const chunk of answer.setEncoding('utf8')) text += chunk
    if (answer.statusCode === 200) return 'accepted'
    if (answer.statusCode === 403 && JSON.parse(text).code === 'ERR_MTLS_IDENTITY') return 'no identity'
    throw new Error(`neither: ${answer.statusCode} ${text}`)
  } catch (err) {
    const { code = '' } = err as NodeJS.ErrnoException
    // The server's alert, or the connection that it ended; nothing else is a refusal of the certificate.
    if (code.startsWith('ERR_SSL_') || code === 'ECONNRESET' || code === 'EPIPE') return 'no handshake'
    throw err
  }
}

const tried = await forgeries(forger, platform.authority)
for (const route of routes) {
  t.test(`${route.name}: only the right certificate comes in`, async t => {
    for (const { title, expected, make } of tried) {
      t.equal(await verdictOf(route, await make(route.peer)), expected, `${title}: ${expected}`)
    }
  })
}

const versions = ['TLSv1.2', 'TLSv1.3'] as const

/** A connection, and whether the server took up the session of an earlier one. */
async function connect(
  port: number,
  options: tls.ConnectionOptions,
): Promise<{ session: Buffer; isReused: boolean } | undefined> {
  const socket = tls.connect({ host: '127.0.0.1', port, servername: 'localhost', ca, ...options })
  let session: Buffer = Buffer.alloc(0)
  socket.on('session', bytes => {
    session = bytes
  })
  try {
    await once(socket, 'secureConnect')
    // Tickets of TLS 1.3, and a refusal of the certificate, come with the first answer.
    socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
    const isReused = socket.isSessionReused()
    let size = 0
    for await (const chunk of socket) size += chunk.length
    return size === 0 ? undefined : { session, isReused }
  } catch {
    return undefined
  } finally {
    socket.destroy()
  }
}

/** Asks with a certificate that is good for so long, and answers what is needed to go on after its end; nothing where the machine was too slow. */
async function askedInTime(route: Route, protocol: tls.SecureContextOptions, lifeMs: number) {
  const notAfter = new Date(Date.now() + lifeMs)
  const shown = await forger.issued(route.peer, { notAfter })
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ...protocol })
  const verdict = await verdictOf(route, shown, agent)
  const earlier = await connect(portOf(route.url), { ...shown, ...protocol })
  // A certificate tells whole seconds, rounded down.
  if (Date.now() < notAfter.getTime() - 1000) return { notAfter, shown, agent, verdict, earlier }
  agent.destroy()
  return undefined
}

t.test('a certificate that ends while its connection is open is refused from then on', async t => {
  const cases = routes.flatMap(route => versions.map(version => ({ ...route, version })))
  await Promise.all(
    cases.map(async ({ version, ...route }) => {
      const { name, url } = route
      const protocol = { minVersion: version, maxVersion: version }
      let lifeMs = 4000
      let asked = await askedInTime(route, protocol, lifeMs)
      while (asked === undefined) {
        lifeMs *= 2
        asked = await askedInTime(route, protocol, lifeMs)
      }
      const { notAfter, shown, agent, verdict, earlier } = asked
      t.equal(verdict, 'accepted', `${name}, ${version}: while it is valid`)
      t.ok(earlier, `${name}, ${version}: there was an earlier connection`)
      await new Promise(resolve => setTimeout(resolve, notAfter.getTime() - Date.now() + 50))
      t.equal(
        await verdictOf(route, shown, agent),
        'no identity',
        `${name}, ${version}: on the connection that is open`,
      )
      agent.destroy()
      t.equal(await verdictOf(route, shown), 'no handshake', `${name}, ${version}: on a new one`)
      const { session = Buffer.alloc(0) } = earlier ?? {}
      const resumed = await connect(portOf(url), { ...shown, ...protocol, session })
      t.equal(resumed, undefined, `${name}, ${version}: with the session of an earlier one`)
    }),
  )
})

/** Whether the second of two connections of a client goes on with the session of the first. */
async function resumes(port: number, options: tls.ConnectionOptions): Promise<boolean> {
  const first = await connect(port, options)
  const second = await connect(port, { ...options, session: first?.session ?? Buffer.alloc(0) })
  if (first?.isReused !== false || second === undefined) throw new Error('there were no two connections')
  return second.isReused
}

t.test('who asks for a certificate takes up no session, so that each connection shows one', async t => {
  for (const version of versions) {
    const protocol = { minVersion: version, maxVersion: version }
    for (const { name, url, peer } of routes) {
      t.equal(await resumes(portOf(url), { ...(await forger.issued(peer)), ...protocol }), false, `${name}, ${version}`)
    }
    t.equal(await resumes(portOf(platform.apiUrl), protocol), true, `who asks for none may, ${version}`)
  }
})

/** Handshakes of a client that offers one thing; at security level 0 openssl offers what it would not by itself. */
const offers: readonly { title: string; args: string[]; succeeds: boolean }[] = [
  { title: 'TLS 1.3', args: ['-tls1_3'], succeeds: true },
  { title: 'TLS 1.2', args: ['-tls1_2'], succeeds: true },
  { title: 'TLS 1.1', args: ['-tls1_1', '-cipher', 'ALL:COMPLEMENTOFALL:@SECLEVEL=0'], succeeds: false },
  { title: 'TLS 1.0', args: ['-tls1', '-cipher', 'ALL:COMPLEMENTOFALL:@SECLEVEL=0'], succeeds: false },
  ...['CBC', 'NULL', 'aNULL', 'kRSA', 'kDHE', 'PSK', '3DES', 'RC4', 'AESCCM8', 'SHA1'].flatMap(kind => weak(kind)),
]

/** CBC is what is left of a list once authenticated encryption is taken away. */
function weak(kind: string): { title: string; args: string[]; succeeds: boolean }[] {
  const selection = kind === 'CBC' ? 'ALL:-AESGCM:-CHACHA20:-AESCCM' : kind
  return [
    { title: `TLS 1.2, ${kind} alone`, args: ['-tls1_2', '-cipher', `${selection}:@SECLEVEL=0`], succeeds: false },
  ]
}

t.test('a handshake is of TLS 1.2 or newer, with forward secrecy and authenticated encryption', async t => {
  const tryAll = async ({ name, port }: Listener) => {
    for (const { title, args, succeeds } of offers) {
      const ran = await sClient(port, args)
      if (!succeeds && /no cipher match|no ciphers available/.test(ran.output)) {
        t.comment(`${title}: this openssl cannot offer it`)
        continue
      }
      const suite = suiteOf(ran)
      t.equal(suite !== undefined, succeeds, `${name}: ${title}: ${suite ?? 'refused'}`)
      if (suite !== undefined) t.match(suite, /^(TLS_AES|TLS_CHACHA20|ECDHE-.*(GCM|CHACHA20))/)
    }
  }
  await Promise.all(listeners.map(tryAll))
})

t.test('what a listener shows verifies for its name with the platform CA alone', async t => {
  const other = join(workspace, 'other.pem')
  writeFileSync(other, (await forger.other()).certificatePem)
  for (const { name, port } of listeners) {
    const verified = await sClient(port, CERTIFIED)
    t.match(verified.output, /Verify return code: 0 \(ok\)/, name)
    t.match(verified.output, /Server Temp Key: (X25519|ECDH, prime256v1|ECDH, secp)/, `${name}: an ephemeral key`)
    t.notMatch(verified.output, /Max Early Data: [1-9]/, `${name}: no early data, which could be replayed`)
    t.match(verified.output, /Compression: NONE/, `${name}: no compression`)
    const wrongName = await sClient(port, [...CERTIFIED.slice(0, 3), '-verify_hostname', 'evil.example'])
    t.match(wrongName.output, /hostname mismatch/i, `${name}: for another name`)
    const wrongCa = await sClient(port, ['-CAfile', other, '-verify_return_error'])
    t.match(wrongCa.output, /verify error/i, `${name}: with another authority`)
  }
})

t.test('nobody negotiates a second time on one connection', async t => {
  const shown = await forger.issued({ kind: 'service', id: 'gateway' })
  const pem = join(workspace, 'client.pem')
  writeFileSync(pem, shown.cert + shown.key, { mode: 0o600 })
  for (const { name, port, isMutual } of listeners) {
    const own = isMutual ? ['-cert', pem] : []
    const { output } = await sClient(port, ['-tls1_2', ...own], 'R\n')
    t.match(output, /Secure Renegotiation IS supported/, name)
    t.match(output, /RENEGOTIATING\n.*no renegotiation/s, `${name}: it is refused`)
  }
})

t.test('plain HTTP gets no answer, and HTTPS gets the one that a stranger may have', async t => {
  for (const { name, port, isMutual, path, status } of listeners) {
    const plain = await curl([`http://localhost:${port}${path}`])
    t.equal(plain.status, 0, `${name}: plain`)
    t.not(plain.code, 0)
    const secure = await curl(['--cacert', platform.caFile, `https://localhost:${port}${path}`])
    t.equal(secure.status, status, `${name}: https`)
    if (isMutual) t.not(secure.code, 0, `${name}: nothing without a certificate`)
    const untrusted = await curl([`https://localhost:${port}${path}`])
    t.match(untrusted, { code: 60, status: 0 }, `${name}: the system's authorities do not vouch for it`)
    const old = await curl([
      '-k',
      '--tls-max',
      '1.1',
      '--ciphers',
      'ALL:@SECLEVEL=0',
      `https://localhost:${port}${path}`,
    ])
    t.match(old, { code: 35, status: 0 }, `${name}: TLS 1.1`)
  }
})

t.test('with the right certificate curl comes in, and no further than its identity', async t => {
  const sent = (body?: string) => (body === undefined ? [] : ['--json', body])
  for (const { name, url, peer, body } of routes) {
    const { cert, key } = await forger.issued(peer)
    const pem = join(workspace, `${peer.id}.pem`)
    writeFileSync(pem, cert + key, { mode: 0o600 })
    const options = ['--cacert', platform.caFile, '--cert', pem]
    t.equal((await curl([...options, ...sent(body), url])).status, 200, name)
    for (const other of routes.filter(route => route.peer.id !== peer.id)) {
      const { status, output } = await curl([...options, ...sent(other.body), other.url])
      t.equal(status, 403, `${name}: on the route of ${other.peer.id}`)
      t.match(output, /ERR_MTLS_IDENTITY/)
      t.notMatch(output, new RegExp(peer.id), 'and is not told who it was taken for')
    }
  }
})

t.test('a connection that never begins its handshake is closed within seconds', async t => {
  for (const [index, silence] of silences.entries()) {
    const kept = await silence
    t.ok(kept < 20_000, `${listeners[index]?.name}: ${Math.round(kept / 1000)} s`)
  }
})

t.test('bytes that are no TLS close nothing but their own connection', async t => {
  const junk = [
    Buffer.alloc(0),
    Buffer.alloc(5000),
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from([22, 3, 1, 255, 255, 1]),
  ]
  for (const { name, port } of listeners) {
    for (const bytes of junk) {
      const socket = connectTcp(port, '127.0.0.1')
      socket.on('error', () => {})
      await once(socket, 'connect')
      socket.end(bytes)
      const chunks: Buffer[] = []
      socket.on('data', chunk => chunks.push(chunk))
      await once(socket, 'close')
      t.notMatch(Buffer.concat(chunks).toString('latin1'), /HTTP\/1/, `${name}: ${bytes.length} bytes`)
    }
    t.ok(suiteOf(await sClient(port, [])), `${name}: the next one is served`)
  }
})
