import { createHash, X509Certificate } from 'node:crypto'
import { createServer, rootCertificates, setDefaultCACertificates } from 'node:tls'
import { issueCertificate } from '@rap/pki'
import { PROTOCOL } from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import t from 'tap'
import {
  authority,
  certificate,
  confirm,
  open,
  startTarget,
  startTlsTarget,
  type Target,
  type TargetOfAssignment,
  type Teardown,
} from './server.ts'

const ca = await authority()
const good = await certificate({ authority: ca })
const expired = await certificate({ expired: true })
const stranger = await certificate()
const otherName = await certificate({ authority: ca, dnsNames: ['other.example'], ipAddresses: ['192.0.2.1'] })

function pinOf(pem: string): string {
  return createHash('sha256').update(new X509Certificate(pem).raw).digest('hex')
}

type Mode = TargetOfAssignment['certificate_verification_mode']

async function openWith(
  t: Teardown,
  target: Target,
  mode: Mode,
  changes: { pins?: readonly string[]; production?: boolean; host?: string } = {},
) {
  return await open(
    t,
    {
      address: `${changes.host ?? '127.0.0.1'}:${target.port}`,
      certificate_verification_mode: mode,
      ...(changes.pins && { certificate_pins: [...changes.pins] }),
    },
    {
      platformCa: ca.certificatePem,
      lookupAll: async () => ['127.0.0.1'],
      production: changes.production ?? true,
      credentials: { username: 'canary-user', domain: 'canary-domain', password: Buffer.from('canary', 'utf16le') },
    },
  )
}

t.test('a certificate that the mode trusts is accepted', async t => {
  for (const [name, mode, changes] of [
    ['platform_ca by address', 'platform_ca', {}],
    ['platform_ca by name', 'platform_ca', { host: 'localhost' }],
    ['platform_ca by a name with its root dot', 'platform_ca', { host: 'localhost.' }],
    ['pinned', 'pinned', { pins: [pinOf(good.certificatePem)] }],
    ['pinned, the next one beside it', 'pinned', { pins: ['00'.repeat(32), pinOf(good.certificatePem)] }],
    ['insecure outside production', 'insecure', { production: false }],
  ] as const) {
    const target = await startTlsTarget(t, good)
    const warm = await openWith(t, target, mode, changes)
    t.equal(warm.selectedProtocol, PROTOCOL.SSL, name)
    t.equal(warm.socket.destroyed, false, name)
  }
})

t.test('a pinned certificate counts without an authority, a name or a valid time', async t => {
  for (const shown of [expired, stranger, otherName]) {
    const target = await startTlsTarget(t, shown)
    await openWith(t, target, 'pinned', { pins: [pinOf(shown.certificatePem)] })
  }
})

t.test('no other certificate gets a byte, whatever the mode, and the fingerprint is a fact of the failure', async t => {
  for (const [name, mode, shown, code, changes] of [
    ['unknown authority', 'platform_ca', stranger, 'ERR_TARGET_CERTIFICATE_UNTRUSTED', {}],
    ['private authority', 'strict', good, 'ERR_TARGET_CERTIFICATE_UNTRUSTED', {}],
    ['another address', 'platform_ca', otherName, 'ERR_TARGET_CERTIFICATE_NAME', {}],
    ['another name', 'platform_ca', otherName, 'ERR_TARGET_CERTIFICATE_NAME', { host: 'localhost' }],
    ['another pin', 'pinned', good, 'ERR_TARGET_CERTIFICATE_MISMATCH', { pins: [pinOf(stranger.certificatePem)] }],
    ['no pin', 'pinned', good, 'ERR_TARGET_CERTIFICATE_UNKNOWN', {}],
    ['a pin cut short', 'pinned', good, 'ERR_TARGET_CERTIFICATE_MISMATCH', { pins: ['ab'] }],
  ] as const) {
    for (const selected of [PROTOCOL.SSL, PROTOCOL.HYBRID, PROTOCOL.HYBRID_EX]) {
      const target = await startTarget(t, { answer: confirm(selected), certificate: shown })
      await t.rejects(
        openWith(t, target, mode, changes),
        { code, facts: { fingerprint_sha256: pinOf(shown.certificatePem), mode } },
        name,
      )
      await waitFor(() => target.open() === 0, { what: 'the end of the connection' })
      t.equal(target.secured().length, 0, `${name}: not a byte inside TLS`)
      t.notMatch(target.plain().toString('latin1'), /canary/, `${name}: nothing of the account in the clear`)
    }
  }
})

