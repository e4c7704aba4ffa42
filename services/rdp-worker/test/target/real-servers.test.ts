import { createHash, X509Certificate } from 'node:crypto'
import { PROTOCOL } from '@rap/rdp'
import { canStartXrdp, newCanary, startShadow, startXrdp } from '@rap/testkit'
import t from 'tap'
import { open } from './server.ts'

const password = newCanary()

function credentials(text = password) {
  return { username: 'demo', domain: '', password: Buffer.from(text, 'utf16le') }
}

function pinOf(pem: string): string {
  return createHash('sha256').update(new X509Certificate(pem).raw).digest('hex')
}

t.test('FreeRDP logs the right account on by NLA, and says no to a wrong one', async t => {
  const server = await startShadow({ username: 'demo', password, security: 'nla' })
  t.teardown(() => server.stop())
  const target = {
    address: `127.0.0.1:${server.port}`,
    certificate_verification_mode: 'pinned' as const,
    certificate_pins: [pinOf(server.certificatePem)],
    security: 'nla' as const,
  }
  const warm = await open(t, target, { credentials: credentials(), production: true })
  t.match(warm, { selectedProtocol: PROTOCOL.HYBRID, requestedProtocols: PROTOCOL.HYBRID | PROTOCOL.HYBRID_EX })
  await t.rejects(open(t, target, { credentials: credentials('wrong') }), { code: 'ERR_TARGET_LOGON_FAILED' })
  await t.rejects(open(t, target, { credentials: { ...credentials(), username: 'nobody' } }), {
    code: 'ERR_TARGET_LOGON_FAILED',
  })
  await t.rejects(open(t, { ...target, security: 'tls' }, { credentials: credentials() }), {
    code: 'ERR_TARGET_NLA_REQUIRED',
  })
  await t.rejects(
    open(
      t,
      { ...target, certificate_verification_mode: 'platform_ca' },
      { platformCa: server.authorityPem, credentials: credentials('wrong') },
    ),
    { code: 'ERR_TARGET_LOGON_FAILED' },
    'its certificate is of an authority that can be trusted',
  )
})

const xrdp = canStartXrdp()
t.test('xrdp is opened by TLS, and offers no NLA', { skip: !xrdp.ok && xrdp.reason }, async t => {
  const server = await startXrdp()
  t.teardown(() => server.stop())
  const target = {
    address: `localhost:${server.port}`,
    certificate_verification_mode: 'platform_ca' as const,
    security: 'auto' as const,
  }
  const trust = { platformCa: server.authorityPem, credentials: credentials() }
  t.match(await open(t, target, trust), { selectedProtocol: PROTOCOL.SSL })
  await t.rejects(open(t, { ...target, security: 'nla' }, trust), { code: /^ERR_TARGET_/ })
})
