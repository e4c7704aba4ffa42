import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import t from 'tap'
import {
  createCsr,
  createIntermediate,
  createRoot,
  crossSign,
  identityOfCertificate,
  issueFromCsr,
  readCsr,
  type SigningAuthority,
} from '../src/index.ts'
import { after, now, opened } from './helper.ts'

const ID = 'spiffe://rap.internal/service/gateway'

async function identity(issuer: SigningAuthority, chainPem: string) {
  const { csrPem, keyPem } = await createCsr({ commonName: 'gateway' })
  const { certificatePem } = await issueFromCsr({
    issuer,
    chainPem,
    csr: await readCsr(csrPem),
    commonName: 'gateway',
    dnsNames: ['localhost'],
    uris: [ID],
    usages: ['server', 'client'],
    now,
    notAfter: after(1),
  })
  return { cert: certificatePem, key: keyPem }
}

const one = await opened(createRoot({ name: 'Root 1', days: 3650, now }))
const two = await opened(createRoot({ name: 'Root 2', days: 3650, now }))
const below = {
  one: await opened(createIntermediate({ root: one, name: 'Intermediate 1', days: 730, now })),
  two: await opened(createIntermediate({ root: two, name: 'Intermediate 2', days: 730, now })),
}
const cross = await crossSign({ issuer: one, certificatePem: two.certificatePem, now })

/** Certificates of the two generations, and bundles v1 to v3, by who holds them. */
const certificates = {
  old: await identity(below.one, below.one.certificatePem),
  new: await identity(below.two, `${below.two.certificatePem}${cross}`),
}
const bundles = {
  v1: one.certificatePem,
  v2: `${one.certificatePem}${two.certificatePem}`,
  v3: two.certificatePem,
}

interface Side {
  readonly certificate: keyof typeof certificates
  readonly bundle: keyof typeof bundles
}

async function meet(server: Side, client: Side, version: tls.SecureVersion): Promise<string> {
  const options = ({ certificate, bundle }: Side) => ({ ...certificates[certificate], ca: bundles[bundle] })
  const listener = tls.createServer({ ...options(server), requestCert: true, maxVersion: version, minVersion: version })
  listener.on('secureConnection', socket => {
    socket.on('error', () => {})
    socket.end(identityOfCertificate(socket.getPeerX509Certificate()!) ?? 'nobody')
  })
  listener.on('tlsClientError', () => {})
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  const socket = tls.connect({ ...options(client), host: '127.0.0.1', port, servername: 'localhost' })
  try {
    let answer = ''
    for await (const chunk of socket.setEncoding('utf8')) answer += chunk
    return answer === '' ? 'refused' : answer
  } catch {
    return 'refused'
  } finally {
    socket.destroy()
    listener.close()
  }
}

/** Who holds what, in the order of a rotation; `old` knows nothing of the new root yet. */
const stages: Record<string, Side> = {
  'before the rotation': { certificate: 'old', bundle: 'v1' },
  'the new certificate before the new bundle': { certificate: 'new', bundle: 'v1' },
  staged: { certificate: 'old', bundle: 'v2' },
  activated: { certificate: 'new', bundle: 'v2' },
}

t.test('through a rotation every pair of an old and a new peer meets, whichever of them is the server', async t => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const [here, server] of Object.entries(stages)) {
      for (const [there, client] of Object.entries(stages)) {
        t.equal(await meet(server, client, version), ID, `${version}: server ${here}, client ${there}`)
      }
    }
  }
})

t.test('once the old root is retired its certificates are refused on either side', async t => {
  const retired: Side = { certificate: 'new', bundle: 'v3' }
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    t.equal(await meet(retired, { certificate: 'new', bundle: 'v2' }, version), ID)
    t.equal(
      await meet({ certificate: 'new', bundle: 'v1' }, retired, version),
      ID,
      'the cross-certificate still serves',
    )
    t.equal(await meet(retired, { certificate: 'old', bundle: 'v2' }, version), 'refused')
    t.equal(await meet({ certificate: 'old', bundle: 'v2' }, retired, version), 'refused')
  }
})