t.test('a certificate that ran out is told from one that nobody trusts', async t => {
  const old = await authority('old CA')
  // Valid until a second ago: the authority lives on.
  const outOfDate = await issueCertificate({
    authority: old,
    commonName: 'target',
    ipAddresses: ['127.0.0.1'],
    usages: ['server'],
    now: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() - 1000),
  })
  const target = await startTlsTarget(t, outOfDate)
  await t.rejects(
    open(
      t,
      { address: target.address, certificate_verification_mode: 'platform_ca' },
      { platformCa: old.certificatePem, production: true },
    ),
    { code: 'ERR_TARGET_CERTIFICATE_EXPIRED' },
  )
})

t.test('a certificate that may not be a server is refused', async t => {
  const client = await issueCertificate({
    authority: ca,
    commonName: 'client',
    ipAddresses: ['127.0.0.1'],
    usages: ['client'],
    now: new Date(),
  })
  const target = await startTlsTarget(t, client)
  await t.rejects(openWith(t, target, 'platform_ca'), { code: 'ERR_TARGET_CERTIFICATE_UNTRUSTED' })
})

t.test('insecure is refused in production, before TLS begins', async t => {
  const target = await startTlsTarget(t, good)
  await t.rejects(openWith(t, target, 'insecure'), { code: 'ERR_TARGET_VERIFICATION_MODE' })
  await waitFor(() => target.open() === 0, { what: 'the end of the connection' })
  t.equal(target.secured().length, 0)
})

t.test('TLS below 1.2, no TLS at all, and a close in the middle are told apart', async t => {
  const old = createServer({ cert: good.certificatePem, key: good.keyPem, maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })
  t.teardown(() => old.close())
  const outdated = await startTarget(t, {
    onConnection: socket =>
      socket.once('data', () => {
        socket.pause()
        socket.write(confirm(PROTOCOL.SSL))
        old.emit('connection', socket)
      }),
  })
  await t.rejects(openWith(t, outdated, 'insecure', { production: false }), { code: 'ERR_TARGET_TLS' })

  const plain = await startTarget(t, {
    onConnection: socket =>
      socket.once('data', () => {
        socket.write(confirm(PROTOCOL.SSL))
        socket.on('data', () => socket.write('this is not TLS at all'))
      }),
  })
  await t.rejects(openWith(t, plain, 'insecure', { production: false }), { code: 'ERR_TARGET_TLS' })

  const closing = await startTarget(t, {
    onConnection: socket =>
      socket.once('data', () => {
        socket.write(confirm(PROTOCOL.SSL))
        socket.once('data', () => socket.end())
      }),
  })
  await t.rejects(openWith(t, closing, 'insecure', { production: false }), { code: 'ERR_TARGET_CLOSED' })
})

t.test('no failure names the account, the address or the certificate to the client', async t => {
  const target = await startTlsTarget(t, stranger)
  const failure = await openWith(t, target, 'platform_ca').then(
    () => undefined,
    error => error.failure,
  )
  t.notMatch(JSON.stringify(failure), /canary|127\.0\.0\.1/)
  t.notMatch(JSON.stringify(failure), pinOf(stranger.certificatePem))
})

t.test('strict trusts the authorities of the system, for the name that was dialled', async t => {
  // For this process, as NODE_EXTRA_CA_CERTS would.
  setDefaultCACertificates([...rootCertificates, ca.certificatePem])
  t.teardown(() => setDefaultCACertificates([...rootCertificates]))
  await openWith(t, await startTlsTarget(t, good), 'strict', { host: 'localhost' })
  await t.rejects(openWith(t, await startTlsTarget(t, otherName), 'strict', { host: 'localhost' }), {
    code: 'ERR_TARGET_CERTIFICATE_NAME',
  })
  await t.rejects(openWith(t, await startTlsTarget(t, stranger), 'strict'), {
    code: 'ERR_TARGET_CERTIFICATE_UNTRUSTED',
  })
})
