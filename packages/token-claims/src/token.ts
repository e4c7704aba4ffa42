import { FormatRegistry } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { type CryptoKey, compactVerify, decodeJwt, decodeProtectedHeader, errors, SignJWT } from 'jose'
import { type ClaimsOf, type DataPlaneClaims, PURPOSES, type Purpose } from './claims.ts'
import { TokenError } from './errors.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
if (!FormatRegistry.Has('uuid')) FormatRegistry.Set('uuid', value => UUID.test(value))

/** How far the clocks of two services may be apart, in seconds. */
export const CLOCK_TOLERANCE_SECONDS = 5
/** The one signature algorithm (RFC 7518 §3.3); nothing in a token can choose another. */
export const ALGORITHM = 'RS256'

const HEADER_PARAMETERS = new Set(['alg', 'typ', 'kid'])
const decoder = new TextDecoder('utf-8', { fatal: true })

/** Finds the public key of a `kid`, or answers undefined; the caller decides where keys come from. */
export type KeyLookup = (kid: string) => Promise<CryptoKey | undefined> | CryptoKey | undefined

/** A private signing key and the `kid` that names its public half. */
export interface SigningKey {
  readonly kid: string
  readonly privateKey: CryptoKey
}

/** The claims of a purpose without those that `signToken` sets itself. */
export type UnsignedClaims<P extends Purpose> = Omit<ClaimsOf<P>, 'iss' | 'aud' | 'iat' | 'nbf' | 'exp' | 'jti'>

export interface SignOptions {
  readonly key: SigningKey
  readonly issuer: string
  readonly jti: string
  /** The caller's clock, seconds since the epoch. */
  readonly nowSeconds: number
  /** At most the purpose's maximum. */
  readonly lifetimeSeconds: number
}

/**
 * Signs a token of one purpose (RFC 7515 compact serialization).
 * Throws TokenError ERR_TOKEN_CLAIMS, ERR_TOKEN_LIFETIME, ERR_TOKEN_TOO_LARGE: what could not be verified is not signed either.
 */
export async function signToken<P extends Purpose>(
  purpose: P,
  claims: UnsignedClaims<P>,
  options: SignOptions,
): Promise<string> {
  const { typ, aud, maxLifetimeSeconds, maxCharacters } = PURPOSES[purpose]
  if (!(0 < options.lifetimeSeconds && options.lifetimeSeconds <= maxLifetimeSeconds)) {
    throw new TokenError('ERR_TOKEN_LIFETIME', 'lifetime is over the bound of the purpose', 'exp')
  }
  const whole = {
    ...claims,
    iss: options.issuer,
    aud,
    iat: options.nowSeconds,
    nbf: options.nowSeconds,
    exp: options.nowSeconds + options.lifetimeSeconds,
    jti: options.jti,
  }
  checkClaims(purpose, whole)
  const token = await new SignJWT(whole)
    .setProtectedHeader({ alg: ALGORITHM, typ, kid: options.key.kid })
    .sign(options.key.privateKey)
  checkSize(token, maxCharacters)
  return token
}

export interface VerifyOptions {
  readonly keys: KeyLookup
  readonly issuer: string
  readonly nowSeconds: number
}

/**
 * Verifies a token of one purpose and returns its claims (RFC 7519 §7.2, RFC 8725).
 *
 * The header may hold `alg`, `typ` and `kid` and nothing else, so `jwk`, `jku`, `x5u` and `crit` never steer the choice of a key.
 * Throws TokenError. INVARIANT: a token is valid for one purpose and one audience.
 */
