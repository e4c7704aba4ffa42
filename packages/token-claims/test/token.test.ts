import { DEFAULT_LIMITS } from '@rap/session-policy'
import { CompactSign, exportSPKI, importJWK, SignJWT } from 'jose'
import t from 'tap'
import {
  channelsBeyond,
  MAX_TARGET_AUTHORITY_CHARACTERS,
  MAX_TARGET_PINS,
  signToken,
  TokenError,
  type UnsignedClaims,
  verifyToken,
} from '../src/index.ts'
import { dataPlaneClaims, ISSUER, JTI, keysOf, NOW, place, signer } from './helper.ts'

const key = await signer()
const other = await signer()
const keys = await keysOf(key.publicKey)
const options = { keys, issuer: ISSUER, nowSeconds: NOW }
const signing = { key, issuer: ISSUER, jti: JTI, nowSeconds: NOW, lifetimeSeconds: 60 }
const token = await signToken('data_plane', dataPlaneClaims(), signing)

/** A token signed with the right key whose claims and header a test bends. */
async function bent(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
  const whole = {
    ...dataPlaneClaims(),
    iss: ISSUER,
    aud: 'rap-data-plane',
    iat: NOW,
    nbf: NOW,
    exp: NOW + 60,
    jti: JTI,
    ...claims,
  }
  return await new SignJWT(whole)
    .setProtectedHeader({ alg: 'RS256', typ: 'rap-dp+jwt', kid: key.kid, ...header })
    .sign(key.privateKey)
}

t.test('a signed token verifies to the claims that were signed', async t => {
  t.match(await verifyToken('data_plane', token, options), {
    ...dataPlaneClaims(),
    iss: ISSUER,
    exp: NOW + 60,
    jti: JTI,
  })
})

t.test('a token is valid from its issue to its expiry, give or take the clock tolerance', async t => {
  for (const [nowSeconds, code] of [
    [NOW - 6, 'ERR_TOKEN_NOT_YET_VALID'],
    [NOW - 5, undefined],
    [NOW + 64, undefined],
    [NOW + 65, 'ERR_TOKEN_EXPIRED'],
  ] as const) {
    const verified = verifyToken('data_plane', token, { ...options, nowSeconds })
    await (code === undefined ? t.resolves(verified) : t.rejects(verified, { code }, `at ${nowSeconds - NOW}`))
  }
})

t.test('a token of one purpose opens no other', async t => {
  const lease = await signToken(
    'lease',
    { ...place, lease_id: place.session_id, secret_ref: null, cnf: { 'x5t#S256': 'b'.repeat(43) } },
    { ...signing, lifetimeSeconds: 120 },
  )
  await t.rejects(verifyToken('data_plane', lease, options), { code: 'ERR_TOKEN_HEADER', field: 'typ' })
  await t.rejects(verifyToken('lease', token, options), { code: 'ERR_TOKEN_HEADER', field: 'typ' })
  await t.rejects(verifyToken('data_plane', await bent({ aud: 'rap-secret-resolver' }), options), {
    code: 'ERR_TOKEN_AUDIENCE',
  })
})

t.test('each bent token is refused for its own reason', async t => {
  const cases: [string, Promise<string>, string][] = [
    ['foreign issuer', bent({ iss: 'https://other' }), 'ERR_TOKEN_ISSUER'],
    ['life longer than the purpose allows', bent({ exp: NOW + 61 }), 'ERR_TOKEN_LIFETIME'],
    ['no expiry', bent({ exp: undefined }), 'ERR_TOKEN_CLAIMS'],
    ['fractional time', bent({ iat: NOW + 0.5 }), 'ERR_TOKEN_CLAIMS'],
    ['unknown claim', bent({ admin: true }), 'ERR_TOKEN_CLAIMS'],
    ['unknown channel', bent({ allowed_channels: ['display', 'printer'] }), 'ERR_TOKEN_CLAIMS'],
    ['no key confirmation', bent({ cnf: {} }), 'ERR_TOKEN_CLAIMS'],
    ['unknown kid', bent({}, { kid: 'nobody' }), 'ERR_TOKEN_UNKNOWN_KEY'],
    ['wrong typ', bent({}, { typ: 'JWT' }), 'ERR_TOKEN_HEADER'],
    ['jku header', bent({}, { jku: 'https://evil.example/jwks.json' }), 'ERR_TOKEN_HEADER'],
    ['x5u header', bent({}, { x5u: 'https://evil.example/cert' }), 'ERR_TOKEN_HEADER'],
    ['jwk header', bent({}, { jwk: { kty: 'RSA', n: 'AQAB', e: 'AQAB' } }), 'ERR_TOKEN_HEADER'],
  ]
  for (const [name, made, code] of cases)
    await t.rejects(verifyToken('data_plane', await made, options), { code }, name)
})

