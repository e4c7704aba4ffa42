import t from 'tap'
import { checkImport, createCsr, createIntermediate, issueFromCsr, openAuthority, readCsr } from '../src/index.ts'
import { DAY_MS, opened } from './helper.ts'
import { openssl } from './openssl.ts'

const P256 = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']
const newKey = (...args: string[]) =>
  openssl(['genpkey', '-quiet', ...(args.length === 0 ? P256 : args)]).output.replace(/^[.+*\s]*(?=-----)/, '')

interface Wanted {
  readonly subject?: string
  readonly extensions?: string[]
  readonly days?: number
  readonly digest?: string
  readonly key?: string
  /** Certificate and key of the issuer; without it self-signed. */
  readonly issuer?: { certificatePem: string; key: string }
}

const CA = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign']
const rootKey = newKey()
const intermediateKey = newKey()

/** An authority as some other CA makes it. */
function authority(wanted: Wanted): string {
  const { subject = 'CN=Company Root', extensions = CA, days = 100, digest = 'sha256', key = rootKey, issuer } = wanted
  const config = `[req]\ndistinguished_name=dn\nprompt=no\n[dn]\n${subject}\n[ext]\n${extensions.join('\n')}\n`
  const sign = issuer === undefined ? [] : ['-CA', 'issuer.pem', '-CAkey', 'issuer.key']
  const files = { key, config, 'issuer.pem': issuer?.certificatePem ?? '', 'issuer.key': issuer?.key ?? '' }
  const options = ['-config', 'config', '-extensions', 'ext', '-days', String(days), `-${digest}`, ...sign]
  const { code, output } = openssl(['req', '-x509', '-new', '-key', 'key', ...options], files)
  if (code !== 0) throw new Error(output)
  return output
}

// Later than the begin of whatever openssl makes in these tests.
const now = new Date(Date.now() + 300_000)
const after = (days: number) => new Date(now.getTime() + days * DAY_MS)
const rootPem = authority({})
const issuer = { certificatePem: rootPem, key: rootKey }
const below = (wanted: Wanted = {}) =>
  authority({ subject: 'CN=Company Intermediate', key: intermediateKey, days: 50, issuer, ...wanted })
const intermediatePem = below()

t.test('an ordinary CA of two levels can be imported', async t => {
  checkImport({ rootPem, intermediatePem, now })
  const extensions = [
    ...CA,
    'extendedKeyUsage=serverAuth,clientAuth,codeSigning',
    'nameConstraints=critical,permitted;DNS:a.example',
  ]
  checkImport({ rootPem, intermediatePem: below({ extensions }), now })
  const rsaKey = newKey('-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:3072')
  const rsaRoot = authority({ key: rsaKey, digest: 'sha512' })
  checkImport({ rootPem: rsaRoot, intermediatePem: below({ issuer: { certificatePem: rsaRoot, key: rsaKey } }), now })
  t.pass('none is refused')
})

