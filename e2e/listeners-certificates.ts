import { execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Authority,
  type CertificateOptions,
  createAuthority,
  createIntermediate,
  issueCertificate,
  openAuthority,
  spiffeId,
} from '@rap/pki'
import { TRUST_DOMAIN } from '@rap/testkit'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

/** What a client shows: its chain, and its key. */
export interface Shown {
  readonly cert: string
  readonly key: string
}

/**
 * What a listener says to a certificate: `accepted` is the answer of the route, `no identity` a refusal of the route after the handshake
 * (403 ERR_MTLS_IDENTITY), `no handshake` the end of the connection before a byte of HTTP is read.
 */
export type Verdict = 'accepted' | 'no identity' | 'no handshake'

/** Whom a route is for, and somebody of each kind whom it is not for. */
export interface RightPeer {
  readonly kind: 'service' | 'worker'
  readonly id: string
}

export interface Forgery {
  readonly title: string
  readonly expected: Verdict
  make(peer: RightPeer): Promise<Shown | undefined> | Shown | undefined
}

/** Extensions of a leaf and of an intermediate, as openssl writes them. */
const LEAF = [
  'basicConstraints=critical,CA:FALSE',
  'keyUsage=critical,digitalSignature',
  'extendedKeyUsage=clientAuth,serverAuth',
]
const CA = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign']

/** Makes what the platform's authority would never issue, with its key in hand. */
export class Forger {
  readonly #dir = mkdtempSync(join(tmpdir(), 'rap-forge-'))
  readonly #authority: Authority
  readonly #ecKey = this.#newKey('-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256')
  readonly #caKey = this.#newKey('-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256')

  constructor(authority: Authority) {
    this.#authority = authority
  }

  close(): void {
    rmSync(this.#dir, { recursive: true })
  }

  /** As the platform issues, changed by `more`. */
  async issued(peer: RightPeer, more: Partial<CertificateOptions> = {}): Promise<Shown> {
    const { certificatePem, keyPem } = await issueCertificate({
      authority: this.#authority,
      commonName: peer.id,
      dnsNames: ['localhost', `${peer.id}.rap.internal`],
      ipAddresses: ['127.0.0.1'],
      uris: [spiffeId(TRUST_DOMAIN, peer.kind, peer.id)],
      usages: ['server', 'client'],
      now: new Date(),
      ...more,
    })
    return { cert: certificatePem, key: keyPem }
  }

  /** A certificate of the right peer as openssl makes it; without an issuer self-signed. */
  openssl(
    peer: RightPeer,
    options: { extensions?: string[]; digest?: string; key?: string; issuer?: Authority | null; names?: string } = {},
  ): Shown {
    const { extensions = LEAF, digest = 'sha256', key = this.#ecKey, issuer = this.#authority } = options
    const names = options.names ?? `DNS:localhost,URI:${spiffeId(TRUST_DOMAIN, peer.kind, peer.id)}`
    const cert = this.#sign({
      subject: peer.id,
      extensions: [...extensions, `subjectAltName=${names}`],
      digest,
      key,
      issuer,
    })
    return { cert, key }
  }

  /** An intermediate as openssl makes it, below `issuer`. */
  intermediate(extensions: string[], issuer: Authority = this.#authority): Authority {
    const key = this.#caKey
    return {
      certificatePem: this.#sign({ subject: 'Intermediate', extensions, digest: 'sha256', key, issuer }),
      keyPem: key,
    }
  }

  /** A chain of two, the second one below `above`, with what is above it sent along. */
  below(above: Authority, peer: RightPeer): Shown {
    const { cert, key } = this.openssl(peer, { issuer: above })
    return { cert: cert + above.certificatePem, key }
  }

  /** An authority that nobody here has heard of, under the name of the platform's. */
  async other(): Promise<Authority> {
    return await createAuthority({ name: 'RAP platform CA', days: 30, now: new Date() })
  }

  rsa(bits: number): string {
    return this.#newKey('-algorithm', 'RSA', '-pkeyopt', `rsa_keygen_bits:${bits}`)
  }

