import { createHash, createPublicKey } from 'node:crypto'
import { sequenceTags } from './der.ts'
import { PkiError } from './errors.ts'
import { algorithmOf, generateKeyPair, signatureAlgorithmOf } from './keys.ts'
import { x509 } from './library.ts'
import { readPemBlock } from './pem.ts'
import {
  canonicalIpAddress,
  commonNameSubject,
  isDnsName,
  isUri,
  MAX_COMMON_NAME_CHARACTERS,
  type SubjectNames,
  subjectAlternativeNames,
} from './subject-names.ts'

/** Longest PEM of a request that is looked at, in characters (8 KiB). */
export const MAX_CSR_CHARACTERS = 8192
/** Most names in one request. */
const MAX_NAMES = 100
const EXTENSION_REQUEST = '1.2.840.113549.1.9.14'
const SIGNATURE_HASHES = new Set(['SHA-256', 'SHA-384', 'SHA-512'])

/** A certificate request whose sender has shown that it holds the key. */
export interface ReadCsr {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** Base64url of SHA-256 over `spki`. */
  readonly keySha256: string
  readonly commonName: string | undefined
  /** Lower case. */
  readonly dnsNames: string[]
  /** Each in its one spelling. */
  readonly ipAddresses: string[]
  readonly uris: string[]
}

/**
 * Makes a key (EC P-256, PKCS#8 PEM) and a request for it that is signed with it.
 *
 * Spec: RFC 2986; names as subjectAltName in an extensionRequest (RFC 2985 §5.4.2); no name at all leaves them to the issuer.
 * Throws PkiError INVALID_NAME.
 */
export async function createCsr(
  options: SubjectNames & { readonly commonName?: string | undefined } = {},
): Promise<{ csrPem: string; keyPem: string }> {
  const name = options.commonName === undefined ? new x509.Name([]) : commonNameSubject(options.commonName)
  const san = subjectAlternativeNames(options)
  const keys = await generateKeyPair('ec')
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name,
    keys: { privateKey: keys.privateKey, publicKey: keys.publicKey },
    signingAlgorithm: signatureAlgorithmOf(keys.privateKey),
    extensions: san === undefined ? [] : [san],
  })
  return { csrPem: `${request.toString('pem')}\n`, keyPem: keys.privateKeyPem }
}

/**
 * Reads a request and verifies its proof of possession. What it asks for beside names (usages, policies) is passed over: the issuer decides.
 *
 * Spec: RFC 2986 §4, RFC 2985 §5.4.2, RFC 5280 §4.2.1.6. Throws PkiError INVALID_CSR: over 8 KiB, not one PEM block, a key
 * that `importKeyPair` would not take, a weak or wrong signature, a request for CA:TRUE, names of another kind, twice, or malformed.
 */
export async function readCsr(pem: string): Promise<ReadCsr> {
  const code = 'ERR_PKI_INVALID_CSR'
  const block = { label: 'CERTIFICATE REQUEST', max: MAX_CSR_CHARACTERS, code, field: 'csr' } as const
  const der = readPemBlock(pem, block)
  if (sequenceTags(der) === undefined) throw new PkiError(code, 'not one DER sequence', { field: 'csr' })
  try {
    const request = new x509.Pkcs10CertificateRequest(der)
    const spki = readKey(request)
    await verifyPossession(request)
    return {
      spki,
      keySha256: createHash('sha256').update(spki).digest('base64url'),
      commonName: commonNameOf(request),
      ...namesOf(request),
    }
  } catch (cause) {
    if (cause instanceof PkiError && cause.code === code) throw cause
    throw new PkiError(code, 'not a certificate request', { field: 'csr' }, { cause })
  }
}

function readKey(request: x509.Pkcs10CertificateRequest): Uint8Array {
  const spki = Buffer.from(request.publicKey.rawData)
  try {
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    algorithmOf(key)
    // A second encoding of a key would be a second hash of it.
    if (spki.equals(key.export({ format: 'der', type: 'spki' }))) return spki
  } catch (cause) {
    throw refused('key', 'unsupported kind of key', cause)
  }
  throw refused('key', 'the key is not in its one encoding')
}

async function verifyPossession(request: x509.Pkcs10CertificateRequest): Promise<void> {
  if (!SIGNATURE_HASHES.has(request.signatureAlgorithm.hash?.name))
    throw refused('signature', 'weak or unknown signature')
  if (!(await request.verify().catch(() => false))) throw refused('signature', 'not signed with its own key')
}

function commonNameOf(request: x509.Pkcs10CertificateRequest): string | undefined {
  const [name, ...more] = request.subjectName.getField('CN')
  if (more.length > 0) throw refused('commonName', 'stands twice')
  if (name === undefined) return undefined
  if (name.length > MAX_COMMON_NAME_CHARACTERS) throw refused('commonName', 'over the bound')
  return name
}

function namesOf(request: x509.Pkcs10CertificateRequest): Pick<ReadCsr, 'dnsNames' | 'ipAddresses' | 'uris'> {
  const attributes = request.getAttributes(EXTENSION_REQUEST)
  if (attributes.length > 1 || attributes.some(({ values }) => values.length !== 1)) {
    throw refused('extensions', 'stand twice')
  }
  const { extensions } = request
  if (new Set(extensions.map(({ type }) => type)).size !== extensions.length) throw refused('extensions', 'stand twice')
  const constraints = extensions.find(extension => extension instanceof x509.BasicConstraintsExtension)
  if (constraints?.ca === true) throw refused('basicConstraints', 'an end entity is no authority')
  const san = extensions.find(extension => extension instanceof x509.SubjectAlternativeNameExtension)
  const items = san?.names.items ?? []
  if (items.length > MAX_NAMES) throw refused('names', 'over the bound')
  // The library leaves out the names that it cannot read.
  if (san !== undefined && sequenceTags(new Uint8Array(san.value))?.length !== items.length) {
    throw refused('names', 'a name of an unknown kind')
  }

  const names = { dnsNames: [] as string[], ipAddresses: [] as string[], uris: [] as string[] }
  for (const { type, value } of items) {
    if (type === 'dns' && isDnsName(value)) names.dnsNames.push(value.toLowerCase())
    else if (type === 'ip') names.ipAddresses.push(canonicalIpAddress(value) ?? refuse('ipAddresses'))
    else if (type === 'url' && isUri(value)) names.uris.push(value)
    else refuse(type)
  }
  return names
}

function refused(field: string, message: string, cause?: unknown): PkiError {
  return new PkiError('ERR_PKI_INVALID_CSR', message, { field }, { cause })
}

function refuse(field: string): never {
  throw refused(field, 'invalid name')
}
