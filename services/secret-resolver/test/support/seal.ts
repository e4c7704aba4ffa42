import { CompactEncrypt, importJWK, type JWK } from 'jose'

export const RDP_PAYLOAD = {
  version: 1,
  protocol: 'rdp',
  username: 'operator',
  domain: 'CORP',
  password: 'correct horse',
}

export interface SealPlace {
  readonly organization_id: string
  readonly resource_id: string
}

/** Seals as docs/protocols/secret-sealing.md says; `header` replaces members of the protected header. */
export async function seal(
  jwk: JWK,
  place: SealPlace,
  { payload = RDP_PAYLOAD, header = {} }: { payload?: unknown; header?: Record<string, unknown> } = {},
): Promise<string> {
  const bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload))
  return await new CompactEncrypt(bytes)
    .setProtectedHeader({
      alg: 'ECDH-ES+A256KW',
      enc: 'A256GCM',
      typ: 'rap-secret+jwe',
      kid: jwk.kid as string,
      organization_id: place.organization_id,
      resource_id: place.resource_id,
      ...header,
    })
    .encrypt(await importJWK(jwk, 'ECDH-ES+A256KW'))
}

/**
 * The same, made by hand from §3 of that page with nothing but WebCrypto: proof that the page says enough, and that
 * nothing rests on one library.
 */
export async function sealByHand(jwk: JWK, place: SealPlace, payload: Uint8Array): Promise<string> {
  const { subtle } = crypto
  const P256 = { name: 'ECDH', namedCurve: 'P-256' }
  const b64url = (bytes: ArrayBuffer | Uint8Array | string) =>
    Buffer.from(bytes as Uint8Array<ArrayBuffer>).toString('base64url')
  const recipient = await subtle.importKey('jwk', { kty: 'EC', crv: 'P-256', x: jwk.x!, y: jwk.y! }, P256, true, [])
  const ephemeral = await subtle.generateKey(P256, true, ['deriveBits'])
  const { kty, crv, x, y } = await subtle.exportKey('jwk', ephemeral.publicKey)
  const header = b64url(
    JSON.stringify({
      alg: 'ECDH-ES+A256KW',
      enc: 'A256GCM',
      typ: 'rap-secret+jwe',
      kid: jwk.kid,
      organization_id: place.organization_id,
      resource_id: place.resource_id,
      epk: { kty, crv, x, y },
    }),
  )
  const shared = await subtle.deriveBits({ name: 'ECDH', public: recipient }, ephemeral.privateKey, 256)
  const number = (value: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return bytes
  }
  const alg = Buffer.from('ECDH-ES+A256KW', 'ascii')
  const kdfInput = [number(1), Buffer.from(shared), number(alg.length), alg, number(0), number(0), number(256)]
  const kek = await subtle.digest('SHA-256', Buffer.concat(kdfInput))
  const cek = await subtle.generateKey({ name: 'AES-GCM', length: 256 }, true, ['encrypt'])
  const wrapping = await subtle.importKey('raw', kek, 'AES-KW', false, ['wrapKey'])
  const encryptedKey = await subtle.wrapKey('raw', cek, wrapping, 'AES-KW')
  const iv = crypto.getRandomValues(new Uint8Array(12))
  const additionalData = new TextEncoder().encode(header)
  const sealed = Buffer.from(
    await subtle.encrypt({ name: 'AES-GCM', iv, additionalData }, cek, payload as Uint8Array<ArrayBuffer>),
  )
  return [header, b64url(encryptedKey), b64url(iv), b64url(sealed.subarray(0, -16)), b64url(sealed.subarray(-16))].join(
    '.',
  )
}
