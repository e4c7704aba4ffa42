import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import { createAuthority, issueCertificate, sha256Fingerprint } from '@rap/pki'
import { decodeX224ConnectionRequest, encodeX224ConnectionConfirm, PROTOCOL, pduSize } from '@rap/rdp'
import { waitFor } from '@rap/testkit'
import { TargetSession } from './target-session.ts'

export interface RecordingTarget {
  readonly host: string
  readonly port: number
  readonly certificateFingerprint: string
  /** The connection on which a client has said this word. */
  hears(word: string): Promise<TargetSession>
  /** Every connection that was secured, in the order they came. */
  readonly sessions: readonly TargetSession[]
  close(): void
}

/**
 * A model of an RDP server that keeps every PDU it gets, and says whatever a test makes it say: what a target could do
 * that belongs to an attacker. It speaks just enough to bring a desktop up; TCP and TLS are real.
 */
export async function startRecordingTarget(): Promise<RecordingTarget> {
  const now = new Date()
  const { certificatePem, keyPem } = await issueCertificate({
    authority: await createAuthority({ name: 'recording target CA', days: 30, now }),
    commonName: 'target',
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1'],
    usages: ['server'],
    keyType: 'rsa',
    now,
  })
  const secureContext = createSecureContext({ cert: certificatePem, key: keyPem })
  const sessions: TargetSession[] = []
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    socket.once('data', request => {
      const asked = requestedProtocols(request)
      if (asked === undefined) {
        socket.destroy()
        return
      }
      // Nothing more is read here: the next bytes are TLS.
      socket.pause()
      const secure = new TLSSocket(socket, { isServer: true, secureContext })
      secure.on('error', () => {})
      secure.once('secure', () => sessions.push(new TargetSession(secure, asked)))
      const negotiation = { type: 'response', flags: 0, selectedProtocol: PROTOCOL.SSL } as const
      socket.write(encodeX224ConnectionConfirm({ sourceReference: 0x1234, negotiation }))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: '127.0.0.1',
    port: (server.address() as { port: number }).port,
    certificateFingerprint: sha256Fingerprint(new X509Certificate(certificatePem).raw),
    sessions,
    hears: async word =>
      await waitFor(() => sessions.find(session => session.saw(word)), { what: 'the connection', intervalMs: 5 }),
    close() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** What a whole X.224 Connection Request asks for; undefined for a knock. */
function requestedProtocols(request: Buffer): number | undefined {
  if (pduSize(request, 0, request.length) !== request.length) return undefined
  return decodeX224ConnectionRequest(request).negotiation?.requestedProtocols ?? 0
}
