import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import { createAuthority } from '@rap/pki'
import { internalAgent } from '@rap/service-kit'
import { TRUST_DOMAIN } from '@rap/testkit'
import t from 'tap'
import { Forger, forgeries, type RightPeer } from './listeners-certificates.ts'

// The other side of a listener: somebody stands at the address of an internal service, with certificates of all kinds.

const authority = await createAuthority({ name: 'RAP platform CA', days: 30, now: new Date() })
const forger = new Forger(authority)
t.teardown(() => forger.close())
const client = await forger.issued({ kind: 'service', id: 'gateway' })
const RIGHT: RightPeer = { kind: 'service', id: 'control-plane' }

/** What a service that means `RIGHT` says to whoever shows this, and whether it takes the answer. */
async function dial(shown: { cert: string; key: string }, options: tls.TlsOptions = {}) {
  const heard: Buffer[] = []
  const server = tls.createServer({ ...shown, ...options }, socket => {
    socket.on('error', () => {})
    socket.on('data', bytes => {
      heard.push(bytes)
      socket.end('HTTP/1.1 204 No Content\r\n\r\n')
    })
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const agent = internalAgent({
    cert: client.cert,
    key: client.key,
    ca: authority.certificatePem,
    trustDomain: TRUST_DOMAIN,
    expectedIdentity: `${RIGHT.kind}/${RIGHT.id}`,
  })
  const origin = `https://localhost:${(server.address() as AddressInfo).port}`
  try {
    const { statusCode, body } = await agent.request({ origin, path: '/', method: 'GET' })
    await body.dump()
    return { isAnswered: statusCode === 204, heard: Buffer.concat(heard).length > 0 }
  } catch {
    return { isAnswered: false, heard: Buffer.concat(heard).length > 0 }
  } finally {
    await agent.destroy()
    server.close()
  }
}

t.test('a service says a word to nobody but the service that it means', async t => {
  for (const { title, expected, make } of await forgeries(forger, authority, 'server')) {
    const isWelcome = expected === 'accepted'
    const shown = await make(RIGHT)
    if (shown === undefined) throw new Error('a server shows something')
    t.same(
      await dial(shown),
      { isAnswered: isWelcome, heard: isWelcome },
      `${title}: ${isWelcome ? 'an answer' : 'no word'}`,
    )
  }
})

t.test('a service speaks TLS 1.2 or newer, with forward secrecy and authenticated encryption', async t => {
  const shown = await forger.issued(RIGHT)
  const offers: [string, tls.TlsOptions, boolean][] = [
    ['TLS 1.3', { minVersion: 'TLSv1.3' }, true],
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }, true],
    ['TLS 1.1', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }, false],
    ['TLS 1.2 with CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA' }, false],
    ['TLS 1.2 without authentication', { maxVersion: 'TLSv1.2', ciphers: 'aNULL:@SECLEVEL=0' }, false],
  ]
  for (const [title, options, isWelcome] of offers) {
    t.same(await dial(shown, options), { isAnswered: isWelcome, heard: isWelcome }, title)
  }
})
