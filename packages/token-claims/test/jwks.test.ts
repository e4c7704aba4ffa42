import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { exportSPKI } from 'jose'
import t from 'tap'
import { keyLookupOf, keyLookupOfPem, MAX_KEYS, publicJwkOf, signToken, verifyToken } from '../src/index.ts'
import { dataPlaneClaims, ISSUER, JTI, NOW, signer } from './helper.ts'

const key = await signer()
const jwk = await publicJwkOf(key.publicKey)

t.test('a published key holds no private member and is named by its thumbprint', async t => {
  t.same(Object.keys(jwk).sort(), ['alg', 'e', 'kid', 'kty', 'n', 'use'])
  t.equal(jwk.kid, key.kid)
})

t.test('a key set is turned into a lookup that leaves foreign keys out', async t => {
  const lookup = await keyLookupOf({
    keys: [
      jwk,
      { kty: 'oct', k: 'AAAA', kid: 'hmac', alg: 'RS256', use: 'sig' },
      { ...jwk, kid: 'enc', use: 'enc' },
      { ...jwk, kid: 'other-alg', alg: 'RS512' },
      { ...jwk, kid: 'small', n: 'AQAB' },
      { ...jwk, kid: 'padded', n: Buffer.concat([Buffer.alloc(256), Buffer.from('AQAB')]).toString('base64url') },
      { ...jwk, kid: 'exponent of 1', e: 'AQ' },
      { ...jwk, kid: 'no number', n: 7 },
      { ...jwk, kid: 'private', d: 'AQAB' },
    ],
  })
  t.same(lookup.kids, [key.kid])
  t.equal(await lookup('enc'), undefined)
})

t.test('what is not a key set is refused', async t => {
  for (const document of [null, 'x', [], {}, { keys: 'x' }, { keys: Array.from({ length: 17 }, () => jwk) }]) {
    await t.rejects(keyLookupOf(document), { code: 'ERR_TOKEN_MALFORMED' })
  }
})

t.test('a worker with a PEM file alone verifies the tokens of that key', async t => {
  const keys = await keyLookupOfPem(await exportSPKI(key.publicKey))
  const token = await signToken('data_plane', dataPlaneClaims(), {
    key,
    issuer: ISSUER,
    jti: JTI,
    nowSeconds: NOW,
    lifetimeSeconds: 60,
  })
  await t.resolves(verifyToken('data_plane', token, { keys, issuer: ISSUER, nowSeconds: NOW }))
})

const spki = { type: 'spki', format: 'pem' } as const
const pkcs8 = { type: 'pkcs8', format: 'pem' } as const

t.test('a text may hold several keys, with remarks and line ends of any kind between them', async t => {
  const another = await signer()
  const text = `# next\r\n${(await exportSPKI(another.publicKey)).replaceAll('\n', '\r\n')}\r\n# active\n${await exportSPKI(key.publicKey)}`
  t.same(new Set((await keyLookupOfPem(text)).kids), new Set([key.kid, another.kid]))
  t.same((await keyLookupOfPem((await exportSPKI(key.publicKey)).repeat(2))).kids, [key.kid], 'twice is once')
})

t.test('a private key among the public ones is refused in every form, and nothing of it is repeated', async t => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const encrypted = { cipher: 'aes-256-cbc', passphrase: 'x' } as const
  const forms = {
    'PKCS#8': privateKey.export(pkcs8),
    'PKCS#1': privateKey.export({ type: 'pkcs1', format: 'pem' }),
    encrypted: privateKey.export({ ...pkcs8, ...encrypted }),
    'an old encrypted one': privateKey.export({ type: 'pkcs1', format: 'pem', ...encrypted }),
    'of another kind': generateKeyPairSync('ed25519').privateKey.export(pkcs8),
    'in small letters': String(privateKey.export(pkcs8)).replaceAll('PRIVATE KEY', 'private key'),
  }
  for (const [name, form] of Object.entries(forms)) {
    const error = await keyLookupOfPem(`${await exportSPKI(key.publicKey)}\n${form}`).catch((thrown: Error) => thrown)
    t.match(error, { code: 'ERR_VERIFICATION_KEY_PRIVATE' }, name)
    const told = JSON.stringify([String(error), error])
    t.notOk(
      String(form)
        .split('\n')
        .some(line => line.length > 20 && !line.startsWith('-----') && told.includes(line)),
      `${name} is not repeated`,
    )
  }
})

t.test('a text with anything but strong RSA public keys is refused whole', async t => {
  const good = await exportSPKI(key.publicKey)
  const { publicKey: rsa } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwkOfRsa = rsa.export({ format: 'jwk' })
  const cases: [string, string, string][] = [
    ['nothing', '', 'ERR_VERIFICATION_KEY_COUNT'],
    ['words', 'no key here', 'ERR_VERIFICATION_KEY_COUNT'],
    ['PKCS#1', String(rsa.export({ type: 'pkcs1', format: 'pem' })), 'ERR_VERIFICATION_KEY_INVALID'],
    [
      'EC',
      String(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export(spki)),
      'ERR_VERIFICATION_KEY_INVALID',
    ],
    ['broken', good.replace(/\n.{20}/, '\nAAAA'), 'ERR_VERIFICATION_KEY_INVALID'],
    ['cut off', good.slice(0, 200), 'ERR_VERIFICATION_KEY_INVALID'],
    ['cut off behind a good one', `${good}${good.slice(0, 200)}`, 'ERR_VERIFICATION_KEY_INVALID'],
    [
      '1024 bits',
      String(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export(spki)),
      'ERR_VERIFICATION_KEY_WEAK',
    ],
    [
      'an exponent of 3',
      String(generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).publicKey.export(spki)),
      'ERR_VERIFICATION_KEY_WEAK',
    ],
    [
      'an exponent of 1',
      String(createPublicKey({ key: { ...jwkOfRsa, e: 'AQ' }, format: 'jwk' }).export(spki)),
      'ERR_VERIFICATION_KEY_WEAK',
    ],
    ['too long', good + ' '.repeat(20_000), 'ERR_VERIFICATION_KEY_INVALID'],
  ]
  for (const [name, text, code] of cases) {
    await t.rejects(keyLookupOfPem(text), { code }, name)
    if (code !== 'ERR_VERIFICATION_KEY_COUNT') {
      await t.rejects(keyLookupOfPem(`${good}\n${text}`), { code }, `${name}, beside a good one`)
    }
  }
  const many = Array.from({ length: MAX_KEYS + 1 }, () => generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey)
  const all = many.map(each => String(each.export(spki)))
  await t.rejects(keyLookupOfPem(all.join('')), { code: 'ERR_VERIFICATION_KEY_COUNT' }, 'one too many')
  t.equal((await keyLookupOfPem(all.slice(1).join(''))).kids.length, MAX_KEYS)
})