  #newKey(...args: string[]): string {
    return execFileSync('openssl', ['genpkey', ...args], { encoding: 'utf8', stdio: 'pipe' })
  }

  #sign(options: {
    subject: string
    extensions: string[]
    digest: string
    key: string
    issuer: Authority | null
  }): string {
    const { subject, extensions, digest, key, issuer } = options
    const file = (name: string, text: string) => writeFileSync(join(this.#dir, name), text, { mode: 0o600 })
    file('config', `[req]\ndistinguished_name=dn\nprompt=no\n[dn]\nCN=${subject}\n[ext]\n${extensions.join('\n')}\n`)
    file('key', key)
    if (issuer !== null) file('issuer.pem', issuer.certificatePem)
    if (issuer !== null) file('issuer.key', issuer.keyPem)
    const sign = issuer === null ? [] : ['-CA', 'issuer.pem', '-CAkey', 'issuer.key']
    const out = ['-config', 'config', '-extensions', 'ext', '-days', '2', `-${digest}`, '-out', 'out.pem']
    execFileSync('openssl', ['req', '-x509', '-new', '-key', 'key', ...out, ...sign], { cwd: this.#dir, stdio: 'pipe' })
    return readFileSync(join(this.#dir, 'out.pem'), 'utf8')
  }
}

/** Everything that is tried: by a client at each listener that asks for a certificate, and by a server at each dial. */
export async function forgeries(
  forger: Forger,
  authority: Authority,
  side: 'client' | 'server' = 'client',
): Promise<Forgery[]> {
  const otherSide = side === 'client' ? 'server' : 'client'
  const now = new Date()
  const later = (days: number) => new Date(now.getTime() + days * DAY_MS)
  const stranger = await forger.other()
  const key = createPrivateKey(authority.keyPem).export({ format: 'der', type: 'pkcs8' })
  const root = await openAuthority(authority.certificatePem, key)
  const between = await createIntermediate({ root, name: 'Between', days: 30, now })
  const keyPem = createPrivateKey({ key: between.privateKey, format: 'der', type: 'pkcs8' }).export({
    format: 'pem',
    type: 'pkcs8',
  })
  const intermediate: Authority = { certificatePem: between.certificatePem, keyPem: keyPem.toString() }
  const uriOf = ({ kind, id }: RightPeer, domain = TRUST_DOMAIN) => `spiffe://${domain}/${kind}/${id}`
  const another: RightPeer = { kind: 'service', id: 'rdp-worker' }
  const constrained = (rule: string) => forger.intermediate([...CA, `nameConstraints=critical,${rule}`])

  const accepted: [string, Forgery['make']][] = [
    ['the right peer', peer => forger.issued(peer)],
    ['for its side alone', peer => forger.issued(peer, { usages: [side] })],
    ['RSA of 2048 bits', peer => forger.issued(peer, { keyType: 'rsa' })],
    ['below an intermediate that is sent along', peer => forger.issued(peer, { authority: intermediate })],
    [
      'below an intermediate whose constraints allow the name',
      peer => forger.below(constrained('permitted;URI:rap.internal'), peer),
    ],
    // RFC 5280 §4.2.1.12: without the extension a certificate is good for every purpose that its issuer has.
    ['without extendedKeyUsage', peer => forger.openssl(peer, { extensions: LEAF.slice(0, 2) })],
  ]
  const nobody: [string, Forgery['make']][] = [
    ['no URI', peer => forger.issued(peer, { uris: [] })],
    ['two URIs, the right one first', peer => forger.issued(peer, { uris: [uriOf(peer), 'https://a.example/'] })],
    ['two identities', peer => forger.issued(peer, { uris: [uriOf(another), uriOf(peer)] })],
    ['the right one twice', peer => forger.issued(peer, { uris: [uriOf(peer), uriOf(peer)] })],
    ['another trust domain', peer => forger.issued(peer, { uris: [uriOf(peer, 'rap.example')] })],
    ['a trust domain below ours', peer => forger.issued(peer, { uris: [uriOf(peer, `a.${TRUST_DOMAIN}`)] })],
    ['a trust domain with a port', peer => forger.issued(peer, { uris: [uriOf(peer, `${TRUST_DOMAIN}:443`)] })],
    ['a trust domain in upper case', peer => forger.issued(peer, { uris: [uriOf(peer, TRUST_DOMAIN.toUpperCase())] })],
    [
      'a percent-encoded id',
      peer =>
        forger.issued(peer, {
          uris: [uriOf({ ...peer, id: `%${peer.id.charCodeAt(0).toString(16)}${peer.id.slice(1)}` })],
        }),
    ],
    ['a path that goes on', peer => forger.issued(peer, { uris: [`${uriOf(peer)}/admin`] })],
    ['a query', peer => forger.issued(peer, { uris: [`${uriOf(peer)}?a=b`] })],
    ['another scheme', peer => forger.issued(peer, { uris: [uriOf(peer).replace('spiffe', 'https')] })],
    [
      'another kind',
      peer => forger.issued(peer, { uris: [uriOf({ ...peer, kind: peer.kind === 'worker' ? 'service' : 'worker' })] }),
    ],
    ['a service that the route is not for', peer => forger.issued(peer, { uris: [uriOf(another)] })],
    [
      'the identity in the common name alone',
      peer => forger.issued(peer, { commonName: uriOf(peer).slice(0, 64), uris: [] }),
    ],
    [
      'the identity in a DNS name',
      peer => forger.openssl(peer, { names: `@n\n[n]\nDNS=a.example, URI:${uriOf(peer)}` }),
    ],
    ['the identity in a mail address', peer => forger.openssl(peer, { names: `email:URI:${uriOf(peer)}` })],
    [
      'a CA with the identity',
      peer =>
        forger.openssl(peer, {
          extensions: [CA[0] ?? '', 'keyUsage=critical,digitalSignature,keyCertSign', LEAF[2] ?? ''],
        }),
    ],
  ]
  const refused: [string, Forgery['make']][] = [
    ['another authority of the same name', peer => forger.issued(peer, { authority: stranger })],
    ['self-signed', peer => forger.openssl(peer, { issuer: null })],
    ['the platform CA itself', () => ({ cert: authority.certificatePem, key: authority.keyPem })],
    ['has ended', peer => forger.issued(peer, { now: later(-2), notAfter: new Date(now.getTime() - MINUTE_MS) })],
    ['not valid yet', peer => forger.issued(peer, { now: later(1) })],
    ['for the other side alone', peer => forger.issued(peer, { usages: [otherSide] })],
    [
      'for signing code alone',
      peer => forger.openssl(peer, { extensions: [...LEAF.slice(0, 2), 'extendedKeyUsage=codeSigning'] }),
    ],
    [
      'any extendedKeyUsage',
      peer => forger.openssl(peer, { extensions: [...LEAF.slice(0, 2), 'extendedKeyUsage=anyExtendedKeyUsage'] }),
    ],
    [
      'a critical extension that nobody knows',
      peer => forger.openssl(peer, { extensions: [...LEAF, '1.2.3.4=critical,DER:0500'] }),
    ],
    [
      'below an intermediate that is missing',
      async peer => {
        const { cert, key } = await forger.issued(peer, { authority: intermediate })
        return { cert: cert.slice(0, cert.indexOf('-----END CERTIFICATE-----') + 26), key }
      },
    ],
    [
      'below an intermediate whose constraints exclude the name',
      peer => forger.below(constrained('excluded;URI:rap.internal'), peer),
    ],
    [
      'below an intermediate that allows another name',
      peer => forger.below(constrained('permitted;URI:rap.example'), peer),
    ],
    [
      'below an intermediate that has no room in its path',
      peer => {
        const lower = forger.intermediate(CA, intermediate)
        const { cert, key } = forger.below(lower, peer)
        return { cert: cert + intermediate.certificatePem, key }
      },
    ],
    [
      'below an intermediate that may not sign certificates',
      peer => forger.below(forger.intermediate([CA[0] ?? '', 'keyUsage=critical,cRLSign']), peer),
    ],
    [
      'below a certificate that is no CA',
      async peer => {
        const { cert, key } = await forger.issued(peer)
        return forger.below({ certificatePem: cert, keyPem: key }, peer)
      },
    ],
    ['RSA of 1024 bits', peer => forger.openssl(peer, { key: forger.rsa(1024) })],
    ['signed with SHA-1', peer => forger.openssl(peer, { digest: 'sha1' })],
  ]
  const ofItsSide: [string, Forgery['make']][] =
    side === 'client'
      ? [
          ['no certificate', () => undefined],
          // openssl takes such a key for a server's.
          [
            'a key that may not sign',
            peer =>
              forger.openssl(peer, { extensions: [LEAF[0] ?? '', 'keyUsage=critical,keyEncipherment', LEAF[2] ?? ''] }),
          ],
        ]
      : [
          ['for another host', peer => forger.issued(peer, { dnsNames: ['evil.example'], ipAddresses: [] })],
          ['for a host below it', peer => forger.issued(peer, { dnsNames: ['a.localhost'], ipAddresses: [] })],
          ['for no host', peer => forger.issued(peer, { dnsNames: [], ipAddresses: [] })],
          [
            'for its host in the common name alone',
            peer => forger.issued(peer, { commonName: 'localhost', dnsNames: [] }),
          ],
        ]
  const table = (expected: Verdict, rows: [string, Forgery['make']][]) =>
    rows.map(([title, make]) => ({ title, expected, make }))
  return [
    ...table('accepted', accepted),
    ...table('no identity', nobody),
    ...table('no handshake', [...refused, ...ofItsSide]),
  ]
}
