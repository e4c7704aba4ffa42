import { once } from 'node:events'
import { createRapClient, type RapClient, type RapError } from '@rap/client-sdk'
import { parseServerMessage } from '@rap/data-plane-protocol'
import { decodeRdCleanPathAnswer } from '@rap/rdp'
import type { Platform } from '@rap/testkit'
import type { WebSocket } from 'ws'
import {
  type ClientKey,
  directUrl,
  newClientKey,
  openSocket,
  rdCleanPathRequest,
  type Started,
  wireBind,
} from '../wire-client.ts'
import { RecordedClient } from './recorded-client.ts'
import { type BoundWire, SideWire, type UploadOutcome } from './side-wire.ts'

export const TRANSPORTS = ['sdk binary_v1', 'sdk json_v1', 'json_v1', 'rdcleanpath_v1'] as const
export type Transport = (typeof TRANSPORTS)[number]
export const PATHS = ['direct', 'gateway'] as const
export type Path = (typeof PATHS)[number]

/** Channels inside RDP, by their names in a bind. */
const RDP_CHANNELS = ['display', 'input', 'clipboard_client_to_server', 'clipboard_server_to_client']

/** A session over one transport and one path, with a desktop that is up. */
export interface Link {
  readonly sessionId: string
  readonly attachmentId: string
  readonly workerId: string
  /** What the API said that the attachment may do. */
  readonly allowedChannels: readonly string[]
  readonly client: RecordedClient
  /** What an upload is refused with where the policy has none. */
  readonly uploadRefusal: string
  /** Sends one small file, over a connection of its own where the transport carries none. */
  upload(name: string, content: Buffer): Promise<UploadOutcome>
  /** The channels that the person was told last that there are; undefined where nobody has told. */
  channelsTold(): readonly string[] | undefined
  /** Tells whether the person was told something of this type beside the desktop. */
  told(type: string): boolean
  /** Takes a fresh token now and binds with it later; tells `bound` or the reason of the refusal. */
  holdToken(channels: readonly string[]): Promise<() => Promise<string>>
  /** The same session over a new attachment, once this link is closed. */
  attachAgain(): Promise<Link>
  /** Close reason of the connection that carries RDP. */
  readonly closed: Promise<string>
  close(): void
}

export interface LinkOptions {
  readonly resourceId: string
  readonly transport: Transport
  readonly path: Path
  /** Static and dynamic channels that the RDP client insists on. */
  readonly channels: readonly string[]
  readonly dynamicChannels?: readonly string[]
}

/** Opens sessions of one platform. */
export class Links {
  readonly #platform: Platform
  readonly #rap: RapClient

  constructor(platform: Platform) {
    this.#platform = platform
    const { authority, apiUrl } = platform
    this.#rap = createRapClient({ baseUrl: apiUrl, trust: { caPem: authority.certificatePem } })
  }

  async login(): Promise<void> {
    await this.#rap.login(this.#platform.admin)
  }

  async open(options: LinkOptions): Promise<Link> {
    switch (options.transport) {
      case 'sdk binary_v1':
        return await this.#overSdk(options, 'binary_v1')
      case 'sdk json_v1':
        return await this.#overSdk(options, 'json_v1')
      case 'json_v1':
        return await this.#overJson(options)
      default:
        return await this.#overRdCleanPath(options)
    }
  }