t.test('a signature by another key is refused', async t => {
  const forged = await signToken('data_plane', dataPlaneClaims(), { ...signing, key: { ...other, kid: key.kid } })
  await t.rejects(verifyToken('data_plane', forged, options), { code: 'ERR_TOKEN_SIGNATURE' })
})

t.test('the algorithm is pinned: none, and HS256 keyed with the public key, are refused', async t => {
  const [, payload] = token.split('.')
  const header = Buffer.from(JSON.stringify({ alg: 'none', typ: 'rap-dp+jwt', kid: key.kid })).toString('base64url')
  await t.rejects(verifyToken('data_plane', `${header}.${payload}.`, options), {
    code: 'ERR_TOKEN_HEADER',
    field: 'alg',
  })
  const hmac = new TextEncoder().encode(await exportSPKI(key.publicKey))
  const confused = await new CompactSign(Buffer.from(payload ?? '', 'base64url'))
    .setProtectedHeader({ alg: 'HS256', typ: 'rap-dp+jwt', kid: key.kid })
    .sign(await importJWK({ kty: 'oct', k: Buffer.from(hmac).toString('base64url') }, 'HS256'))
  await t.rejects(verifyToken('data_plane', confused, options), { code: 'ERR_TOKEN_HEADER', field: 'alg' })
})

t.test('a token cut at any character, or over the bound, is refused and nothing else happens', async t => {
  for (let size = 0; size < token.length; size++) {
    await verifyToken('data_plane', token.slice(0, size), options).then(
      () => t.fail(`${size} characters verified`),
      error => error instanceof TokenError || t.fail(`${size}: ${String(error)}`),
    )
  }
  await t.rejects(verifyToken('data_plane', 'a'.repeat(12_289), options), { code: 'ERR_TOKEN_TOO_LARGE' })
})

t.test('signing refuses what verification would refuse', async t => {
  await t.rejects(signToken('data_plane', dataPlaneClaims(), { ...signing, lifetimeSeconds: 61 }), {
    code: 'ERR_TOKEN_LIFETIME',
  })
  await t.rejects(signToken('data_plane', { ...dataPlaneClaims(), session_id: 'x' }, signing), {
    code: 'ERR_TOKEN_CLAIMS',
  })
})

t.test(
  'the longest order that the claims allow is signed and verified, and one with longer authorities is not',
  async t => {
    const pins = Array.from({ length: MAX_TARGET_PINS }, (_, index) => index.toString(16).repeat(64))
    const order = (authorities: string[]): UnsignedClaims<'assignment'> => ({
      ...place,
      assignment_id: place.session_id,
      user_id: place.session_id,
      lease_id: place.session_id,
      lease_token: 'x'.repeat(4096),
      secret_ref: `rap-secret://org/${place.organization_id}/resources/${place.resource_id}/rdp-primary`,
      allowed_channels: ['display', 'input'],
      limits: {
        ...DEFAULT_LIMITS,
        upload_extensions: Array.from({ length: 100 }, (_, index) => String(index).padStart(16, 'x')),
      },
      bind_urls: Array.from({ length: 4 }, () => `wss://${'h'.repeat(506)}`),
      target: {
        protocol: 'rdp',
        address: 'a'.repeat(300),
        certificate_verification_mode: 'strict',
        certificate_pins: pins,
        public_key_pins: pins,
        certificate_authorities: authorities,
        security: 'auto',
        render_quality_profile: 'balanced',
      },
    })
    const longest = [MAX_TARGET_AUTHORITY_CHARACTERS - 8, 4, 4].map(length => 'A'.repeat(length))
    const signed = await signToken('assignment', order(longest), signing)
    t.match(await verifyToken('assignment', signed, options), { target: { certificate_authorities: longest } })
    const beyond = Array.from({ length: 3 }, () => 'A'.repeat(MAX_TARGET_AUTHORITY_CHARACTERS))
    await t.rejects(signToken('assignment', order(beyond), signing), {
      code: 'ERR_TOKEN_TOO_LARGE',
    })
    const refused = [['A'.repeat(MAX_TARGET_AUTHORITY_CHARACTERS + 1)], ['AAAA', 'AAAA', 'AAAA', 'AAAA'], [], ['-----']]
    for (const authorities of refused) {
      await t.rejects(signToken('assignment', order(authorities), signing), { code: 'ERR_TOKEN_CLAIMS' })
    }
  },
)

t.test('no refusal repeats the token or a claim', async t => {
  const secretish = await bent({ admin: 'canary-value' })
  const error = await verifyToken('data_plane', secretish, options).catch((error: TokenError) => error)
  t.notMatch(JSON.stringify([String(error), (error as TokenError).field]), 'canary-value')
})

t.test('channelsBeyond names what the token does not allow', async t => {
  t.same(channelsBeyond({ allowed_channels: ['display'] }, ['display', 'input']), ['input'])
  t.same(channelsBeyond({ allowed_channels: ['display', 'input'] }, ['display']), [])
})