t.test('what is wrong is refused with its place', async t => {
  const cases: [string, Partial<Parameters<typeof checkImport>[0]>, string, string][] = [
    ['no certificate', { rootPem: '' }, 'root', 'INVALID_CERTIFICATE'],
    ['two certificates', { rootPem: rootPem + rootPem }, 'root', 'INVALID_CERTIFICATE'],
    ['a private key beside it', { rootPem: rootPem + rootKey }, 'root', 'INVALID_CERTIFICATE'],
    ['over the bound', { rootPem: ' '.repeat(20_000) }, 'root', 'INVALID_CERTIFICATE'],
    [
      'no CA',
      { rootPem: authority({ extensions: ['basicConstraints=CA:FALSE', CA[1]!] }) },
      'root',
      'NOT_AN_AUTHORITY',
    ],
    ['no basicConstraints', { rootPem: authority({ extensions: [CA[1]!] }) }, 'root', 'NOT_AN_AUTHORITY'],
    ['no keyUsage', { rootPem: authority({ extensions: [CA[0]!] }) }, 'root', 'NOT_AN_AUTHORITY'],
    [
      'no keyCertSign',
      { rootPem: authority({ extensions: [CA[0]!, 'keyUsage=cRLSign'] }) },
      'root',
      'NOT_AN_AUTHORITY',
    ],
    [
      'a path of nothing',
      { rootPem: authority({ extensions: [`${CA[0]},pathlen:0`, CA[1]!] }) },
      'root',
      'PATH_LENGTH',
    ],
    ['not self-signed', { rootPem: intermediatePem }, 'root', 'INVALID_CERTIFICATE'],
    ['has ended', { now: after(101) }, 'root', 'INVALID_VALIDITY'],
    ['not valid yet', { now: after(-1) }, 'root', 'INVALID_VALIDITY'],
    [
      'RSA of 1024 bits',
      { rootPem: authority({ key: newKey('-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024') }) },
      'root',
      'INVALID_KEY',
    ],
    ['Ed25519', { rootPem: authority({ key: newKey('-algorithm', 'ED25519') }) }, 'root', 'INVALID_KEY'],
    [
      'unknown critical extension',
      { rootPem: authority({ extensions: [...CA, '1.2.3.4=critical,DER:0500'] }) },
      'root',
      'INVALID_CERTIFICATE',
    ],
    [
      'other purposes alone',
      { rootPem: authority({ extensions: [...CA, 'extendedKeyUsage=codeSigning'] }) },
      'root',
      'NOT_AN_AUTHORITY',
    ],
    ['no certificate', { intermediatePem: intermediateKey }, 'intermediate', 'INVALID_CERTIFICATE'],
    [
      'no CA',
      { intermediatePem: below({ extensions: ['basicConstraints=CA:FALSE'] }) },
      'intermediate',
      'NOT_AN_AUTHORITY',
    ],
    [
      'for servers alone',
      { intermediatePem: below({ extensions: [...CA, 'extendedKeyUsage=serverAuth'] }) },
      'intermediate',
      'NOT_AN_AUTHORITY',
    ],
    [
      'another root of the name',
      {
        intermediatePem: below({
          issuer: { certificatePem: authority({ key: intermediateKey }), key: intermediateKey },
        }),
      },
      'intermediate',
      'INVALID_CERTIFICATE',
    ],
    ['the root itself', { intermediatePem: rootPem }, 'intermediate', 'INVALID_CERTIFICATE'],
    [
      'the name of the root',
      { intermediatePem: below({ subject: 'CN=Company Root' }) },
      'intermediate',
      'INVALID_CERTIFICATE',
    ],
    ['SHA-1', { intermediatePem: below({ digest: 'sha1' }) }, 'intermediate', 'INVALID_CERTIFICATE'],
    ['outlives the root', { intermediatePem: below({ days: 101 }) }, 'intermediate', 'INVALID_VALIDITY'],
    ['has ended', { now: after(51) }, 'intermediate', 'INVALID_VALIDITY'],
  ]
  for (const [title, changed, field, code] of cases) {
    const options = { rootPem, intermediatePem, now, ...changed }
    t.throws(() => checkImport(options), { code: `ERR_PKI_${code}`, facts: { field } }, `${field}: ${title}`)
  }
})

t.test('below an imported root whose key identifier is made in another way, paths still verify', async t => {
  const odd = authority({ extensions: [...CA, 'subjectKeyIdentifier=0102030405060708'] })
  const pkcs8 = Buffer.from(rootKey.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const root = await openAuthority(odd, pkcs8)
  const made = await opened(createIntermediate({ root, name: 'Intermediate', days: 10, now }))
  checkImport({ rootPem: odd, intermediatePem: made.certificatePem, now })
  const { certificatePem } = await issueFromCsr({
    issuer: made,
    chainPem: made.certificatePem,
    csr: await readCsr((await createCsr({ commonName: 'x' })).csrPem),
    commonName: 'x',
    usages: ['server'],
    now,
    notAfter: after(1),
  })
  const files = { 'root.pem': odd, 'between.pem': made.certificatePem, 'leaf.pem': certificatePem }
  t.equal(openssl(['verify', '-CAfile', 'root.pem', '-untrusted', 'between.pem', 'leaf.pem'], files).code, 0)
})
