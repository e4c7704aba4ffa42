import { X509Certificate } from 'node:crypto'
import { readServerCertificate } from '@rap/pki'
import t, { type Test } from 'tap'
import { x509 } from '../../../../packages/pki/src/library.ts'
import { open, startTlsTarget, type TargetOfAssignment } from './server.ts'

const DAY_MS = 86_400_000
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1'
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2'
/** What AD CS templates for Remote Desktop may carry alone. */
const REMOTE_DESKTOP = '1.3.6.1.4.1.311.54.1.2'
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

interface Made {
  readonly pem: string
  readonly keys: Awaited<ReturnType<typeof newKeys>>
  readonly certificate: x509.X509Certificate
}

const newKeys = () => crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])

/** A certificate with whatever extensions a test wants, by any issuer. */
async function make(
  name: string,
  options: { issuer?: Made; extensions: x509.Extension[]; from?: number; to?: number; keys?: Made['keys'] },
): Promise<Made> {
  const { issuer, extensions, from = -1, to = 30 } = options
  const keys = options.keys ?? (await newKeys())
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${name}`,
    issuer: issuer?.certificate.subject ?? `CN=${name}`,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() + from * DAY_MS),
    notAfter: new Date(Date.now() + to * DAY_MS),
    extensions,
  })
  return { pem: certificate.toString('pem'), keys, certificate }
}

const ca = (pathLength?: number) => [
  new x509.BasicConstraintsExtension(true, pathLength, true),
  new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
]
const leaf = (names: readonly string[], usages: readonly string[] = [SERVER_AUTH]) => [
  new x509.BasicConstraintsExtension(false),
  new x509.SubjectAlternativeNameExtension(names.map(value => ({ type: 'dns' as const, value }))),
  ...(usages.length === 0 ? [] : [new x509.ExtendedKeyUsageExtension([...usages])]),
]

const root = await make('corporate root', { extensions: ca() })
const issuing = await make('corporate issuing', { issuer: root, extensions: ca(0) })
const other = await make('other issuing', { issuer: root, extensions: ca(0) })

const derOf = (made: Made) => Buffer.from(made.certificate.rawData).toString('base64')

async function openWith(t: Test, chain: readonly Made[], target: Partial<TargetOfAssignment>) {
  const [shown] = chain
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', (shown as Made).keys.privateKey)).toString('base64')
  const server = await startTlsTarget(t, {
    certificatePem: chain.map(({ pem }) => `${pem}\n`).join(''),
    keyPem: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  } as never)
  return await open(
    t,
    { address: `desktop.corp.example:${server.port}`, certificate_verification_mode: 'strict', ...target },
    { production: true, lookupAll: async () => ['127.0.0.1'], platformCa: root.pem },
  )
}

const enrolled = { certificate_authorities: [derOf(root)] }

t.test('an enrolled authority vouches for the name in the SAN, through its issuing authority, and alone', async t => {
  const good = await make('x', { issuer: issuing, extensions: leaf(['desktop.corp.example']) })
  await openWith(t, [good, issuing], enrolled)
  await openWith(t, [good, issuing], { certificate_verification_mode: 'platform_ca' })
  await openWith(t, [good, issuing], { certificate_authorities: [derOf(issuing)] })
  await openWith(t, [good], { certificate_authorities: [derOf(issuing)] })
  for (const [name, chain, authorities] of [
    ['the system', [good, issuing], undefined],
    ['another issuing authority of the same root', [good, issuing], [derOf(other)]],
    ['a chain with a hole', [good], [derOf(root)]],
  ] as const) {
    await t.rejects(
      openWith(t, chain, authorities === undefined ? {} : { certificate_authorities: [...authorities] }),
      { code: 'ERR_TARGET_CERTIFICATE_UNTRUSTED' },
      name,
    )
  }
})

t.test('what the certificate may not be used for, or its authority may not issue, is refused', async t => {
  // Name constraints (RFC 5280 §4.2.1.10): permitted subtree corp.example, and excluded subtree corp.example.
  const subtree = Buffer.from('300e820c636f72702e6578616d706c65', 'hex')
  const constraint = (tag: number) => {
    const inner = Buffer.concat([Buffer.from([tag, subtree.length]), subtree])
    return new x509.Extension('2.5.29.30', true, Buffer.concat([Buffer.from([0x30, inner.length]), inner]))
  }
  const permits = await make('permits', { issuer: root, extensions: [...ca(0), constraint(0xa0)] })
  const excludes = await make('excludes', { issuer: root, extensions: [...ca(0), constraint(0xa1)] })
  const name = 'desktop.corp.example'
  await openWith(t, [await make('x', { issuer: permits, extensions: leaf([name]) }), permits], enrolled)

  const noCa = await make('no authority', { issuer: root, extensions: leaf([name]) })
  const tooDeep = await make('too deep', { issuer: issuing, extensions: ca() })
  const stale = await make('stale issuing', { issuer: root, extensions: ca(0), from: -10, to: -5 })
  const impostor = await make('corporate root', { extensions: ca() })
  const UNTRUSTED = 'ERR_TARGET_CERTIFICATE_UNTRUSTED'
  const EXPIRED = 'ERR_TARGET_CERTIFICATE_EXPIRED'
  const cases: readonly [string, readonly Made[], string][] = [
    ['excluded by constraint', [await make('x', { issuer: excludes, extensions: leaf([name]) }), excludes], UNTRUSTED],
    [
      'beyond the constraint, beside a name within',
      [await make('x', { issuer: permits, extensions: leaf([name, 'bank.example']) }), permits],
      UNTRUSTED,
    ],
    [
      'a client certificate',
      [await make('x', { issuer: issuing, extensions: leaf([name], [CLIENT_AUTH]) }), issuing],
      UNTRUSTED,
    ],
    [
      'Remote Desktop authentication alone',
      [await make('x', { issuer: issuing, extensions: leaf([name], [REMOTE_DESKTOP]) }), issuing],
      UNTRUSTED,
    ],
    ['issued by a leaf', [await make('x', { issuer: noCa, extensions: leaf([name]) }), noCa], UNTRUSTED],
    [
      'deeper than the path length',
      [await make('x', { issuer: tooDeep, extensions: leaf([name]) }), tooDeep, issuing],
      UNTRUSTED,
    ],
    [
      'an authority of the same name',
      [await make('x', { issuer: impostor, extensions: leaf([name]) }), impostor],
      UNTRUSTED,
    ],
    ['signed by itself', [await make('x', { extensions: leaf([name]) })], UNTRUSTED],
    ['expired', [await make('x', { issuer: issuing, extensions: leaf([name]), from: -9, to: -2 }), issuing], EXPIRED],
    [
      'not valid yet',
      [await make('x', { issuer: issuing, extensions: leaf([name]), from: 2, to: 9 }), issuing],
      EXPIRED,
    ],
    ['of an expired authority', [await make('x', { issuer: stale, extensions: leaf([name]) }), stale], EXPIRED],
  ]
  for (const [what, chain, code] of cases) {
    await t.rejects(openWith(t, chain, enrolled), { code }, what)
    await t.rejects(
      openWith(t, chain, { certificate_verification_mode: 'platform_ca' }),
      { code },
      `${what}, platform_ca`,
    )
  }
  const both = await make('x', { issuer: issuing, extensions: leaf([name], [REMOTE_DESKTOP, SERVER_AUTH]) })
  await openWith(t, [both, issuing], enrolled)
  const any = await make('x', { issuer: issuing, extensions: leaf([name], []) })
  await openWith(t, [any, issuing], enrolled)
})

t.test('only the SAN names a target', async t => {
  const NAME = { code: 'ERR_TARGET_CERTIFICATE_NAME' }
  const common = await make('desktop.corp.example', { issuer: issuing, extensions: leaf([]).slice(0, 1) })
  await t.rejects(openWith(t, [common, issuing], enrolled), NAME, 'a common name alone')
  for (const names of [['other.corp.example'], ['corp.example'], ['*.example'], ['desk*.corp.example'], ['desktop']]) {
    const shown = await make('desktop.corp.example', { issuer: issuing, extensions: leaf(names) })
    await t.rejects(openWith(t, [shown, issuing], enrolled), NAME, names.join())
  }
  const wildcard = await make('x', { issuer: issuing, extensions: leaf(['*.corp.example']) })
  await openWith(t, [wildcard, issuing], enrolled)
})

t.test('a pinned public key holds through a renewal with the same key, and no longer', async t => {
  const first = await make('x', { extensions: leaf(['a.example']) })
  const renewed = await make('y', { extensions: leaf(['b.example']), keys: first.keys })
  const rekeyed = await make('x', { extensions: leaf(['a.example']) })
  const { spkiSha256, fingerprintSha256 } = readServerCertificate(new X509Certificate(first.pem).raw)
  const pinned = { certificate_verification_mode: 'pinned' as const, public_key_pins: [spkiSha256] }
  await openWith(t, [first], pinned)
  await openWith(t, [renewed], pinned)
  await t.rejects(openWith(t, [rekeyed], pinned), { code: 'ERR_TARGET_CERTIFICATE_MISMATCH' })
  const crossed = { ...pinned, public_key_pins: [fingerprintSha256], certificate_pins: [spkiSha256] }
  await t.rejects(
    openWith(t, [first], crossed),
    { code: 'ERR_TARGET_CERTIFICATE_MISMATCH' },
    'one hash is not the other',
  )
  // The pinned certificate somewhere else in the chain is no leaf.
  const below = await make('z', { issuer: first, extensions: leaf(['a.example']) })
  const byCertificate = { certificate_verification_mode: 'pinned' as const, certificate_pins: [fingerprintSha256] }
  await t.rejects(openWith(t, [below, first], byCertificate), { code: 'ERR_TARGET_CERTIFICATE_MISMATCH' })
})
