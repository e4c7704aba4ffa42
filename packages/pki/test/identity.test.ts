import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  certificateThumbprint,
  createAuthority,
  identityOfCertificate,
  issueCertificate,
  parseSpiffeId,
  sha256Fingerprint,
  spiffeId,
} from '../src/index.ts'

const now = new Date()
const authority = await createAuthority({ name: 'Platform CA', days: 365, now })
const ID = 'spiffe://rap.internal/worker/0190b6c1-0000-7000-8000-000000000001'

const workspace = mkdtempSync(join(tmpdir(), 'rap-pki-'))
t.teardown(() => rmSync(workspace, { recursive: true }))

const issued = async (uris: string[]) =>
  new X509Certificate(
    (await issueCertificate({ authority, commonName: 'x', dnsNames: ['x.example'], uris, usages: ['client'], now }))
      .certificatePem,
  )

/** A self-signed certificate with extensions that this package would never write. */
function forged(extensions: string): X509Certificate {
  const config = `[req]\ndistinguished_name=dn\nx509_extensions=ext\nprompt=no\n[dn]\nCN=forged\n[ext]\n${extensions}\n`
  writeFileSync(join(workspace, 'config'), config)
  const options = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key']
  execFileSync('openssl', [...options, '-out', 'out.pem', '-config', 'config'], { cwd: workspace, stdio: 'pipe' })
  return new X509Certificate(readFileSync(join(workspace, 'out.pem')))
}

t.test('a SPIFFE ID has one spelling', async t => {
  t.equal(spiffeId('rap.internal', 'service', 'gateway'), 'spiffe://rap.internal/service/gateway')
  t.same(parseSpiffeId('spiffe://rap.internal/service/gateway'), {
    trustDomain: 'rap.internal',
    kind: 'service',
    id: 'gateway',
  })
  const refused = [
    '',
    'spiffe://rap.internal',
    'spiffe://rap.internal/service',
    'spiffe://rap.internal/service/',
    'spiffe://rap.internal/service/..',
    'spiffe://rap.internal/service/.',
    'spiffe://rap.internal/service/gateway/',
    'spiffe://rap.internal/service/gateway\n',
    'spiffe://rap.internal/service/a/b',
    'spiffe://rap.internal/service/a%2fb',
    'spiffe://rap.internal/admin/gateway',
    'spiffe://rap.internal//service/gateway',
    'spiffe://RAP.internal/service/gateway',
    'spiffe://rap.internal:443/service/gateway',
    'spiffe://user@rap.internal/service/gateway',
    'spiffe://rap.internal/service/gateway?a=b',
    'spiffe://rap.internal/service/gateway#a',
    'SPIFFE://rap.internal/service/gateway',
    'https://rap.internal/service/gateway',
    ' spiffe://rap.internal/service/gateway',
    `spiffe://rap.internal/service/${'a'.repeat(2048)}`,
  ]
  for (const uri of refused) t.equal(parseSpiffeId(uri), undefined, JSON.stringify(uri))
  for (const id of ['', '.', '..', 'a/b', 'a b', 'ä', 'a\n']) {
    t.throws(() => spiffeId('rap.internal', 'worker', id), { code: 'ERR_PKI_INVALID_NAME' })
  }
  for (const domain of ['', 'RAP', 'a/b', 'a:1', 'a\n']) {
    t.throws(() => spiffeId(domain, 'worker', '1'), { code: 'ERR_PKI_INVALID_NAME' })
  }
})

t.test('the identity of a certificate is its one SPIFFE ID', async t => {
  t.equal(identityOfCertificate(await issued([ID])), ID)
  t.equal(identityOfCertificate(await issued([])), undefined, 'none')
  t.equal(identityOfCertificate(await issued([ID, 'spiffe://rap.internal/service/gateway'])), undefined, 'two')
  t.equal(identityOfCertificate(await issued([ID, 'https://a.example'])), undefined, 'a second URI of another kind')
  t.equal(identityOfCertificate(await issued(['https://a.example/worker/1'])), undefined, 'another scheme')
  t.equal(identityOfCertificate(new X509Certificate(authority.certificatePem)), undefined, 'an authority')
})

t.test('a name in a certificate cannot pose as an identity', async t => {
  const leaf = 'basicConstraints=critical,CA:FALSE\n'
  const quoted = forged(`${leaf}subjectAltName=@names\n[names]\nDNS=a.example, URI:${ID}`)
  t.match(quoted.subjectAltName, /URI:spiffe/, 'the text of the extension does look like an identity')
  t.equal(identityOfCertificate(quoted), undefined, 'a DNS name with a comma')
  t.equal(identityOfCertificate(forged(`${leaf}subjectAltName=email:URI:${ID}`)), undefined, 'a mail address')
  t.equal(
    identityOfCertificate(forged(`${leaf}subjectAltName=@names\n[names]\nURI=${ID}, URI:x`)),
    undefined,
    'a URI with a comma',
  )
  t.equal(identityOfCertificate(forged(`basicConstraints=critical,CA:TRUE\nsubjectAltName=URI:${ID}`)), undefined, 'CA')
  t.equal(identityOfCertificate(forged(leaf)), undefined, 'no extension')
  t.equal(identityOfCertificate(forged(`${leaf}2.5.29.17=DER:3003820161ff`)), undefined, 'a broken extension')
  t.equal(
    identityOfCertificate(forged(`${leaf}subjectAltName=otherName:1.2.3.4;UTF8:${ID}`)),
    undefined,
    'another kind',
  )
  t.equal(identityOfCertificate(forged(`${leaf}subjectAltName=URI:${ID}`)), ID, 'the same without tricks')
})

t.test('thumbprint and fingerprint are SHA-256 over DER, as openssl computes it', async t => {
  const leaf = await issueCertificate({ authority, commonName: 'x', usages: ['client'], now })
  const { raw } = new X509Certificate(leaf.certificatePem)
  const digest = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: raw })
  t.equal(certificateThumbprint(leaf.certificatePem), digest.toString('base64url'))
  t.equal(certificateThumbprint(raw), digest.toString('base64url'))
  t.equal(certificateThumbprint(`${leaf.certificatePem}${authority.certificatePem}`), digest.toString('base64url'))
  t.equal(sha256Fingerprint(raw), new X509Certificate(raw).fingerprint256)
  t.throws(() => certificateThumbprint('nothing'), { code: 'ERR_PKI_INVALID_CERTIFICATE' })
  t.throws(() => certificateThumbprint(leaf.keyPem), { code: 'ERR_PKI_INVALID_CERTIFICATE' })
})
