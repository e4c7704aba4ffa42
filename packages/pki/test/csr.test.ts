import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { canonicalIpAddress, createCsr, readCsr } from '../src/index.ts'
import { openssl } from './openssl.ts'

const ID = 'spiffe://rap.internal/worker/1'

interface Request {
  readonly subject?: string
  readonly extensions?: string
  readonly digest?: string
  readonly key?: string
}

const ecKey = openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']).output

/** A request as openssl makes it, with what this package would never write. */
function forged({ subject = 'CN=w', extensions = '', digest = 'sha256', key = ecKey }: Request): string {
  const ext = extensions === '' ? '' : `req_extensions=ext\n[ext]\n${extensions}\n`
  const config = `[req]\ndistinguished_name=dn\nprompt=no\nutf8=yes\n${ext}[dn]\n${subject}\n`
  const { code, output } = openssl(['req', '-new', '-key', 'key', '-config', 'config', `-${digest}`], {
    config,
    key,
  })
  if (code !== 0) throw new Error(output)
  return output
}

const pem = (der: Buffer, label = 'CERTIFICATE REQUEST') =>
  `-----BEGIN ${label}-----\n${der.toString('base64').replace(/.{64}/g, '$&\n')}\n-----END ${label}-----\n`
const derOf = (text: string) => Buffer.from(text.replace(/-----[^-]+-----|\s/g, ''), 'base64')

t.test('a request carries its key and names, and openssl verifies it', async t => {
  const names = { dnsNames: ['W.example'], ipAddresses: ['192.0.2.1', '2001:DB8::0:1'], uris: [ID] }
  const { csrPem, keyPem } = await createCsr({ commonName: 'worker', ...names })
  const { code, output } = openssl(['req', '-in', 'r.pem', '-verify', '-noout', '-text'], { 'r.pem': csrPem })
  t.equal(code, 0)
  t.match(output, /ASN1 OID: prime256v1/)
  const spki = createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' })
  const read = await readCsr(csrPem)
  t.ok(spki.equals(read.spki))
  t.match(read, {
    keySha256: createHash('sha256').update(spki).digest('base64url'),
    commonName: 'worker',
    dnsNames: ['w.example'],
    ipAddresses: ['192.0.2.1', '2001:db8::1'],
    uris: [ID],
  })
})

t.test('names come back as they went in, whichever they are', async t => {
  const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/)
  const names = fc.record({
    commonName: fc.string({ minLength: 1, maxLength: 64 }).filter(text => !/\p{Cc}/u.test(text)),
    dnsNames: fc.array(
      fc.array(label, { minLength: 1, maxLength: 4 }).map(labels => labels.join('.')),
      { maxLength: 5 },
    ),
    ipAddresses: fc.array(
      fc.oneof(
        fc.ipV4(),
        fc.ipV6(),
        fc.ipV4().map(v4 => `::ffff:${v4}`),
      ),
      { maxLength: 5 },
    ),
    uris: fc.array(
      label.map(id => `spiffe://rap.internal/worker/${id}`),
      { maxLength: 3 },
    ),
  })
  await fc.assert(
    fc.asyncProperty(names, async given => {
      const read = await readCsr((await createCsr(given)).csrPem)
      t.match(read, { ...given, ipAddresses: given.ipAddresses.map(canonicalIpAddress) })
      t.same(read.ipAddresses.map(canonicalIpAddress), read.ipAddresses)
    }),
    { numRuns: 40 },
  )
})

