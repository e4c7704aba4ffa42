import { createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { type Authority, createAuthority, type IssuedCertificate, issueCertificate } from '@rap/pki'
import { encodeX224ConnectionConfirm, PROTOCOL } from '@rap/rdp'
import { targetPolicyOf } from '../../src/target/address.ts'
import { type OpenTargetOptions, openTarget, type WarmTarget } from '../../src/target/open.ts'

/** What a test registers its clean-up with; tap's own `t` fits. */
export interface Teardown {
  teardown(run: () => unknown): void
}

export const now = new Date()
const DAY_MS = 24 * 60 * 60 * 1000

export async function authority(name = 'target CA'): Promise<Authority> {
  return await createAuthority({ name, days: 30, now })
}

/** A certificate for this machine, of an authority of its own where none is given. */
export async function certificate(
  changes: { authority?: Authority; dnsNames?: string[]; ipAddresses?: string[]; expired?: boolean } = {},
): Promise<IssuedCertificate> {
  const { dnsNames = ['localhost'], ipAddresses = ['127.0.0.1'], expired = false } = changes
  const issuedAt = expired ? new Date(now.getTime() - 20 * DAY_MS) : now
  return await issueCertificate({
    authority: changes.authority ?? (await createAuthority({ name: 'other CA', days: 90, now: issuedAt })),
    commonName: 'target',
    dnsNames,
    ipAddresses,
    usages: ['server'],
    keyType: 'rsa',
    now: issuedAt,
    ...(expired && { notAfter: new Date(now.getTime() - 10 * DAY_MS) }),
  })
}

export function confirm(selectedProtocol: number): Uint8Array {
  return encodeX224ConnectionConfirm({
    sourceReference: 0x1234,
    negotiation: { type: 'response', flags: 0, selectedProtocol },
  })
}

export interface TargetScript {
  /** The answer to the first bytes; undefined stays silent, null closes. */
  readonly answer?: Uint8Array | null | undefined
  readonly certificate?: IssuedCertificate
  /** For a server that is no RDP server: takes the connection as it comes. */
  readonly onConnection?: (socket: Socket) => void
  /** Once the TLS handshake is done on this side. */
  readonly onSecure?: (secure: TLSSocket) => void
}

export interface Target {
  readonly port: number
  readonly address: string
  /** All that came in the clear. */
  plain(): Buffer
  /** All that came inside TLS. */
  secured(): Buffer
  readonly connections: Socket[]
  /** Sockets that are still open. */
  open(): number
}

/** A target on real TCP and, behind the negotiation, real TLS. */
export async function startTarget(t: Teardown, script: TargetScript): Promise<Target> {
  const plain: Buffer[] = []
  const secured: Buffer[] = []
  const connections: Socket[] = []
  const server = createServer(socket => {
    connections.push(socket)
    socket.on('error', () => {})
    if (script.onConnection !== undefined) {
      script.onConnection(socket)
      return
    }
    socket.once('data', request => {
      plain.push(request)
      if (script.answer === undefined) return
      if (script.answer === null) {
        socket.destroy()
        return
      }
      // Before the answer, so that not a byte of the handshake is missed.
      if (script.certificate !== undefined) {
        socket.pause()
        const secure = new TLSSocket(socket, {
          isServer: true,
          cert: script.certificate.certificatePem,
          key: script.certificate.keyPem,
        })
        secure.on('error', () => {})
        secure.on('data', bytes => secured.push(bytes))
        secure.once('secure', () => script.onSecure?.(secure))
      } else socket.on('data', bytes => plain.push(bytes))
      socket.write(script.answer)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    for (const socket of connections) socket.destroy()
    await new Promise(resolve => server.close(resolve))
  })
  const { port } = server.address() as { port: number }
  return {
    port,
    address: `127.0.0.1:${port}`,
    plain: () => Buffer.concat(plain),
    secured: () => Buffer.concat(secured),
    connections,
    open: () => connections.filter(socket => !socket.destroyed).length,
  }
}

/** A TLS-only desktop: selects SSL and shows the certificate. */
export async function startTlsTarget(t: Teardown, shown: IssuedCertificate): Promise<Target> {
  return await startTarget(t, { answer: confirm(PROTOCOL.SSL), certificate: shown })
}

export type TargetOfAssignment = OpenTargetOptions['target']

/** Opens a target of this machine as the worker would; what it answers is closed with the test. */
export async function open(
  t: Teardown,
  target: Partial<TargetOfAssignment> & { readonly address: string },
  changes: Partial<OpenTargetOptions> = {},
): Promise<WarmTarget> {
  const warm = await openTarget({
    target: {
      protocol: 'rdp',
      certificate_verification_mode: 'insecure',
      security: 'auto',
      render_quality_profile: 'balanced',
      ...target,
    },
    credentials: undefined,
    policy: targetPolicyOf(['127.0.0.0/8', '::1']),
    platformCa: '',
    production: false,
    credSspMinimumVersion: 5,
    report: async ({ code }) => code,
    signal: new AbortController().signal,
    ...changes,
  })
  t.teardown(() => warm.socket.destroy())
  return warm
}
