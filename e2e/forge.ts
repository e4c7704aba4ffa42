import { join } from 'node:path'
import { openLocalKey } from '@rap/key-provider'
import type { Platform } from '@rap/testkit'
import type { DataPlaneClaims, SigningKey } from '@rap/token-claims'
import { decodeJwt, type JWTPayload, SignJWT } from 'jose'
import postgres from 'postgres'

/**
 * The control plane's own signing key, as somebody has it who owns the database and the key file: with it tests make
 * tokens whose signature holds and which are wrong in one claim.
 */
export async function stolenSigningKey(platform: Platform, dir: string): Promise<SigningKey> {
  const sql = postgres(platform.databaseUrls.superuser, { max: 1 })
  try {
    const [row] = await sql`select kid, wrapped_private_key as stored from rap.signing_keys where state = 'active'`
    if (row === undefined) throw new Error('there is no active signing key')
    const file = join(dir, 'signing-key-encryption.key')
    const wrapper = await openLocalKey({ keyId: row.stored.key_id, file })
    const encoded = await wrapper.unwrap(
      Buffer.from(row.stored.wrapped, 'base64'),
      Buffer.from(`rap-signing-key-v1\0${row.kid}`),
    )
    const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
    return {
      kid: row.kid,
      privateKey: await crypto.subtle.importKey('pkcs8', new Uint8Array(encoded), algorithm, false, ['sign']),
    }
  } finally {
    await sql.end()
  }
}

/** A token like `token`, signed with the real key, with claims and header changed. */
export async function bentToken(
  key: SigningKey,
  token: string,
  change: {
    readonly claims?: Partial<Record<keyof DataPlaneClaims, unknown>>
    readonly header?: Record<string, unknown>
  } = {},
): Promise<string> {
  const claims: JWTPayload = {
    ...decodeJwt(token),
    jti: `forged-${crypto.randomUUID()}`,
    ...(change.claims as JWTPayload),
  }
  return await new SignJWT(claims)
    .setProtectedHeader({ alg: 'RS256', typ: 'rap-dp+jwt', kid: key.kid, ...change.header })
    .sign(key.privateKey)
}
