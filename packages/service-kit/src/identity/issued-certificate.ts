import { createPrivateKey, type X509Certificate } from 'node:crypto'
import { duplexPair } from 'node:stream'
import { connect, createServer } from 'node:tls'
import type { SpiffeIdentity } from '@rap/pki'
import { MUTUAL_TLS_DEFAULTS, TLS_DEFAULTS } from '../tls.ts'
import { IdentityError } from './identity-error.ts'
import { certificatesOf, type ExpectedIdentity, expectedIdentity, identityText } from './own-certificate.ts'

/** The longest life that is asked for is 720 hours; CONTROL_PLANE_CERTIFICATE_HOURS. With room for skew. */
const MAX_LIFE_MS = 31 * 24 * 3_600_000
/** A handshake inside this process takes milliseconds. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** A certificate of this process with its key, looked through. */
export interface OwnCertificate {
  readonly identity: SpiffeIdentity
  readonly keyPem: string
  /** Leaf, then what stands between it and a root. */
  readonly chainPem: string
  readonly leaf: X509Certificate
  /** Milliseconds since the epoch. */
  readonly notBefore: number
  readonly notAfter: number
}

/**
 * Takes key and chain for one: parsed, a pair, and of the expected identity. Throws IdentityError with `code`, whose message
 * begins with `where`.
 */
export function ownCertificate(
  { keyPem, chainPem }: { readonly keyPem: string; readonly chainPem: string },
  {
    expected,
    where,
    code,
  }: { expected: ExpectedIdentity; where: string; code: 'ERR_IDENTITY_FILE' | 'ERR_IDENTITY_CERTIFICATE' },
): OwnCertificate {
  const refuse = (reason: string) => new IdentityError(code, `${where}: ${reason}`, { reason })
  let leaf: X509Certificate | undefined
  let isPair = false
  try {
    leaf = certificatesOf(chainPem)[0]
    isPair = leaf?.checkPrivateKey(createPrivateKey(keyPem)) === true
  } catch {
    // The parser's error is dropped: it could describe key material.
    throw refuse('key or certificates cannot be parsed')
  }
  if (leaf === undefined) throw refuse('holds no certificate')
  if (!isPair) throw refuse('the key is not the one of the certificate')
  const found = expectedIdentity(leaf, expected)
  if ('received' in found) throw refuse(`carries the identity ${found.received} and not ${identityText(expected)}`)
  const [notBefore, notAfter] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()]
  return { identity: found.identity, keyPem, chainPem, leaf, notBefore, notAfter }
}

/**
 * Throws where a certificate that was just issued is not one to go on with: not valid now, for longer than anything
 * that is issued, or not taken by a peer that trusts `rootsPem`, on either side of a connection.
 */
export async function checkIssued(
  certificate: OwnCertificate,
  { rootsPem, now }: { readonly rootsPem: string; readonly now: number },
): Promise<void> {
  const { notBefore, notAfter } = certificate
  const times = `it is valid from ${iso(notBefore)} to ${iso(notAfter)}, and the clock of this machine says ${iso(now)}`
  if (now < notBefore || now >= notAfter) {
    throw new IdentityError('ERR_IDENTITY_CLOCK', `the certificate from the control plane is of no use now: ${times}`)
  }
  if (notAfter - notBefore > MAX_LIFE_MS) {
    throw new IdentityError(
      'ERR_IDENTITY_CERTIFICATE',
      `the certificate from the control plane lives too long: ${times}`,
    )
  }
  try {
    await shakeHands(certificate, rootsPem)
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    const reason = code ?? message
    throw new IdentityError(
      'ERR_IDENTITY_CERTIFICATE',
      `no peer would take the certificate from the control plane: ${reason}`,
      { reason },
      { cause },
    )
  }
}

/**
 * A mutual TLS handshake of the certificate with itself, in memory: chain, path lengths, constraints and usages are judged
 * by the library, with the settings that judge it at every peer.
 */
async function shakeHands({ keyPem, chainPem }: OwnCertificate, rootsPem: string): Promise<void> {
  const [near, far] = duplexPair()
  const material = { cert: chainPem, key: keyPem, ca: rootsPem }
  // Not refused by the library, which would close the connection without a word: the finding is read instead.
  const server = createServer({ ...MUTUAL_TLS_DEFAULTS, ...material, requestCert: true, rejectUnauthorized: false })
  let timer: NodeJS.Timeout | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error('handshake timed out')), HANDSHAKE_TIMEOUT_MS)
      server.on('secureConnection', socket => {
        socket.on('error', reject)
        if (socket.authorized) resolve()
        else reject(new Error(String(socket.authorizationError)))
      })
      server.on('tlsClientError', reject)
      server.emit('connection', far)
      const client = connect({
        ...TLS_DEFAULTS,
        ...material,
        socket: near,
        rejectUnauthorized: true,
        // Who it is has been read from the certificate; host names are for whoever dials it.
        checkServerIdentity: () => undefined,
      })
      client.on('error', reject)
      client.resume()
    })
  } finally {
    clearTimeout(timer)
    near.destroy()
    far.destroy()
  }
}

const iso = (time: number): string => new Date(time).toISOString()