  async #overSdk({ resourceId, path, ...rest }: LinkOptions, transport: 'binary_v1' | 'json_v1'): Promise<Link> {
    const session = await this.#rap.sessions.start({ resourceId })
    const { id, worker_id, allowed_channels } = session.attachment
    const connection = await session.connect({ transport, path })
    const writer = connection.stream.writable.getWriter()
    const send = (bytes: Uint8Array) => void writer.write(Uint8Array.from(bytes)).catch(() => {})
    const client = new RecordedClient({ ...rest, send })
    const reading = (async () => {
      for await (const bytes of connection.stream.readable) client.push(bytes)
    })()
    reading.catch(() => {})
    await client.start()
    const hasSide = allowed_channels.some(channel => !RDP_CHANNELS.includes(channel))
    const transfers = hasSide ? await session.transfers({ path }) : undefined
    const told: string[] = []
    const listening = (async () => {
      for await (const { type } of transfers?.events() ?? []) told.push(type)
    })()
    listening.catch(() => {})
    return {
      sessionId: session.id,
      attachmentId: id,
      workerId: worker_id ?? '',
      allowedChannels: allowed_channels,
      client,
      uploadRefusal: hasSide ? 'ERR_UPLOAD_NOT_ALLOWED' : 'ERR_CHANNEL_NOT_ALLOWED',
      upload: async (name, content) => {
        try {
          const to = transfers ?? (await session.transfers({ path }))
          return await to.upload(new File([Uint8Array.from(content)], name))
        } catch (error) {
          return { refused: (error as RapError).code }
        }
      },
      channelsTold: () => transfers?.policy?.channels,
      told: type => told.includes(type),
      holdToken: async () => {
        throw new Error('the SDK holds no tokens')
      },
      attachAgain: async () => {
        throw new Error('not in this table')
      },
      closed: connection.closed.then(({ reason }) => reason),
      close: () => {
        void transfers?.close()
        void connection.close()
      },
    }
  }

  /** One connection for everything. */
  async #overJson(options: LinkOptions): Promise<Link> {
    return await this.#bindJson(await this.#start(options.resourceId), options)
  }

  async #bindJson(wire: WireSession, options: LinkOptions): Promise<Link> {
    const { path, channels: rdpChannels, dynamicChannels = [] } = options
    const channels = wire.allowedChannels
    const bound = await wire.bind(path, channels, 'json_v1', wire.started.data_plane.token)
    if ('refused' in bound) throw new Error(`bind was refused: ${bound.refused}`)
    const { socket } = bound
    const send = (bytes: Uint8Array) =>
      socket.send(JSON.stringify({ type: 'rdp', data: Buffer.from(bytes).toString('base64') }))
    const client = new RecordedClient({ channels: rdpChannels, dynamicChannels, send })
    socket.on('message', (data: Buffer) => {
      const message = parseServerMessage(data.toString())
      if (message.type === 'rdp') client.push(Buffer.from(message.data, 'base64'))
    })
    const side = new SideWire(bound, { binaryChunks: false })
    await client.start()
    const mayUpload = channels.includes('file_upload')
    return {
      ...wire.link(socket, client),
      attachAgain: async () => await this.#bindJson(await wire.attachAgain(), options),
      upload: (name, content) =>
        mayUpload ? side.upload(name, content) : wire.uploadAlone(path, 'json_v1', name, content),
      channelsTold: () => channelsToldBy(side),
      told: type => side.messages.some(message => message.type === type),
    }
  }

  async #overRdCleanPath({ resourceId, path, ...rest }: LinkOptions): Promise<Link> {
    const wire = await this.#start(resourceId)
    const { token } = wire.started.data_plane
    const url = wire.urlOf(path)
    const socket = await openSocket(this.#platform, url)
    const client = new RecordedClient({ ...rest, send: bytes => socket.send(bytes) })
    const destination = `rap-resource://${resourceId}`
    socket.send(rdCleanPathRequest({ token, proof: await wire.key.proof(token, url), destination }))
    const [answer] = (await once(socket, 'message')) as [Buffer]
    const decoded = decodeRdCleanPathAnswer(answer)
    if (decoded.type === 'error') throw new Error(`bind was refused: ${JSON.stringify(decoded)}`)
    socket.on('message', (data: Buffer) => client.push(data))
    await client.start()
    const sideChannels = wire.allowedChannels.filter(channel => !RDP_CHANNELS.includes(channel))
    const bound = sideChannels.length === 0 ? undefined : await wire.bind(path, sideChannels, 'binary_v1')
    if (bound !== undefined && 'refused' in bound) throw new Error(`side bind was refused: ${bound.refused}`)
    const side = bound === undefined ? undefined : new SideWire(bound, { binaryChunks: true })
    return {
      ...wire.link(socket, client),
      attachAgain: async () => {
        throw new Error('not in this table')
      },
      upload: (name, content) =>
        side !== undefined && sideChannels.includes('file_upload')
          ? side.upload(name, content)
          : wire.uploadAlone(path, 'binary_v1', name, content),
      channelsTold: () => side && channelsToldBy(side),
      told: type => side?.messages.some(message => message.type === type) === true,
    }
  }

  async #start(resourceId: string): Promise<WireSession> {
    const key = await newClientKey()
    const started = await this.#platform.api.call<StartedWithChannels>('POST', '/v1/sessions', {
      body: { resource_id: resourceId, dpop_jkt: key.jkt },
    })
    return new WireSession(this.#platform, started, key)
  }
}

