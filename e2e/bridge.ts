import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { issueCertificate } from '@rap/pki'
import { decodeX224ConnectionRequest, encodeX224ConnectionConfirm, NEG_FAILURE, PROTOCOL } from '@rap/rdp'
import type { Platform } from '@rap/testkit'
import { endSession } from './desktop.ts'
import { directUrl, newClientKey, type Started, wireBind } from './wire-client.ts'

/** Nothing that an RDP client could make use of. */
const SIDE_CHANNELS: ReadonlySet<string> = new Set(['file_upload', 'events'])
/** EXTENDED_CLIENT_DATA_SUPPORTED: only then a client asks for the message channel and for UDP. Spec: [MS-RDPBCGR] §2.2.1.2.1. */
const NEG_RSP_FLAGS = 0x01

export interface Bridge {
  readonly port: number
  /** Close code and reason of every connection that has ended, or why it did not come up. */
  readonly endings: readonly string[]
  /** The session of every connection, in order. */
  readonly sessions: readonly string[]
  close(): void
}

/**
 * A port for RDP clients that know nothing of the platform, such as FreeRDP's: X.224 and TLS end here, and everything
 * from MCS Connect Initial on goes through a session of its own. One that insists on NLA, or on
 * no TLS, has none: it is offered TLS alone.
 */
export async function startBridge(platform: Platform, resourceId: string): Promise<Bridge> {
  const key = await newClientKey()
  const { certificatePem: cert, keyPem } = await issueCertificate({
    authority: platform.authority,
    commonName: 'bridge',
    dnsNames: ['localhost'],
    usages: ['server'],
    keyType: 'rsa',
    now: new Date(),
  })
  const endings: string[] = []
  const sessions: string[] = []
  const serve = async (plain: Socket): Promise<void> => {
    plain.on('error', () => {})
    const [request] = (await once(plain, 'data')) as [Buffer]
    plain.pause()
    const asked = decodeX224ConnectionRequest(request).negotiation?.requestedProtocols ?? PROTOCOL.RDP
    if ((asked & PROTOCOL.SSL) === 0) {
      const failure = { type: 'failure', failureCode: NEG_FAILURE.SSL_REQUIRED_BY_SERVER } as const
      plain.end(encodeX224ConnectionConfirm({ sourceReference: 0, negotiation: failure }))
      endings.push('client does not offer TLS')
      return
    }
    const negotiation = { type: 'response', flags: NEG_RSP_FLAGS, selectedProtocol: PROTOCOL.SSL } as const
    plain.write(encodeX224ConnectionConfirm({ sourceReference: 0, negotiation }))
    const client = new TLSSocket(plain, { isServer: true, cert, key: keyPem })
    client.on('error', () => {})
    await Promise.race([once(client, 'secure'), once(client, 'close')])
    if (client.destroyed) {
      endings.push('client does not want TLS alone')
      return
    }
    const started = await platform.api.call<Started>('POST', '/v1/sessions', {
      body: { resource_id: resourceId, dpop_jkt: key.jkt },
    })
    sessions.push(started.session.id)
    const url = directUrl(started)
    const { token } = started.data_plane
    const channels = started.attachment.allowed_channels.filter(channel => !SIDE_CHANNELS.has(channel))
    const outcome = await wireBind(platform, { url, token, proof: await key.proof(token, url), channels })
    if (!outcome.bound) throw new Error(outcome.reason)
    const { socket } = outcome
    socket.on('message', (bytes: Buffer, isBinary: boolean) => isBinary && client.write(bytes))
    socket.once('close', (code, reason) => {
      endings.push(`${code} ${reason}`)
      client.destroy()
    })
    client.on('data', bytes => socket.send(bytes))
    client.once('close', () => {
      socket.close()
      void endSession(platform, started)
    })
  }
  const server = createServer(socket => {
    serve(socket).catch(error => {
      endings.push(String(error))
      socket.destroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as { port: number }).port, endings, sessions, close: () => server.close() }
}
