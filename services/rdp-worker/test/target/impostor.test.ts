import { X509Certificate } from 'node:crypto'
import { readServerCertificate } from '@rap/pki'
import { encodeX224ConnectionConfirm, NEG_FAILURE, PROTOCOL } from '@rap/rdp'
import { newCanary, startShadow, waitFor } from '@rap/testkit'
import t, { type Test } from 'tap'
import type { OpenTargetOptions } from '../../src/target/open.ts'
import { type Impostor, startImpostor } from './impostor.ts'
import { authority, certificate, confirm, open, startTlsTarget, type TargetOfAssignment } from './server.ts'

const PASSWORD = newCanary()
const USER = 'svc-impostor'
const DOMAIN = 'CANARYDOM'
const ca = await authority('corporate CA')
const real = await certificate({ authority: ca })
const fake = await certificate()
const pinOf = (pem: string) => readServerCertificate(new X509Certificate(pem).raw)

function account(): OpenTargetOptions['credentials'] {
  return { username: USER, domain: DOMAIN, password: Buffer.from(PASSWORD, 'utf16le') }
}

/** Every form in which the account, or anything computed from its password, could be on the wire. */
const SECRETS: Readonly<Record<string, Buffer>> = {
  password: Buffer.from(PASSWORD),
  'password in UTF-16': Buffer.from(PASSWORD, 'utf16le'),
  'user name': Buffer.from(USER),
  'user name in UTF-16': Buffer.from(USER, 'utf16le'),
  'user name in capitals, UTF-16': Buffer.from(USER.toUpperCase(), 'utf16le'),
  domain: Buffer.from(DOMAIN),
  'domain in UTF-16': Buffer.from(DOMAIN, 'utf16le'),
  'an NTLM message': Buffer.from('NTLMSSP\0'),
  // OIDs of SPNEGO and of NTLMSSP in it (RFC 4178 §4.1, MS-SPNG 1.9).
  'an SPNEGO token': Buffer.from('2b0601050502', 'hex'),
  'the NTLM mechanism': Buffer.from('2b06010401823702020a', 'hex'),
}

function heardNothing(t: Test, impostor: Impostor, name: string): void {
  const heard = impostor.heard()
  t.ok(impostor.connections > 0, `${name}: it was asked`)
  for (const [what, bytes] of Object.entries(SECRETS)) t.notOk(heard.includes(bytes), `${name}: ${what}`)
  t.equal(impostor.secured().length, 0, `${name}: not a byte inside TLS`)
}

type Rule = Partial<TargetOfAssignment>

/** The ways in which a production resource knows its target; the impostor has a certificate of its own. */
const RULES: Readonly<Record<string, Rule>> = {
  'a pinned certificate': {
    certificate_verification_mode: 'pinned',
    certificate_pins: [pinOf(real.certificatePem).fingerprintSha256],
  },
  'a pinned public key': {
    certificate_verification_mode: 'pinned',
    public_key_pins: [pinOf(real.certificatePem).spkiSha256],
  },
  'nothing approved yet': { certificate_verification_mode: 'pinned' },
  'the system': { certificate_verification_mode: 'strict' },
  'its own authority': {
    certificate_verification_mode: 'strict',
    certificate_authorities: [new X509Certificate(ca.certificatePem).raw.toString('base64')],
  },
  'the platform CA': { certificate_verification_mode: 'platform_ca' },
}

const openWith = (t: Test, target: Rule & { address: string }, changes: Partial<OpenTargetOptions> = {}) =>
  open(t, target, { credentials: account(), production: true, platformCa: ca.certificatePem, ...changes })