function channelsToldBy(side: SideWire): readonly string[] | undefined {
  return side.messages.findLast(message => message.type === 'policy')?.allowed_channels
}

interface StartedWithChannels extends Started {
  readonly attachment: Started['attachment'] & { readonly allowed_channels: readonly string[] }
}

/** A session without the SDK, that binds whatever it is told to. */
class WireSession {
  readonly #platform: Platform
  readonly started: StartedWithChannels
  readonly key: ClientKey

  constructor(platform: Platform, started: StartedWithChannels, key: ClientKey) {
    this.#platform = platform
    this.started = started
    this.key = key
  }

  get allowedChannels(): readonly string[] {
    return this.started.attachment.allowed_channels
  }

  async attachAgain(): Promise<WireSession> {
    const path = `/v1/sessions/${this.started.session.id}/attachments`
    const { api } = this.#platform
    const started = await api.call<StartedWithChannels>('POST', path, { body: { dpop_jkt: this.key.jkt } })
    return new WireSession(this.#platform, started, this.key)
  }

  urlOf(path: Path): string {
    return path === 'direct' ? directUrl(this.started) : (this.#platform.gatewayUrl ?? '')
  }

  async bind(
    path: Path,
    channels: readonly string[],
    transport: 'json_v1' | 'binary_v1',
    token?: string,
  ): Promise<BoundWire | { readonly refused: string }> {
    const url = this.urlOf(path)
    const fresh = token ?? (await this.#freshToken())
    const outcome = await wireBind(this.#platform, {
      url,
      token: fresh,
      proof: await this.key.proof(fresh, url),
      channels,
      transport,
    })
    return outcome.bound ? outcome : { refused: outcome.reason }
  }

  /** Binds `file_upload` alone, whether or not that is allowed, and sends a file. */
  async uploadAlone(
    path: Path,
    transport: 'json_v1' | 'binary_v1',
    name: string,
    content: Buffer,
  ): Promise<UploadOutcome> {
    const bound = await this.bind(path, ['file_upload'], transport)
    if ('refused' in bound) return bound
    const side = new SideWire(bound, { binaryChunks: transport === 'binary_v1' })
    const outcome = await side.upload(name, content)
    await side.close()
    return outcome
  }

  link(socket: WebSocket, client: RecordedClient): Omit<Link, 'upload' | 'channelsTold' | 'told' | 'attachAgain'> {
    const { session, attachment } = this.started
    return {
      sessionId: session.id,
      attachmentId: attachment.id,
      workerId: attachment.worker_id,
      allowedChannels: this.allowedChannels,
      client,
      uploadRefusal: 'ERR_BIND_CHANNELS_NOT_ALLOWED',
      holdToken: async channels => {
        const token = await this.#freshToken()
        return async () => {
          const bound = await this.bind('direct', channels, 'json_v1', token)
          if ('refused' in bound) return bound.refused
          bound.socket.close()
          return 'bound'
        }
      },
      closed: new Promise(resolve => socket.once('close', (_code, reason) => resolve(reason.toString()))),
      close: () => socket.close(),
    }
  }

  async #freshToken(): Promise<string> {
    const path = `/v1/sessions/${this.started.session.id}/data-plane-token`
    const { data_plane } = await this.#platform.api.call<{ data_plane: { token: string } }>('POST', path, { body: {} })
    return data_plane.token
  }
}
