import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { loadTlsFiles, watchTlsFiles } from '../src/index.ts'
import { build, capturedLog, listen, platform, silentLogger } from './helper.ts'

async function handshake(t: Test, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ servername: 'localhost', host: '127.0.0.1', ...options })
  t.teardown(() => socket.destroy())
  // A TLS 1.3 client may hear of a refusal after its handshake.
  socket.on('error', () => {})
  await once(socket, 'secureConnect')
  return socket
}

/** The first bytes of the answer to a request, or nothing when the server closes the connection. */
function answerOf(socket: TLSSocket): Promise<string> {
  socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n')
  return new Promise(resolve => {
    socket.once('data', data => resolve(String(data)))
    socket.once('close', () => resolve(''))
    if (socket.destroyed) resolve('')
  })
}

t.test('TLS 1.3 is chosen, TLS 1.2 with forward secrecy is possible, anything older or weaker is refused', async t => {
  const { issue, caPem: ca } = await platform()
  const app = await build(t, { tls: await issue('service/control-plane') })
  const { port } = await listen(app)
  t.equal((await handshake(t, { port, ca })).getProtocol(), 'TLSv1.3')
  const older = await handshake(t, { port, ca, maxVersion: 'TLSv1.2' })
  t.equal(older.getProtocol(), 'TLSv1.2')
  t.match(older.getCipher().name, /^ECDHE-.*(GCM|CHACHA20)/)
  const legacy = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const
  await t.rejects(handshake(t, { port, ca, ...legacy }))
  for (const ciphers of ['ECDHE-ECDSA-AES128-SHA256', 'AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-SHA']) {
    await t.rejects(handshake(t, { port, ca, maxVersion: 'TLSv1.2', ciphers }), ciphers)
  }
})

t.test('a server with TLS asks browsers to keep to it', async t => {
  const { issue } = await platform()
  const app = await build(t, { tls: await issue('service/control-plane') })
  const hstsFor = async (host: string) =>
    (await app.inject({ url: '/healthz', headers: { host } })).headers['strict-transport-security']
  t.match(await hstsFor('rap.example.com'), /^max-age=\d+/)
  for (const host of ['localhost', 'localhost:8443', '127.0.0.1:8443', '[::1]:8443']) {
    t.equal(await hstsFor(host), undefined, `${host} has other servers on other ports`)
  }
})

t.test('new connections get a reloaded certificate, and open ones go on', async t => {
  const { issue, caPem: ca } = await platform()
  const app = await build(t, { tls: await issue('service/control-plane', { dnsNames: ['localhost', 'old.test'] }) })
  const { port } = await listen(app)
  const names = (socket: TLSSocket) => socket.getPeerX509Certificate()?.subjectAltName
  const before = await handshake(t, { port, ca })
  t.match(names(before), /old\.test/)
  const next = await issue('service/control-plane', { dnsNames: ['localhost', 'new.test'] })
  app.setTls({ cert: next.cert, key: next.key })
  t.match(names(await handshake(t, { port, ca })), /new\.test/)

  t.match(await answerOf(before), /^HTTP\/1\.1 200 /)
  t.throws(() => app.setTls({ cert: 'no certificate', key: next.key }))
  t.match(names(await handshake(t, { port, ca })), /new\.test/, 'wrong material changes nothing')
})

t.test('a reload keeps the demand for a client certificate', async t => {
  const { issue, caPem: ca } = await platform()
  const material = await issue('service/secret-resolver')
  const app = await build(t, { tls: { ...material, requireClientCertificate: true } })
  const { port } = await listen(app)
  app.setTls({ cert: material.cert, key: material.key })
  t.equal(await answerOf(await handshake(t, { port, ca })), '')
  await t.rejects(handshake(t, { port, ca, maxVersion: 'TLSv1.2' }))
})

t.test('a reload without a trust bundle keeps the one in force, and there is never none', async t => {
  const { issue, caPem: ca } = await platform()
  const other = await platform()
  const material = await issue('service/secret-resolver')
  const app = await build(t, { tls: { ...material, requireClientCertificate: true } })
  const { port } = await listen(app)
  const isWelcome = async (client: { cert: string; key: string | Buffer }) => {
    return (await answerOf(await handshake(t, { port, ca, cert: client.cert, key: client.key }))) !== ''
  }
  const [ours, theirs] = [await issue('worker/w-1'), await other.issue('worker/w-1')]
  t.same([await isWelcome(ours), await isWelcome(theirs)], [true, false])
  app.setTls({ cert: material.cert, key: material.key, ca: `${ca}${other.caPem}` })
  t.same([await isWelcome(ours), await isWelcome(theirs)], [true, true], 'bundles overlap on a rotation')
  app.setTls({ cert: material.cert, key: material.key, ca: undefined })
  t.same([await isWelcome(ours), await isWelcome(theirs)], [true, true])
  const { cert, key } = material
  await t.rejects(build(t, { tls: { cert, key, requireClientCertificate: true } }), TypeError)
})

