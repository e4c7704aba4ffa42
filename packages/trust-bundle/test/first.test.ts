import { execFileSync } from 'node:child_process'
import { createHash, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { createAuthority, createIntermediate, issueCertificate, openAuthority } from '@rap/pki'
import { exportJWK, flattenedVerify, type GeneralJWS, generalVerify } from 'jose'
import t, { type TAP } from 'tap'
import { firstTrustBundle, MAX_TRUST_BUNDLE_CHARACTERS, type SignedTrustBundle, signTrustBundle } from '../src/index.ts'
import { bundleOf, DAY_MS, forge, hmacWithPublicKey, newRoot, now, publish, type TestRoot } from './helper.ts'

const root = await newRoot('Root 1')
const other = await newRoot('Root 2')
const { publicKey } = new X509Certificate(root.certificatePem)
const signed = await publish([root], [root])
const held = await firstTrustBundle(signed)
const HEADER = { alg: 'ES384', typ: 'rap-trust-bundle+jws', 'x5t#S256': headerOf(signed)['x5t#S256'] }

function headerOf({ signatures }: SignedTrustBundle, index = 0): Record<string, string> {
  return JSON.parse(Buffer.from(signatures[index]!.protected, 'base64url').toString())
}

/** A document with one forged signature by `signer`. */
async function forged(payload: unknown, header: unknown = HEADER, signer: TestRoot = root) {
  const { payload: encoded, ...signature } = await forge(payload, header, signer)
  return { payload: encoded, signatures: [signature] }
}

const refuses = (t: Pick<TAP, 'rejects'>, document: unknown, code: string, title: string) =>
  t.rejects(firstTrustBundle(document), { code: `ERR_TRUST_BUNDLE_${code}` }, title)

t.test('a bundle is a general JWS, as any JOSE library reads it', async t => {
  const { payload, protectedHeader } = await generalVerify(signed as GeneralJWS, publicKey)
  t.same(protectedHeader, HEADER)
  t.same(JSON.parse(Buffer.from(payload).toString()), held.bundle)
  t.equal(held.sha256, createHash('sha256').update(payload).digest('base64url'))
  t.equal(held.pem, root.certificatePem)
  t.same(held.signed, signed)
})

t.test(
  'a first bundle is taken as JSON text or parsed, at any version, and it can be stored and read again',
  async t => {
    t.same(await firstTrustBundle(JSON.stringify(signed)), held)
    t.same(await firstTrustBundle(JSON.parse(JSON.stringify(held.signed))), held)
    const later = await publish([root, other], [other], undefined, { version: 7, previous_sha256: held.sha256 })
    t.equal((await firstTrustBundle(later)).pem, `${root.certificatePem}${other.certificatePem}`)
  },
)

t.test('a bundle of another hash or trust domain is not the expected one', async t => {
  t.ok(await firstTrustBundle(signed, { sha256: held.sha256, trustDomain: 'rap.internal' }))
  for (const expected of [
    { sha256: 'A'.repeat(43) },
    { sha256: '' },
    { trustDomain: 'rap.internal.' },
    { trustDomain: '' },
  ]) {
    await t.rejects(
      firstTrustBundle(signed, expected),
      { code: 'ERR_TRUST_BUNDLE_UNEXPECTED' },
      JSON.stringify(expected),
    )
  }
})

t.test('a document of another form is malformed', async t => {
  const [signature] = signed.signatures
  const documents: Record<string, unknown> = {
    nothing: undefined,
    null: null,
    'a number': 1,
    'a list': [signed],
    'no JSON': '{',
    'JSON of something else': '"x"',
    'text over the bound': `${JSON.stringify(signed)}${' '.repeat(MAX_TRUST_BUNDLE_CHARACTERS)}`,
    'a payload over the bound': { ...signed, payload: 'A'.repeat(400_000) },
    'a foreign member': { ...signed, header: {} },
    'no signatures': { ...signed, signatures: [] },
    'five signatures': { ...signed, signatures: Array(5).fill(signature) },
    'one signature twice': { ...signed, signatures: [signature, signature] },
    'one root twice with another signature': {
      ...signed,
      signatures: [signature, (await publish([root], [root])).signatures[0]],
    },
    'an unprotected header': { ...signed, signatures: [{ ...signature, header: { alg: 'none' } }] },
    'the flattened serialization': { payload: signed.payload, ...signature },
    'the compact serialization': `${signature!.protected}.${signed.payload}.${signature!.signature}`,
    'an empty signature': { ...signed, signatures: [{ ...signature, signature: '' }] },
    'a signature that is too long': { ...signed, signatures: [{ ...signature, signature: 'A'.repeat(2049) }] },
    padding: { ...signed, payload: `${signed.payload}=` },
    'base64 in place of base64url': {
      ...signed,
      signatures: [{ ...signature, signature: `${signature!.signature.slice(0, -1)}+` }],
    },
    'one character too many': {
      ...signed,
      payload: `${signed.payload.replace(/=*$/, '')}AAAAA`.slice(
        0,
        (Math.floor(signed.payload.length / 4) + 1) * 4 + 1,
      ),
    },
  }
  for (const [title, document] of Object.entries(documents)) await refuses(t, document, 'MALFORMED', title)
})

t.test('a header holds the algorithm, the type and the root, and nothing else', async t => {
  const headers: Record<string, unknown> = {
    'alg none': { ...HEADER, alg: 'none' },
    'alg HS256': { ...HEADER, alg: 'HS256' },
    'alg ES384 in lower case': { ...HEADER, alg: 'es384' },
    'alg PS256': { ...HEADER, alg: 'PS256' },
    'no alg': { ...HEADER, alg: undefined },
    'another typ': { ...HEADER, typ: 'JWT' },
    'no typ': { ...HEADER, typ: undefined },
    'no root': { ...HEADER, 'x5t#S256': undefined },
    'a crit header': { ...HEADER, crit: ['exp'], exp: 1 },
    'an empty crit header': { ...HEADER, crit: [] },
    'b64 false': { ...HEADER, b64: false, crit: ['b64'] },
    'a key of its own': { ...HEADER, jwk: await exportJWK(publicKey) },
    'an address of keys': { ...HEADER, jku: 'https://evil.example/keys' },
    'a chain of its own': { ...HEADER, x5c: [] },
    'no object': [],
    'no JSON': 'x',
    'a prototype': '{"alg":"ES384","typ":"rap-trust-bundle+jws","__proto__":{"x5t#S256":"A"}}',
  }
  for (const [title, header] of Object.entries(headers)) {
    await refuses(t, await forged(held.bundle, header), 'MALFORMED', title)
  }
  t.ok(await firstTrustBundle(await forged(held.bundle)), 'the same with the right header')
})

t.test('the algorithm is the one of the key, never the one of the header', async t => {
  for (const alg of ['ES256', 'RS256']) {
    await refuses(t, await forged(held.bundle, { ...HEADER, alg }), 'SIGNATURE', alg)
  }
  for (const alg of ['HS256', 'RS256', 'ES384']) {
    const { payload, protected: header } = await forge(held.bundle, { ...HEADER, alg }, root)
    const signature = await hmacWithPublicKey(payload, header, root)
    const document = { payload, signatures: [{ protected: header, signature }] }
    await refuses(t, document, alg === 'HS256' ? 'MALFORMED' : 'SIGNATURE', `HMAC with the public key as ${alg}`)
  }
  // The test's HMAC is one that a careless verifier would take.
  const { payload, protected: header } = await forge(held.bundle, { ...HEADER, alg: 'HS256' }, root)
  const signature = await hmacWithPublicKey(payload, header, root)
  const careless = Buffer.from(publicKey.export({ format: 'pem', type: 'spki' }).toString())
  t.ok(await flattenedVerify({ payload, protected: header, signature }, careless))
})

t.test('a signature of anybody else is none', async t => {
  await refuses(t, await forged(held.bundle, HEADER, other), 'SIGNATURE', 'another key under the name of the root')
  const byOther = await forged(bundleOf([other]), HEADER, other)
  await refuses(t, byOther, 'SIGNATURE', 'the name of a root that is not in the bundle')
  const tampered = { ...signed, payload: Buffer.from(JSON.stringify(bundleOf([root, other]))).toString('base64url') }
  await refuses(t, tampered, 'SIGNATURE', 'another payload under the signature')
  const two = await publish([root, other], [root, other])
  const broken = {
    ...two,
    signatures: [two.signatures[0]!, { ...two.signatures[1]!, signature: two.signatures[0]!.signature }],
  }
  await refuses(t, broken, 'SIGNATURE', 'one that holds beside one that does not')
})

t.test('a payload that breaks a rule is malformed, however well it is signed', async t => {
  const leaf = await issueCertificate({
    authority: await createAuthority({ name: 'x', days: 10, now }),
    commonName: 'x',
    usages: ['server'],
    now,
  })
  const below = await createIntermediate({ root, name: 'below', days: 10, now })
  const ended = await newRoot('ended', { days: 1, now: new Date(now.getTime() - 2 * DAY_MS) })
  const future = await newRoot('future', { now: new Date(now.getTime() + DAY_MS) })
  const good = bundleOf([root])
  const withRoots = (...certificates: string[]) => ({ ...good, certificates })
  const { certificatePem: pem } = root
  const payloads: Record<string, unknown> = {
    'no JSON': 'x',
    'not UTF-8': Buffer.from([0x22, 0xff, 0x22]).toString('latin1'),
    'a list': [],
    'a foreign member': { ...good, expires_at: good.issued_at },
    'a missing member': { ...good, trust_domain: undefined },
    'a version of another ref': { ...good, version: 2, previous_sha256: held.sha256 },
    'a version as text': { ...good, version: '1' },
    'version 0': { ...good, version: 0, ref: 'rap-platform-ca:v0' },
    'a version with a fraction': { ...good, version: 1.5 },
    'a version over the bound': {
      ...good,
      version: 100_001,
      ref: 'rap-platform-ca:v100001',
      previous_sha256: held.sha256,
    },
    'a ref without a version': { ...good, ref: 'rap-platform-ca' },
    'an upper-case trust domain': { ...good, trust_domain: 'RAP.internal' },
    'a trust domain with a path': { ...good, trust_domain: 'rap.internal/a' },
    'a first version with a predecessor': { ...good, previous_sha256: held.sha256 },
    'a later version without one': { ...good, version: 2, ref: 'rap-platform-ca:v2' },
    'a time with an offset': { ...good, issued_at: '2026-11-22T10:00:00+01:00' },
    'no time': { ...good, issued_at: '2026-13-41T10:00:00Z' },
    'no certificates': withRoots(),
    'seventeen certificates': withRoots(...Array(17).fill(pem)),
    'one certificate twice': withRoots(pem, pem),
    'one certificate twice in another spelling': withRoots(pem, pem.replaceAll('\n', '\r\n')),
    'two certificates in one text': withRoots(pem + other.certificatePem),
    'text before a certificate': withRoots(`x\n${pem}`),
    'a certificate over the bound': withRoots(pem + ' '.repeat(16_384)),
    'a private key': withRoots(
      pem,
      generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
    ),
    'bytes after a certificate': withRoots(longer(pem)),
    'a certificate of an end entity': withRoots(pem, leaf.certificatePem),
    'an intermediate': withRoots(pem, below.certificatePem),
    'a root that had ended': withRoots(pem, ended.certificatePem),
    'a root that is not valid yet': withRoots(pem, future.certificatePem),
  }
  for (const [title, payload] of Object.entries(payloads)) {
    const document =
      title === 'not UTF-8'
        ? { payload: Buffer.from([0x22, 0xff, 0x22]).toString('base64url'), signatures: signed.signatures }
        : await forged(payload)
    await refuses(t, document, 'MALFORMED', title)
  }
})

function longer(pem: string): string {
  const der = Buffer.concat([Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64'), Buffer.alloc(3)])
  return `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`
}

t.test('a bundle with a root that ended after its issue is still read: later steps begin there', async t => {
  const short = await newRoot('short', { days: 1 })
  const { pem } = await firstTrustBundle(await publish([short], [short]))
  t.equal(pem, short.certificatePem)
})

t.test('roots of other kinds of keys sign too, each in its own algorithm', async t => {
  const extension = ['-addext', 'keyUsage=critical,keyCertSign']
  const make = ['req', '-x509', '-nodes', '-keyout', '-', '-subj', '/CN=RSA', '-newkey', 'rsa:2048', ...extension]
  const rsa = execFileSync('openssl', make, { encoding: 'utf8', stdio: 'pipe' })
  const ec = await createAuthority({ name: 'P-256', days: 10, now: new Date() })
  for (const [alg, keyPem, certificatePem] of [
    ['ES256', ec.keyPem, ec.certificatePem],
    ['RS256', rsa, rsa.slice(rsa.indexOf('-----BEGIN CERTIFICATE'))],
  ] as const) {
    const pkcs8 = createPrivateKey(keyPem).export({ format: 'der', type: 'pkcs8' })
    const authority = await openAuthority(certificatePem, pkcs8)
    const bundle = bundleOf([authority], undefined, { issued_at: new Date(Date.now() + DAY_MS).toISOString() })
    const document = await signTrustBundle(bundle, [authority])
    t.equal(headerOf(document).alg, alg)
    t.equal((await firstTrustBundle(document)).pem, certificatePem)
  }
})

t.test('what no client would take is not signed', async t => {
  const sign = (bundle: ReturnType<typeof bundleOf>, ...signers: TestRoot[]) => signTrustBundle(bundle, signers)
  await t.rejects(sign(bundleOf([root])), { code: 'ERR_TRUST_BUNDLE_MALFORMED' }, 'without a signer')
  await t.rejects(sign(bundleOf([root]), other), { code: 'ERR_TRUST_BUNDLE_SIGNATURE' }, 'by no root of its own')
  await t.rejects(
    sign(bundleOf([root]), { ...root, privateKey: other.privateKey }),
    { code: 'ERR_TRUST_BUNDLE_SIGNATURE' },
    'by another key',
  )
  await t.rejects(sign(bundleOf([root]), root, { ...other, privateKey: root.privateKey }), {
    code: 'ERR_TRUST_BUNDLE_SIGNATURE',
  })
  await t.rejects(sign(bundleOf([root]), root, root), { code: 'ERR_TRUST_BUNDLE_MALFORMED' }, 'twice by one')
  await t.rejects(
    sign(bundleOf([root], undefined, { issued_at: '2046-01-01T00:00:00Z' }), root),
    { code: 'ERR_TRUST_BUNDLE_MALFORMED' },
    'with a root that has ended',
  )
})