t.test('an impostor hears nothing of the account, whatever it answers and however the target is known', async t => {
  const nothing = encodeX224ConnectionConfirm({ sourceReference: 1 })
  const failure = (failureCode: number) =>
    encodeX224ConnectionConfirm({ sourceReference: 1, negotiation: { type: 'failure', failureCode } })
  for (const [known, rule] of Object.entries(RULES)) {
    for (const security of ['auto', 'nla', 'tls'] as const) {
      for (const [offer, answer] of [
        ['NLA', confirm(PROTOCOL.HYBRID)],
        ['NLA with early authorization', confirm(PROTOCOL.HYBRID_EX)],
        ['TLS alone', confirm(PROTOCOL.SSL)],
        ['plain RDP security', confirm(PROTOCOL.RDP)],
        ['no negotiation', nothing],
        ['a refusal of NLA', failure(NEG_FAILURE.SSL_REQUIRED_BY_SERVER)],
        ['RDSAAD', confirm(0x10)],
      ] as const) {
        const impostor = await startImpostor(t, { certificate: fake, confirm: answer })
        const name = `${known}, ${security}, ${offer}`
        await t.rejects(openWith(t, { address: impostor.address, security, ...rule }), { code: /^ERR_TARGET_/ }, name)
        heardNothing(t, impostor, name)
      }
    }
  }
})

t.test('an impostor without TLS that takes everything down hears nothing', async t => {
  for (const answer of [confirm(PROTOCOL.SSL), confirm(PROTOCOL.HYBRID)]) {
    const impostor = await startImpostor(t, { confirm: answer })
    const attempt = openWith(t, { address: impostor.address, ...RULES['a pinned certificate'] }, { timeoutMs: 500 })
    await t.rejects(attempt, { code: 'ERR_TARGET_TIMEOUT' })
    await waitFor(() => impostor.connections > 0, { what: 'the connection' })
    heardNothing(t, impostor, 'deaf')
  }
})

t.test('a name that resolves to an impostor, and a port that it took over, bring it nothing', async t => {
  const impostor = await startImpostor(t, { certificate: fake, confirm: confirm(PROTOCOL.HYBRID) })
  for (const rule of Object.values(RULES)) {
    const target = { address: `localhost:${impostor.port}`, ...rule }
    await t.rejects(openWith(t, target, { lookupAll: async () => ['127.0.0.1'] }), { code: /^ERR_TARGET_CERTIFICATE_/ })
  }
  heardNothing(t, impostor, 'redirected')
})

t.test('a certificate that is swapped between two sessions ends the second before a byte', async t => {
  const target = await startTlsTarget(t, real)
  await openWith(t, { address: target.address, ...RULES['a pinned certificate'] })
  const impostor = await startImpostor(t, { certificate: fake, confirm: confirm(PROTOCOL.SSL) })
  await t.rejects(openWith(t, { address: impostor.address, ...RULES['a pinned certificate'] }), {
    code: 'ERR_TARGET_CERTIFICATE_MISMATCH',
  })
  heardNothing(t, impostor, 'swapped')
})

t.test('the certificate of the target is public: who shows it without its key gets no connection', async t => {
  // The real certificate in the wrong hands: the handshake needs its key (RFC 8446 §4.4.3).
  const impostor = await startImpostor(t, {
    certificate: { ...fake, certificatePem: fake.certificatePem + real.certificatePem },
    confirm: confirm(PROTOCOL.HYBRID),
  })
  await t.rejects(openWith(t, { address: impostor.address, ...RULES['a pinned certificate'] }), {
    code: 'ERR_TARGET_CERTIFICATE_MISMATCH',
  })
  heardNothing(t, impostor, 'with a stolen certificate in its chain')
})

t.test('the word of the source of truth is needed, also where the certificate is the pinned one', async t => {
  const reports: OpenTargetOptions['report'][] = [
    async () => 'ERR_TARGET_IDENTITY_CHANGED',
    async () => 'ERR_TARGET_CERTIFICATE_REJECTED',
    async () => 'something else',
    async () => {
      throw new Error('nobody answers')
    },
  ]
  for (const report of reports) {
    const impostor = await startImpostor(t, { certificate: real, confirm: confirm(PROTOCOL.HYBRID) })
    const rule = RULES['a pinned certificate']
    const codes = /^ERR_TARGET_(IDENTITY_CHANGED|CERTIFICATE_REJECTED|IDENTITY_UNAVAILABLE)$/
    await t.rejects(openWith(t, { address: impostor.address, ...rule }, { report }), { code: codes })
    heardNothing(t, impostor, String(report))
  }
})

