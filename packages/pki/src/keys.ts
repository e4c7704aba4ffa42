import { createPrivateKey, createPublicKey, type KeyObject, webcrypto } from 'node:crypto'
import { PkiError } from './errors.ts'

/** `ec` is ECDSA on P-256; `rsa` is RSA with 2048 bits, for peers that cannot do ECDSA. */
export type KeyType = 'ec' | 'rsa'

export interface KeyPair {
  readonly privateKey: webcrypto.CryptoKey
  readonly publicKey: webcrypto.CryptoKey
  /** PKCS#8. */
  readonly privateKeyPem: string
  readonly type: KeyType
}

export type ImportAlgorithm = webcrypto.EcKeyImportParams | webcrypto.RsaHashedImportParams

const RSA: webcrypto.RsaHashedImportParams = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
export const P256: webcrypto.EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-256' }
export const P384: webcrypto.EcKeyGenParams = { name: 'ECDSA', namedCurve: 'P-384' }
const MIN_RSA_BITS = 2048
/** FIPS 186-5 §5.4: signatures under a smaller exponent can be forged without the key; under 1 by anybody. */
const MIN_RSA_EXPONENT = 65_537n
const EC_CURVES: Readonly<Record<string, string>> = { prime256v1: 'P-256', secp384r1: 'P-384' }

export async function generateKeyPair(type: KeyType): Promise<KeyPair> {
  const algorithm =
    type === 'ec' ? P256 : { ...RSA, modulusLength: MIN_RSA_BITS, publicExponent: Uint8Array.of(1, 0, 1) }
  const { privateKey, publicKey } = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey))
  const pem = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' })
  return { privateKey, publicKey, privateKeyPem: pem.toString(), type }
}

/** Reads a private key (PKCS#8, SEC 1 or PKCS#1 PEM). Throws PkiError INVALID_KEY: only EC P-256/P-384 and RSA ≥ 2048. */
export async function importKeyPair(privateKeyPem: string): Promise<KeyPair> {
  let key: KeyObject
  try {
    key = createPrivateKey(privateKeyPem)
  } catch {
    // The cause is left out: an error of the parser may quote its input.
    throw new PkiError('ERR_PKI_INVALID_KEY', 'not a private key')
  }
  const algorithm = algorithmOf(key)
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
    privateKeyPem: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    type: key.asymmetricKeyType === 'rsa' ? 'rsa' : 'ec',
  }
}

/** The WebCrypto algorithm of a key. Throws PkiError INVALID_KEY: only EC P-256/P-384 and RSA ≥ 2048. */
export function algorithmOf(key: KeyObject, field = 'keyPem'): ImportAlgorithm {
  const { namedCurve = '', modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  const isStrongRsa = modulusLength >= MIN_RSA_BITS && publicExponent >= MIN_RSA_EXPONENT
  if (key.asymmetricKeyType === 'rsa' && isStrongRsa) return RSA
  const curve = key.asymmetricKeyType === 'ec' ? EC_CURVES[namedCurve] : undefined
  if (curve === undefined) throw new PkiError('ERR_PKI_INVALID_KEY', 'unsupported kind of key', { field })
  return { name: 'ECDSA', namedCurve: curve }
}

/** What a key signs certificates and requests with: the hash that is as strong as the key. */
export function signatureAlgorithmOf(key: webcrypto.CryptoKey): { name: string; hash: string } {
  const { name, namedCurve } = key.algorithm as webcrypto.EcKeyAlgorithm
  return { name, hash: namedCurve === 'P-384' ? 'SHA-384' : 'SHA-256' }
}
