import { type Platform, startPlatform } from '@rap/testkit'
import { Cell } from './cell.ts'
import { type LinkOptions, Links } from './links.ts'
import { type PolicyRow, PolicyWriter } from './policies.ts'
import { type RecordingTarget, startRecordingTarget } from './recording-target.ts'

/** An event of the audit, as far as the table looks at it. */
export interface AuditRow {
  readonly event: string
  readonly code: string | null
  readonly session_id: string | null
  readonly details: Readonly<Record<string, unknown>>
}

export interface CellOptions extends Pick<LinkOptions, 'transport' | 'path' | 'dynamicChannels'> {
  readonly policy: PolicyRow
  /** Static channels that the RDP client insists on. */
  readonly channels?: readonly string[]
}

/** What every RDP client asks for, whatever the policy is. */
const CLIENT_CHANNELS = ['rdpdr', 'rdpsnd', 'cliprdr', 'drdynvc']

/** One platform and one recording target for all cells of the table. */
export class World {
  readonly platform: Platform
  readonly target: RecordingTarget
  readonly links: Links
  readonly policies: PolicyWriter
  #accounts = 0

  private constructor(platform: Platform, target: RecordingTarget) {
    this.platform = platform
    this.target = target
    this.links = new Links(platform)
    this.policies = new PolicyWriter(platform)
  }

  static async start(): Promise<World> {
    const target = await startRecordingTarget()
    try {
      const world = new World(await startPlatform({ workers: 2 }), target)
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

  /** A resource of its own at the recording target; the account tells the connections apart. */
  async newResource(): Promise<{ readonly id: string; readonly username: string }> {
    const username = `account-${this.#accounts++}`
    const { host, port, certificateFingerprint } = this.target
    const { id } = await this.platform.addTarget({
      name: username,
      host,
      port,
      certificatePins: [certificateFingerprint],
      credential: { username, password: 'denial-Pa55' },
      security: 'tls',
    })
    return { id, username }
  }

  /** A session under one policy, over one transport and path. */
  async openCell({ policy, channels = CLIENT_CHANNELS, ...rest }: CellOptions): Promise<Cell> {
    const { id, username } = await this.newResource()
    await this.policies.write(id, policy)
    const link = await this.links.open({ resourceId: id, channels, ...rest })
    return new Cell(policy.channels, link, await this.target.active(username))
  }

  async audit(sessionId: string): Promise<readonly AuditRow[]> {
    const query = new URLSearchParams({
      organization_id: this.platform.organizationId,
      session_id: sessionId,
      limit: '200',
    })
    return (await this.platform.api.call<{ items: AuditRow[] }>('GET', `/v1/audit-events?${query}`)).items
  }
}
