import { type Platform, type WaitOptions, waitFor } from '@rap/testkit'
import type { WebSocket } from 'ws'
import { RdpClient, type RdpClientOptions } from './rdp-client.ts'
import { type ClientKey, directUrl, newClientKey, type Started, wireBind } from './wire-client.ts'

/** A session with its RDP client on one connection. */
export interface Desktop {
  readonly started: Started
  readonly client: RdpClient
  readonly socket: WebSocket
  /** Close code and reason, once the connection has ended. */
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
}

export interface OpenOptions extends Omit<RdpClientOptions, 'send'> {
  readonly resourceId: string
  readonly path?: 'direct' | 'gateway'
  readonly key?: ClientKey
}

/** Starts a session, binds it and brings the desktop up. Throws where it does not come up. */
export async function openDesktop(platform: Platform, options: OpenOptions): Promise<Desktop> {
  const { resourceId, path = 'direct', key = await newClientKey(), ...rest } = options
  const started = await platform.api.call<Started>('POST', '/v1/sessions', {
    body: { resource_id: resourceId, dpop_jkt: key.jkt },
  })
  return await bindDesktop(platform, started, { path, key, ...rest })
}

/** The same for a session that is ready. */
export async function bindDesktop(
  platform: Platform,
  started: Started,
  options: Omit<RdpClientOptions, 'send'> & { readonly path: 'direct' | 'gateway'; readonly key: ClientKey },
): Promise<Desktop> {
  const { path, key, ...rest } = options
  const url = path === 'direct' ? directUrl(started) : (platform.gatewayUrl ?? '')
  const { token } = started.data_plane
  const outcome = await wireBind(platform, { url, token, proof: await key.proof(token, url) })
  if (!outcome.bound) throw new Error(`bind was refused: ${outcome.reason}`)
  const { socket } = outcome
  const client = new RdpClient({ ...rest, send: bytes => socket.send(bytes) })
  let failure: Error | undefined
  const closed = new Promise<{ code: number; reason: string }>(resolve =>
    socket.once('close', (code, reason) => {
      failure ??= new Error(`connection was closed: ${code} ${reason}, errorInfo ${client.errorInfo}`)
      resolve({ code, reason: reason.toString() })
    }),
  )
  socket.on('message', (data: Buffer, isBinary: boolean) => {
    try {
      if (isBinary) client.push(data)
    } catch (error) {
      failure ??= error as Error
      socket.terminate()
    }
  })
  client.start()
  await waitFor(() => failure !== undefined || client.isActive, { what: 'the desktop', timeoutMs: 30_000 })
  if (failure !== undefined) throw failure
  return { started, client, socket, closed }
}

/** Types a line until it has its effect, since a desktop that has just come up may not have the keyboard yet. */
export async function typeUntil(
  { client }: Desktop,
  line: string,
  effect: () => boolean,
  options: WaitOptions,
): Promise<void> {
  let typedAt = 0
  await waitFor(() => {
    if (effect()) return true
    if (performance.now() - typedAt > 1500) {
      client.typeLine(line)
      typedAt = performance.now()
    }
    return false
  }, options)
}

export async function endSession(platform: Platform, { session }: Started): Promise<void> {
  await platform.api.send('POST', `/v1/sessions/${session.id}/terminate`, { body: {} })
}
