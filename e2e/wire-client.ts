import { once } from 'node:events'
import { formatProxyAuth, parseServerMessage, type ServerMessage } from '@rap/data-plane-protocol'
import { encodeRdCleanPathRequest, encodeX224ConnectionRequest, PROTOCOL } from '@rap/rdp'
import type { Platform } from '@rap/testkit'
import { accessTokenHash, jwkThumbprint } from '@rap/token-claims'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { WebSocket } from 'ws'

/** The key that a client makes for one session. */
export interface ClientKey {
  readonly jkt: string
  proof(token: string, url: string): Promise<string>
}

export async function newClientKey(): Promise<ClientKey> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const { kty, crv, x, y } = await exportJWK(publicKey)
  const jwk = { kty, crv, x, y } as never
  return {
    jkt: await jwkThumbprint(jwk),
    async proof(token, url) {
      const claims = { htm: 'GET', htu: url, ath: await accessTokenHash(token), jti: crypto.randomUUID(), iat: now() }
      return await new SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk }).sign(privateKey)
    },
  }
}

/** A session as the API answers with it. */
export interface Started {
  readonly session: { readonly id: string; readonly state: string }
  readonly attachment: { readonly id: string; readonly worker_id: string; readonly allowed_channels: readonly string[] }
  readonly data_plane: {
    readonly token: string
    readonly candidates: readonly { readonly type: string; readonly url: string }[]
  }
}

export function directUrl({ data_plane }: Started): string {
  return data_plane.candidates.find(({ type }) => type === 'direct_worker_wss')?.url ?? ''
}

/** How a bind ended: bound, or closed with code and reason. */
export type BindOutcome =
  | {
      readonly bound: true
      readonly socket: WebSocket
      /** All that the server has said as text so far, but RDP; it grows. */
      readonly messages: readonly ServerMessage[]
    }
  | {
      readonly bound: false
      readonly code: number
      readonly reason: string
      readonly messages: readonly ServerMessage[]
    }

export interface WireBind {
  readonly url: string
  readonly token: string
  readonly proof: string
  readonly channels?: readonly string[]
  readonly transport?: 'json_v1' | 'binary_v1'
}

/** Binds as another client would that was written from docs/protocols/data-plane.md alone. */
export async function wireBind(platform: Platform, bind: WireBind): Promise<BindOutcome> {
  const { url, token, proof, channels = ['display', 'input'], transport = 'binary_v1' } = bind
  const message = { type: 'bind', protocol_version: 1, runtime_transport: transport, token, proof, channels }
  return await outcomeOf(platform, url, JSON.stringify(message))
}

/** The same through RDCleanPath; the answer's bytes are the first message. */
export async function rdCleanPathBind(
  platform: Platform,
  bind: { readonly url: string; readonly token: string; readonly proof: string; readonly destination: string },
): Promise<Buffer> {
  const socket = await openSocket(platform, bind.url)
  socket.send(rdCleanPathRequest(bind))
  const [answer] = (await once(socket, 'message')) as [Buffer]
  socket.terminate()
  return answer
}

export function rdCleanPathRequest(bind: {
  readonly token: string
  readonly proof: string
  readonly destination: string
}): Uint8Array {
  return encodeRdCleanPathRequest({
    destination: bind.destination,
    proxyAuth: formatProxyAuth(bind.token, bind.proof),
    x224ConnectionPdu: encodeX224ConnectionRequest({ negotiation: { flags: 0, requestedProtocols: PROTOCOL.SSL } }),
  })
}

export async function openSocket(platform: Platform, url: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { ca: platform.authority.certificatePem, perMessageDeflate: false })
  await once(socket, 'open')
  return socket
}

/** Sends one first message and tells what came of it. */
export async function outcomeOf(platform: Platform, url: string, first: string | Uint8Array): Promise<BindOutcome> {
  const socket = await openSocket(platform, url)
  const messages: ServerMessage[] = []
  const outcome = new Promise<BindOutcome>((resolve, reject) => {
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) return
      const message = parseServerMessage(data.toString())
      if (message.type !== 'rdp') messages.push(message)
      if (message.type === 'bound') resolve({ bound: true, socket, messages })
    })
    socket.on('close', (code, reason) => resolve({ bound: false, code, reason: reason.toString(), messages }))
    socket.on('error', reject)
  })
  socket.send(first)
  return await outcome
}

const now = (): number => Math.floor(Date.now() / 1000)