t.test('requests of other tools are read', async t => {
  for (const [digest, args] of [
    ['sha256', ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']],
    ['sha512', ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:3072']],
    ['sha384', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384']],
    ['sha256', ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384']],
  ] as const) {
    const key = openssl(['genpkey', '-quiet', ...args]).output.replace(/^[.+*\s]*(?=-----)/, '')
    const extensions = `subjectAltName=DNS:a.example,URI:${ID}\nkeyUsage=digitalSignature\nbasicConstraints=CA:FALSE`
    const read = await readCsr(forged({ subject: 'O=org\nCN=w', extensions, digest, key }))
    t.match(read, { commonName: 'w', dnsNames: ['a.example'], uris: [ID], ipAddresses: [] }, args.join(' '))
  }
  t.match(await readCsr(forged({ subject: 'O=org' })), { commonName: undefined, dnsNames: [], uris: [] })
})

t.test('a request that is malformed, weak or asks for too much is refused', async t => {
  const key = (options: object) =>
    generateKeyPairSync('rsa', { modulusLength: 2048, ...options }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  const good = forged({ extensions: `subjectAltName=DNS:a.example,URI:${ID}` })
  const explicit = openssl(['ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-param_enc', 'explicit']).output
  const ed25519 = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const p521 = openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521']).output
  const san = (name: string) => forged({ extensions: `subjectAltName=${name}` })
  const requests: Record<string, string> = {
    nothing: '',
    'no PEM': 'hello',
    'another label': good.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'),
    'two of them': good + good,
    'text before it': `subject=CN=w\n${good}`,
    'over 8 KiB': good + ' '.repeat(8192),
    'bytes after it': pem(Buffer.concat([derOf(good), Buffer.from([0])])),
    'an indefinite length': pem(Buffer.concat([Buffer.from([0x30, 0x80]), derOf(good).subarray(4), Buffer.alloc(2)])),
    'deep nesting': pem(Buffer.concat([Buffer.from([0x30, 0x82, 0x10, 0x00]), Buffer.alloc(4096, 0x30)])),
    'an RSA key of 1024 bits': forged({ key: key({ modulusLength: 1024 }).toString() }),
    'an RSA key with exponent 3': forged({ key: key({ publicExponent: 3 }).toString() }),
    Ed25519: forged({ key: ed25519, digest: 'sha256' }),
    'P-521': forged({ key: p521 }),
    'explicit curve parameters': forged({ key: explicit }),
    'a signature with SHA-1': forged({ digest: 'sha1' }),
    'CA:TRUE': forged({ extensions: 'basicConstraints=CA:TRUE' }),
    'a mail address': san('email:a@a.example'),
    'another kind of name': san('otherName:1.2.3.4;UTF8:x'),
    'a directory name': forged({ extensions: 'subjectAltName=dirName:d\n[d]\nCN=x' }),
    'a DNS name with a comma': forged({ extensions: `subjectAltName=@n\n[n]\nDNS=a.example, URI:${ID}` }),
    'a wildcard over a top domain': san('DNS:*.example'),
    'a URI with a comma': forged({ extensions: `subjectAltName=@n\n[n]\nURI=${ID},x` }),
    'an address of five bytes': forged({ extensions: 'subjectAltName=DER:30078705c000020101' }),
    'a broken extension': forged({ extensions: 'subjectAltName=DER:3003820161ff' }),
    'two extensions of names': forged({ extensions: 'subjectAltName=DNS:a.example\n2.5.29.17=DER:300382016a' }),
    'two common names': forged({ subject: '0.CN=a\n1.CN=b' }),
    'a hundred and one names': san(Array.from({ length: 101 }, (_, at) => `DNS:${at}.example`).join(',')),
  }
  for (const [title, request] of Object.entries(requests)) {
    await t.rejects(readCsr(request), { code: 'ERR_PKI_INVALID_CSR' }, title)
  }
  await t.rejects(readCsr(undefined as unknown as string), { code: 'ERR_PKI_INVALID_CSR' }, 'not even text')
})

t.test('a request for the key of somebody else is refused', async t => {
  const mine = derOf(forged({}))
  const theirs = openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256']).output
  const point = createPublicKey(createPrivateKey(theirs)).export({ type: 'spki', format: 'der' })
  const own = createPublicKey(createPrivateKey(ecKey)).export({ type: 'spki', format: 'der' })
  const at = mine.indexOf(own)
  t.ok(at > 0)
  point.copy(mine, at)
  await t.rejects(readCsr(pem(mine)), { code: 'ERR_PKI_INVALID_CSR', facts: { field: 'signature' } })
})

t.test('a request with any bit turned is refused, or is the same request', async t => {
  const text = forged({ extensions: `subjectAltName=DNS:a.example,IP:192.0.2.1,URI:${ID}` })
  const good = await readCsr(text)
  const der = derOf(text)
  let refusals = 0
  for (let bit = 0; bit < der.length * 8; bit += 13) {
    const turned = Buffer.from(der)
    turned.writeUInt8(turned.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    try {
      t.same(await readCsr(pem(turned)), good, `bit ${bit}`)
    } catch (err) {
      if ((err as { code?: string }).code !== 'ERR_PKI_INVALID_CSR') throw err
      refusals++
    }
  }
  t.ok(refusals > (der.length * 8) / 13 - 10, `${refusals} refusals`)
})

t.test('a certificate is no request', async t => {
  const { output } = openssl(['req', '-x509', '-key', 'key', '-subj', '/CN=x'], { key: ecKey })
  t.ok(new X509Certificate(output))
  await t.rejects(readCsr(output.replaceAll('CERTIFICATE', 'CERTIFICATE REQUEST')), { code: 'ERR_PKI_INVALID_CSR' })
})

t.test('a request may name nobody, and leave the names to whoever issues', async t => {
  const { csrPem } = await createCsr()
  const { commonName, dnsNames, ipAddresses, uris } = await readCsr(csrPem)
  t.same(
    { commonName, dnsNames, ipAddresses, uris },
    { commonName: undefined, dnsNames: [], ipAddresses: [], uris: [] },
  )
  t.equal(openssl(['req', '-in', 'r.pem', '-verify', '-noout'], { 'r.pem': csrPem }).code, 0)
})