t.test('a source of truth that hangs does not let a session begin', async t => {
  const impostor = await startImpostor(t, { certificate: real, confirm: confirm(PROTOCOL.SSL) })
  const report: OpenTargetOptions['report'] = (_, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
  const target = { address: impostor.address, ...RULES['a pinned certificate'] }
  await t.rejects(openWith(t, target, { report, timeoutMs: 500 }), { code: 'ERR_TARGET_TIMEOUT' })
  await waitFor(() => impostor.connections > 0, { what: 'the connection' })
  heardNothing(t, impostor, 'waiting')
})

t.test('the whole of what a target shows is reported, before the decision and also on success', async t => {
  const seen: unknown[] = []
  const report: OpenTargetOptions['report'] = async given => {
    seen.push(given)
    return given.code
  }
  const chained = { ...real, certificatePem: real.certificatePem + ca.certificatePem }
  const leaf = new X509Certificate(real.certificatePem).raw.toString('base64')
  const root = new X509Certificate(ca.certificatePem).raw.toString('base64')
  await openWith(
    t,
    { address: (await startTlsTarget(t, chained)).address, ...RULES['a pinned certificate'] },
    { report },
  )
  const strange = await startTlsTarget(t, fake)
  await t.rejects(openWith(t, { address: strange.address, ...RULES['a pinned certificate'] }, { report }))
  t.match(seen, [
    { mode: 'pinned', certificates: [leaf, root], code: undefined },
    { mode: 'pinned', certificates: [String], code: 'ERR_TARGET_CERTIFICATE_MISMATCH' },
  ])
})

t.test('who stands in the middle of a real NLA logon gets no further than the certificate', async t => {
  const server = await startShadow({ username: USER, password: PASSWORD, security: 'nla' })
  t.teardown(() => server.stop())
  const pinned: Rule = {
    security: 'nla',
    certificate_verification_mode: 'pinned',
    certificate_pins: [pinOf(server.certificatePem).fingerprintSha256],
  }
  const credentials = { username: USER, domain: '', password: Buffer.from(PASSWORD, 'utf16le') }
  const straight = await openWith(t, { address: `127.0.0.1:${server.port}`, ...pinned }, { credentials })
  t.equal(straight.selectedProtocol, PROTOCOL.HYBRID, 'without it the logon works')

  const refused = await startImpostor(t, { certificate: fake, real: server.port })
  await t.rejects(openWith(t, { address: refused.address, ...pinned }, { credentials }), {
    code: 'ERR_TARGET_CERTIFICATE_MISMATCH',
  })
  heardNothing(t, refused, 'in the middle')

  // Without a check of the certificate, outside production: CredSSP binds to the key of the TLS connection (MS-CSSP 3.1.5), so the
  // server refuses, and the password is never delegated. The NTLM exchange itself is heard: name, and a response to guess against.
  const middle = await startImpostor(t, { certificate: fake, real: server.port })
  const insecure: Rule = { security: 'nla', certificate_verification_mode: 'insecure' }
  await t.rejects(openWith(t, { address: middle.address, ...insecure }, { credentials, production: false }), {
    code: /^ERR_TARGET_(PUBLIC_KEY_MISMATCH|LOGON_FAILED)$/,
  })
  const heard = middle.heard()
  t.ok(heard.includes(Buffer.from('NTLMSSP\0')), 'the exchange went through it')
  t.ok(heard.includes(Buffer.from(USER, 'utf16le')), 'and the name was in it: insecure is for tests alone')
  for (const form of ['password', 'password in UTF-16']) t.notOk(heard.includes(SECRETS[form] as Buffer), form)
  await waitFor(() => middle.connections === 1, { what: 'one attempt' })
})
