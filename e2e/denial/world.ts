import { PDUTYPE2 } from '@rap/rdp/codecs'
import { type Platform, type PlatformOptions, startPlatform, waitFor } from '@rap/testkit'
import type { AuditWords } from './attempts.ts'
import { Cell, newWord } from './cell.ts'
import { type Link, type LinkOptions, Links } from './links.ts'
import { type PolicyRow, PolicyWriter } from './policies.ts'
import { type RecordingTarget, startRecordingTarget } from './recording-target.ts'

export interface AuditRow {
  readonly event: string
  readonly code: string | null
  readonly details: Readonly<Record<string, string | undefined>>
}

export interface CellOptions extends Pick<LinkOptions, 'transport' | 'path' | 'dynamicChannels'> {
  readonly policy: PolicyRow
  readonly resourceId?: string
  /** Static channels that the RDP client insists on. */
  readonly channels?: readonly string[]
}

/** Events of what was held back, and of what came through and is worth a line. */
const EVENTS = [
  'channel_refused',
  'channel_data_withheld',
  'data_plane_bind_refused',
  'upload_finished',
  'upload_refused',
  'relay_protocol_violation',
]
/** What every RDP client asks for, whatever the policy is. */
const CLIENT_CHANNELS = ['rdpdr', 'rdpsnd', 'cliprdr', 'drdynvc']

/** One row in words; one that lists refused channels in as many. */
function wordsOf({ event, code, details: { channel, channels, direction } }: AuditRow): readonly AuditWords[] {
  const words = (name = '-', way = '-'): AuditWords => [event, code ?? '-', name, way].join(' ')
  if (channels === undefined) return [words(channel, direction)]
  return channels.split(', ').map(entry => {
    const [kind = ''] = entry.split(' ', 1)
    return words(entry.slice(kind.length + 1), kind === 'static' ? 'client_to_server' : 'server_to_client')
  })
}

/** One platform and one recording target for all cells of the table. */
export class World {
  readonly platform: Platform
  readonly target: RecordingTarget
  readonly links: Links
  readonly policies: PolicyWriter
  readonly #resources = new Map<string, Promise<string>>()
  #names = 0

  private constructor(platform: Platform, target: RecordingTarget) {
    this.platform = platform
    this.target = target
    this.links = new Links(platform)
    this.policies = new PolicyWriter(platform)
  }

  static async start(options: PlatformOptions = {}): Promise<World> {
    const target = await startRecordingTarget()
    try {
      const world = new World(await startPlatform(options), target)
      await world.links.login()
      return world
    } catch (error) {
      target.close()
      throw error
    }
  }

  async stop(): Promise<void> {
    await this.platform.stop()
    this.target.close()
  }

  /** A resource at the recording target, with a policy of its own. */
  async newResource(policy: PolicyRow): Promise<string> {
    const { host, port, certificateFingerprint } = this.target
    const { id } = await this.platform.addTarget({
      name: `target-${this.#names++}`,
      host,
      port,
      certificatePins: [certificateFingerprint],
      credential: { username: 'svc', password: 'denial-Pa55' },
      security: 'tls',
    })
    await this.policies.write(id, policy)
    return id
  }

  /** A session under one policy, over one transport and path. Sessions of one policy share a resource, unless it is named. */
  async openCell({ policy, channels = CLIENT_CHANNELS, resourceId, ...rest }: CellOptions): Promise<Cell> {
    const shared = this.#resources.get(policy.name) ?? this.newResource(policy)
    this.#resources.set(policy.name, shared)
    const link = await this.links.open({ resourceId: resourceId ?? (await shared), channels, ...rest })
    return await this.cellOf(link, policy)
  }

  /** Finds the target's end of a link. */
  async cellOf(link: Link, { channels }: PolicyRow): Promise<Cell> {
    const word = newWord()
    link.client.rdp.sendShare(PDUTYPE2.REFRESH_RECT, Buffer.from(word))
    return new Cell(channels, link, await this.target.hears(word))
  }

  /** Events of one kind in the audit of a session. */
  async eventsOf(sessionId: string, event: string): Promise<readonly AuditRow[]> {
    const query = new URLSearchParams({
      organization_id: this.platform.organizationId,
      session_id: sessionId,
      limit: '200',
      event,
    })
    return (await this.platform.api.call<{ items: AuditRow[] }>('GET', `/v1/audit-events?${query}`)).items
  }

  /** What the audit says of a session about things that were held back or sent, in words, sorted. */
  async audit(sessionId: string): Promise<readonly AuditWords[]> {
    const query = new URLSearchParams({
      organization_id: this.platform.organizationId,
      session_id: sessionId,
      limit: '200',
    })
    const { items } = await this.platform.api.call<{ items: AuditRow[] }>('GET', `/v1/audit-events?${query}`)
    const told = items.filter(({ event }) => EVENTS.includes(event))
    return told.flatMap(wordsOf).sort()
  }

  /** The same once it is as long as `count`: events take their time. */
  async auditOf(sessionId: string, count: number): Promise<readonly AuditWords[]> {
    let rows: readonly AuditWords[] = []
    await waitFor(
      async () => {
        rows = await this.audit(sessionId)
        return rows.length >= count
      },
      { what: 'the audit', timeoutMs: 15_000, intervalMs: 200 },
    ).catch(() => {})
    return rows
  }
}