export async function verifyToken<P extends Purpose>(
  purpose: P,
  token: string,
  options: VerifyOptions,
): Promise<ClaimsOf<P>> {
  const { typ, aud, maxLifetimeSeconds, maxCharacters } = PURPOSES[purpose]
  checkSize(token, maxCharacters)
  const header = readHeader(token)
  if (header.alg !== ALGORITHM) throw new TokenError('ERR_TOKEN_HEADER', 'algorithm is not the pinned one', 'alg')
  if (header.typ !== typ) throw new TokenError('ERR_TOKEN_HEADER', 'type is not the one of this purpose', 'typ')
  if (typeof header.kid !== 'string' || header.kid.length > 128)
    throw new TokenError('ERR_TOKEN_HEADER', 'key id is missing', 'kid')
  const key = await options.keys(header.kid)
  if (key === undefined) throw new TokenError('ERR_TOKEN_UNKNOWN_KEY', 'no such key', 'kid')

  const claims = await readSignedPayload(token, key)
  const time = timesOf(claims)
  if (claims.aud !== aud) throw new TokenError('ERR_TOKEN_AUDIENCE', 'audience is another', 'aud')
  if (claims.iss !== options.issuer) throw new TokenError('ERR_TOKEN_ISSUER', 'issuer is another', 'iss')
  if (time.exp - time.iat > maxLifetimeSeconds)
    throw new TokenError('ERR_TOKEN_LIFETIME', 'lifetime is over the bound of the purpose', 'exp')
  if (options.nowSeconds >= time.exp + CLOCK_TOLERANCE_SECONDS)
    throw new TokenError('ERR_TOKEN_EXPIRED', 'token has expired', 'exp')
  if (options.nowSeconds < Math.max(time.nbf, time.iat) - CLOCK_TOLERANCE_SECONDS) {
    throw new TokenError('ERR_TOKEN_NOT_YET_VALID', 'token is not valid yet', 'nbf')
  }
  checkClaims(purpose, claims)
  return claims as ClaimsOf<P>
}

/** The `jti` of a token that somebody else verifies; '' where there is none. Decides nothing. */
export function decodeJti(token: string): string {
  try {
    const { jti } = decodeJwt(token)
    return typeof jti === 'string' ? jti : ''
  } catch {
    return ''
  }
}

/** The certificate thumbprint (`cnf.x5t#S256`, RFC 8705 §3.1) of a token that somebody else verifies; '' where there is none. */
export function decodeThumbprint(token: string): string {
  try {
    const { cnf } = decodeJwt<{ cnf?: { 'x5t#S256'?: unknown } }>(token)
    const thumbprint = cnf?.['x5t#S256']
    return typeof thumbprint === 'string' ? thumbprint : ''
  } catch {
    return ''
  }
}

function checkSize(token: string, maxCharacters: number): void {
  if (typeof token !== 'string' || token.length > maxCharacters) {
    throw new TokenError('ERR_TOKEN_TOO_LARGE', 'token is over the bound')
  }
}

function readHeader(token: string): Record<string, unknown> {
  try {
    const header: Record<string, unknown> = { ...decodeProtectedHeader(token) }
    const foreign = Object.keys(header).find(name => !HEADER_PARAMETERS.has(name))
    if (foreign !== undefined) throw new TokenError('ERR_TOKEN_HEADER', 'header parameter is not allowed')
    return header
  } catch (cause) {
    if (cause instanceof TokenError) throw cause
    throw new TokenError('ERR_TOKEN_MALFORMED', 'token is not a compact JWS')
  }
}

async function readSignedPayload(token: string, key: CryptoKey): Promise<Record<string, unknown>> {
  let payload: Uint8Array
  try {
    payload = (await compactVerify(token, key, { algorithms: [ALGORITHM] })).payload
  } catch (cause) {
    const code = cause instanceof errors.JWSSignatureVerificationFailed ? 'ERR_TOKEN_SIGNATURE' : 'ERR_TOKEN_MALFORMED'
    throw new TokenError(code, 'signature does not verify')
  }
  try {
    const claims: unknown = JSON.parse(decoder.decode(payload))
    if (typeof claims === 'object' && claims !== null && !Array.isArray(claims))
      return claims as Record<string, unknown>
  } catch {
    // The refusal below says it all.
  }
  throw new TokenError('ERR_TOKEN_MALFORMED', 'payload is not a JSON object')
}

function timesOf(claims: Record<string, unknown>): { iat: number; nbf: number; exp: number } {
  const { iat, nbf, exp } = claims
  for (const [field, value] of [
    ['iat', iat],
    ['nbf', nbf],
    ['exp', exp],
  ] as const) {
    if (!Number.isSafeInteger(value)) throw new TokenError('ERR_TOKEN_CLAIMS', 'time is not an integer', field)
  }
  return { iat: iat as number, nbf: nbf as number, exp: exp as number }
}

function checkClaims(purpose: Purpose, claims: unknown): void {
  const schema = PURPOSES[purpose].claims
  if (Value.Check(schema, claims)) return
  const first = Value.Errors(schema, claims).First()
  throw new TokenError('ERR_TOKEN_CLAIMS', 'claims are not those of this purpose', first?.path)
}

/** The requested channels that the token does not allow; empty where all are allowed. */
export function channelsBeyond(
  claims: Pick<DataPlaneClaims, 'allowed_channels'>,
  requested: readonly string[],
): string[] {
  const allowed = new Set<string>(claims.allowed_channels)
  return requested.filter(channel => !allowed.has(channel))
}
