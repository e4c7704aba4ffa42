import type { Platform } from '@rap/testkit'

export const CHANNELS = [
  'display',
  'input',
  'clipboard_client_to_server',
  'clipboard_server_to_client',
  'file_upload',
  'events',
] as const
export type Channel = (typeof CHANNELS)[number]

/** Longest clipboard text under every policy of the table, in bytes of UTF-16LE. */
export const CLIPBOARD_BYTES = 4096

/** One row of policies: what the organization allows is everything, and one scope takes something away. */
export interface PolicyRow {
  readonly name: string
  readonly scope: 'organization' | 'resource' | 'grant'
  readonly channels: readonly Channel[]
}

const without = (...off: readonly Channel[]): readonly Channel[] => CHANNELS.filter(channel => !off.includes(channel))

export const POLICIES: readonly PolicyRow[] = [
  { name: 'everything', scope: 'organization', channels: CHANNELS },
  { name: 'view only', scope: 'grant', channels: without('input') },
  { name: 'no clipboard to the desktop', scope: 'resource', channels: without('clipboard_client_to_server') },
  { name: 'no clipboard from the desktop', scope: 'grant', channels: without('clipboard_server_to_client') },
  {
    name: 'no clipboard',
    scope: 'resource',
    channels: without('clipboard_client_to_server', 'clipboard_server_to_client'),
  },
  { name: 'no uploads', scope: 'grant', channels: without('file_upload') },
  { name: 'no notices', scope: 'resource', channels: without('events') },
  { name: 'no picture', scope: 'resource', channels: without('display') },
  { name: 'nothing but the picture', scope: 'grant', channels: ['display'] },
]

/** What holds where nobody has written a policy. */
export const DEFAULT_POLICY: PolicyRow = {
  name: 'nothing written',
  scope: 'organization',
  channels: ['display', 'input', 'events'],
}

export interface PolicyAnswer {
  readonly version: number
  readonly sessions_changed: number
}

/** Writes policies as an administrator does. */
export class PolicyWriter {
  readonly #platform: Platform

  constructor(platform: Platform) {
    this.#platform = platform
  }

  async organization(channels: readonly Channel[]): Promise<PolicyAnswer> {
    const limits = { clipboard_bytes: CLIPBOARD_BYTES }
    return await this.#put(`/v1/organizations/${this.#platform.organizationId}/policy`, { channels, limits })
  }

  async resource(resourceId: string, document: unknown): Promise<PolicyAnswer> {
    return await this.#put(`/v1/resources/${resourceId}/policy`, document)
  }

  /** For the administrator, who is the person of every test. */
  async grant(resourceId: string, document: unknown): Promise<PolicyAnswer> {
    const { user } = await this.#platform.api.call<{ user: { id: string } }>('GET', '/v1/me')
    return await this.#put(`/v1/resources/${resourceId}/grants/${user.id}`, document)
  }

  /** Puts a row of the table on a resource. */
  async write(resourceId: string, { scope, channels }: PolicyRow): Promise<void> {
    if (scope === 'resource') await this.resource(resourceId, { channels })
    else if (scope === 'grant') await this.grant(resourceId, { channels })
  }

  async #put(path: string, document: unknown): Promise<PolicyAnswer> {
    return await this.#platform.api.call('PUT', path, { body: { document } })
  }
}
