import { X509Certificate } from 'node:crypto'
import { connect, createServer, type Socket } from 'node:net'
import { createAuthority, issueCertificate, readServerCertificate } from '@rap/pki'
import { encodeX224ConnectionConfirm, PROTOCOL } from '@rap/rdp'
import { findSecret, newCanary, startPlatform, startShadow } from '@rap/testkit'
import t from 'tap'
import { startImpostor } from '../services/rdp-worker/test/target/impostor.ts'
import { openDesktop } from './desktop.ts'
import { newClientKey } from './wire-client.ts'

const USER = 'svc-target'
const canary = newCanary()
const shadow = await startShadow({ username: USER, password: canary, security: 'nla', width: 800, height: 600 })
t.teardown(() => shadow.stop())

/** The address of the desktop: whoever has the network decides who answers there. */
let answering = shadow.port
const sockets = new Set<Socket>()
const network = createServer(socket => {
  const behind = connect(answering, '127.0.0.1')
  for (const end of [socket, behind]) {
    sockets.add(end)
    end.on('error', () => {}).on('close', () => sockets.delete(end))
  }
  socket.pipe(behind).pipe(socket)
  socket.on('close', () => behind.destroy())
  behind.on('close', () => socket.destroy())
})
await new Promise<void>(resolve => network.listen(0, '127.0.0.1', resolve))
t.teardown(() => {
  network.close()
  for (const socket of sockets) socket.destroy()
})
const { port } = network.address() as { port: number }

const platform = await startPlatform({
  logLevel: 'trace',
  targets: [
    {
      name: 'desktop',
      host: '127.0.0.1',
      port,
      credential: { username: USER, password: canary },
      security: 'nla',
      verification: 'strict',
    },
  ],
})
t.teardown(() => platform.stop())
const [resource] = platform.resources
const resourceId = resource?.id ?? ''
const path = `/v1/resources/${resourceId}/target-identity`
const fingerprintOf = (pem: string) => readServerCertificate(new X509Certificate(pem).raw).fingerprintSha256
const real = fingerprintOf(shadow.certificatePem)

interface Identity {
  readonly mode: string
  readonly alarm: { readonly fingerprint_sha256: string } | null
  readonly approved: readonly { readonly sha256: string }[]
  readonly seen: readonly { readonly fingerprint_sha256: string; readonly state: string; readonly times_seen: number }[]
}
const identity = () => platform.api.call<Identity>('GET', path)
const decide = (body: Record<string, unknown>) => platform.api.call<Identity>('POST', path, { body })

/** Why a start is refused; '' where it is not. */
async function refusal(): Promise<string> {
  const { jkt } = await newClientKey()
  const { body } = await platform.api.send<{ code?: string }>('POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: jkt },
  })
  return body.code ?? ''
}

t.test(
  'a desktop is approved once, and an impostor in its place gets nothing and stops everything until a decision',
  async t => {
    t.equal(await refusal(), 'ERR_TARGET_CERTIFICATE_UNTRUSTED')
    t.match(await identity(), { mode: 'strict', alarm: null, seen: [{ fingerprint_sha256: real, state: 'seen' }] })
    await decide({ action: 'approve', fingerprint_sha256: real })
    const up = await openDesktop(platform, { resourceId })
    t.ok(up.client.isActive, 'with the approval the desktop comes up')
    up.socket.terminate()

    const now = new Date()
    const forger = await createAuthority({ name: 'forger', days: 2, now })
    const certificate = await issueCertificate({
      authority: forger,
      commonName: 'localhost',
      dnsNames: ['localhost'],
      ipAddresses: ['127.0.0.1'],
      usages: ['server'],
      keyType: 'rsa',
      now,
    })
    const confirm = (selectedProtocol: number) =>
      encodeX224ConnectionConfirm({
        sourceReference: 1,
        negotiation: { type: 'response', flags: 0, selectedProtocol },
      })
    const impostors = [
      await startImpostor(t, { certificate, confirm: confirm(PROTOCOL.HYBRID) }),
      await startImpostor(t, { certificate, confirm: confirm(PROTOCOL.SSL) }),
      await startImpostor(t, { certificate, real: shadow.port }),
    ]
    for (const impostor of impostors) {
      answering = impostor.port
      t.match(await refusal(), /^ERR_TARGET_(CERTIFICATE_MISMATCH|NLA_NOT_OFFERED)$/)
      const { alarm } = await identity()
      if (alarm !== null) await decide({ action: 'dismiss_alarm', fingerprint_sha256: alarm.fingerprint_sha256 })
    }
    t.equal(await refusal(), 'ERR_TARGET_CERTIFICATE_MISMATCH')
    t.match(await identity(), { alarm: { fingerprint_sha256: fingerprintOf(certificate.certificatePem) } })
    answering = shadow.port
    t.equal(await refusal(), 'ERR_TARGET_IDENTITY_CHANGED', 'the real one does not start either: somebody has to look')
    await decide({ action: 'reject', fingerprint_sha256: fingerprintOf(certificate.certificatePem) })
    await decide({ action: 'dismiss_alarm', fingerprint_sha256: fingerprintOf(certificate.certificatePem) })
    const again = await openDesktop(platform, { resourceId })
    again.socket.terminate()

    for (const impostor of impostors) {
      t.ok(impostor.connections > 0)
      t.equal(impostor.secured().length, 0, 'not a byte inside TLS')
      t.same(findSecret(impostor.heard(), canary), [], 'nothing of the password')
      for (const form of [Buffer.from(USER), Buffer.from(USER, 'utf16le'), Buffer.from('NTLMSSP\0')]) {
        t.notOk(impostor.heard().includes(form))
      }
    }
  },
)
