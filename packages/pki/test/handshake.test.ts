import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import { type Authority, createAuthority, identityOfCertificate, issueCertificate } from '../src/index.ts'

const now = new Date()
const DAY_MS = 86_400_000
const daysAgo = (days: number) => new Date(now.getTime() - days * DAY_MS)
const authority = await createAuthority({ name: 'Platform CA', days: 365, now: daysAgo(10) })
const stranger = await createAuthority({ name: 'Platform CA', days: 365, now: daysAgo(10) })

const issueServer = (from: Authority, more: object = {}) =>
  issueCertificate({ authority: from, commonName: 'server', dnsNames: ['localhost'], usages: ['server'], now, ...more })
const issueClient = (from: Authority, more: object = {}) =>
  issueCertificate({
    authority: from,
    commonName: 'client',
    uris: ['spiffe://rap.internal/service/gateway'],
    usages: ['client'],
    now,
    ...more,
  })

interface Certificate {
  readonly certificatePem: string
  readonly keyPem: string
}

/** One mutual-TLS handshake over a socket: the identity that the server saw, or the error code of who refused. */
async function handshake(server: Certificate, client: Certificate, servername = 'localhost'): Promise<string> {
  const listener = tls.createServer({
    cert: server.certificatePem,
    key: server.keyPem,
    ca: authority.certificatePem,
    requestCert: true,
    // The verdict is told in place of a bare reset; a real server leaves this on.
    rejectUnauthorized: false,
  })
  listener.on('secureConnection', socket => {
    const peer = socket.getPeerX509Certificate()
    socket.on('error', () => {})
    const identity = peer === undefined ? 'nobody' : (identityOfCertificate(peer) ?? 'no identity')
    socket.end(socket.authorized ? identity : String(socket.authorizationError))
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const socket = tls.connect({
    host: '127.0.0.1',
    port: (listener.address() as AddressInfo).port,
    servername,
    cert: client.certificatePem,
    key: client.keyPem,
    ca: authority.certificatePem,
  })
  try {
    let answer = ''
    for await (const chunk of socket.setEncoding('utf8')) answer += chunk
    return answer
  } catch (err) {
    return (err as NodeJS.ErrnoException).code ?? 'unknown'
  } finally {
    socket.destroy()
    listener.close()
  }
}

t.test('two platform certificates meet, and the server reads the identity of the client', async t => {
  const identity = 'spiffe://rap.internal/service/gateway'
  t.equal(await handshake(await issueServer(authority), await issueClient(authority)), identity)
  const rsa = await issueServer(authority, { keyType: 'rsa' })
  t.equal(await handshake(rsa, await issueClient(authority, { keyType: 'rsa' })), identity)
})

t.test(
  'a client refuses a server with another name, an ended validity, another authority or no serverAuth',
  async t => {
    const client = await issueClient(authority)
    t.equal(await handshake(await issueServer(authority), client, 'other.example'), 'ERR_TLS_CERT_ALTNAME_INVALID')
    const expired = await issueServer(authority, { now: daysAgo(5), notAfter: daysAgo(1) })
    t.equal(await handshake(expired, client), 'CERT_HAS_EXPIRED')
    t.equal(await handshake(await issueServer(stranger), client), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    t.equal(await handshake(await issueServer(authority, { usages: ['client'] }), client), 'INVALID_PURPOSE')
  },
)

t.test('a server refuses a client with an ended validity, another authority or no clientAuth', async t => {
  const server = await issueServer(authority)
  const expired = await issueClient(authority, { now: daysAgo(5), notAfter: daysAgo(1) })
  t.equal(await handshake(server, expired), 'CERT_HAS_EXPIRED')
  t.equal(await handshake(server, await issueClient(stranger)), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')
  t.equal(await handshake(server, await issueClient(authority, { usages: ['server'] })), 'INVALID_PURPOSE')
})