t.test('a server that reads client certificates resumes no session', async t => {
  const { issue, caPem: ca } = await platform()
  const app = await build(t, { tls: { ...(await issue('service/secret-resolver')), requireClientCertificate: true } })
  const { port } = await listen(app)
  const { cert, key } = await issue('worker/w-1')
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = await handshake(t, { port, ca, cert, key, maxVersion })
    const sessions: Buffer[] = []
    first.on('session', session => sessions.push(session))
    t.match(await answerOf(first), /^HTTP\/1\.1 200 /)
    const session = sessions.at(-1) ?? first.getSession()
    const again = await handshake(t, { port, ca, maxVersion, ...(session && { session }) }).catch(() => undefined)
    t.notOk(again?.isSessionReused(), maxVersion)
  }
})

t.test('a server without TLS has no certificate to change', async t => {
  const app = await build(t)
  t.throws(() => app.setTls({ cert: '', key: '' }), TypeError)
})

async function tlsDirectory(t: Test) {
  const authority = await platform()
  const material = await authority.issue('service/gateway')
  const directory = t.testdir({ 'cert.pem': material.cert, 'key.pem': String(material.key), 'ca.pem': material.ca })
  const files = {
    certFile: join(directory, 'cert.pem'),
    keyFile: join(directory, 'key.pem'),
    caFile: join(directory, 'ca.pem'),
  }
  return { authority, files, material }
}

t.test('TLS files are checked before they are used', async t => {
  const { authority, files, material } = await tlsDirectory(t)
  const loaded = await loadTlsFiles(files)
  t.equal(String(loaded.cert), material.cert)
  t.equal(String(loaded.ca), material.ca)
  t.notOk('ca' in (await loadTlsFiles({ certFile: files.certFile, keyFile: files.keyFile })))

  const refused = (changes: Partial<typeof files>, code: string) =>
    t.rejects(loadTlsFiles({ ...files, ...changes }), { code })
  await refused({ certFile: `${files.certFile}.none` }, 'ERR_TLS_FILE_UNREADABLE')
  await refused({ certFile: files.keyFile }, 'ERR_TLS_FILE_INVALID')
  await refused({ keyFile: files.certFile }, 'ERR_TLS_FILE_INVALID')
  await refused({ caFile: files.keyFile }, 'ERR_TLS_FILE_INVALID')
  await writeFile(files.keyFile, String((await authority.issue('service/gateway')).key))
  await refused({}, 'ERR_TLS_KEY_MISMATCH')
  await writeFile(files.certFile, Buffer.alloc(1024 * 1024 + 1, 0x41))
  await refused({}, 'ERR_TLS_FILE_TOO_LARGE')
})

t.test('no TLS file error holds key material', async t => {
  const { files } = await tlsDirectory(t)
  const pem = await readFile(files.keyFile, 'utf8')
  await writeFile(files.keyFile, pem.replace(/.{3}\n(?=-----END)/, '!!!\n'))
  const error = await loadTlsFiles(files).catch((error: unknown) => error)
  t.match(error, { code: 'ERR_TLS_FILE_INVALID' })
  t.equal((error as Error).cause, undefined)
})

t.test(
  'a watch hands over changed files once, skips a half-written pair and survives an owner that throws',
  async t => {
    const { authority, files, material } = await tlsDirectory(t)
    const log = capturedLog()
    const seen: string[] = []
    let isRefusing = false
    const watch = await watchTlsFiles({
      ...files,
      logger: log.logger,
      intervalMs: 3_600_000,
      onChange: next => {
        if (isRefusing) throw new Error('not now')
        seen.push(String(next.cert))
      },
    })
    t.teardown(() => watch.close())
    t.equal(String(watch.material.cert), material.cert)
    await watch.check()
    t.same(seen, [], 'nothing changed')

    const next = await authority.issue('service/gateway')
    await writeFile(files.certFile, next.cert)
    await watch.check()
    await watch.check()
    t.same(seen, [], 'the key does not belong to the certificate yet')
    t.equal(log.lines().filter(line => line.event === 'tls_files_not_reloaded').length, 1, 'one trouble is logged once')

    await writeFile(files.keyFile, String(next.key))
    isRefusing = true
    await watch.check()
    isRefusing = false
    await watch.check()
    await watch.check()
    t.same(seen, [next.cert])
  },
)

t.test('a watch looks by itself and stops when it is closed', async t => {
  const { authority, files } = await tlsDirectory(t)
  let resolveChange = () => {}
  const changed = new Promise<void>(resolve => {
    resolveChange = resolve
  })
  const watch = await watchTlsFiles({ ...files, logger: silentLogger, intervalMs: 10, onChange: () => resolveChange() })
  t.teardown(() => watch.close())
  const next = await authority.issue('service/gateway')
  await Promise.all([writeFile(files.certFile, next.cert), writeFile(files.keyFile, String(next.key))])
  const keepAlive = setInterval(() => {}, 1000)
  await changed
  clearInterval(keepAlive)
  t.pass('changed')
})
