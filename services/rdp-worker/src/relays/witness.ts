import { type RelayEvent, WireError } from '@rap/rdp'
import type { Logger } from '@rap/service-kit'
import type { AssignmentClaims } from '@rap/token-claims'
import type { LiveSession } from '../sessions/sessions.ts'
import type { SideChannels, UploadOutcome } from '../side/side-channels.ts'
import { RefusedChannels } from './refused-channels.ts'
import type { Reports } from './reports.ts'

/** Events of one attachment that are logged; a target makes as many as it likes. */
const MAX_LOGGED_EVENTS = 64

export interface WitnessOptions {
  readonly assignment: AssignmentClaims
  readonly session: LiveSession
  readonly side: SideChannels
  readonly reports: Reports
  readonly logger: Logger
}

/** Tells audit, log and person what was seen on the wire of one attachment: into the audit each thing once a session. */
export class Witness {
  readonly #options: WitnessOptions
  readonly #refused: RefusedChannels
  #logged = 0

  constructor(options: WitnessOptions) {
    const { assignment, reports } = options
    this.#options = options
    this.#refused = new RefusedChannels(channels => {
      void reports.audit(assignment, 'channel_refused', 'ERR_CHANNEL_REFUSED', { channels })
    })
  }

  upload({ code, size }: UploadOutcome): void {
    const { assignment, session, reports } = this.#options
    if (code === undefined) void reports.uploadFinished(assignment, { size })
    else if (session.isNews(`upload ${code}`)) void reports.audit(assignment, 'upload_refused', code, {})
  }

  relayEvent(event: RelayEvent): void {
    const { assignment, session, side, reports, logger } = this.#options
    switch (event.type) {
      case 'credentials_used':
        return
      case 'channel_refused': {
        const { kind, name } = event
        if (session.isNewName(`${kind} ${name}`)) this.#refused.add(kind, name)
        return
      }
      case 'withheld': {
        const { channel, direction, code } = event
        side.withheld(channelOf(event), code)
        if (!session.isNews(`${channel} ${direction} ${code}`)) return
        void reports.audit(assignment, 'channel_data_withheld', code, { channel, direction })
        return
      }
      case 'drive':
        side.setMounted(event.mounted)
        return
      case 'server_redirection_refused':
        void reports.audit(assignment, 'server_redirection_refused', 'ERR_RELAY_SERVER_REDIRECTION', {})
        return
      default: {
        if (this.#logged++ >= MAX_LOGGED_EVENTS) return
        const { attachment_id } = assignment
        const { type, ...facts } = event
        logger.info({ event: 'relay_event', attachment_id, relay_event: type, facts }, 'relay event')
      }
    }
  }

  relayError(code: string, error: unknown): void {
    const { assignment, reports, logger } = this.#options
    const { attachment_id } = assignment
    if (!(error instanceof WireError)) {
      logger.error({ event: 'relay_failed', attachment_id, code, err: error }, 'relay failed')
      return
    }
    logger.warn({ event: 'relay_refused', attachment_id, code, err: error }, 'relay refused')
    if (code === 'ERR_RELAY_SERVER_REDIRECTION') return
    const { structure = '', field = '' } = error.facts
    const details = { wire_code: error.code, structure, field }
    void reports.audit(assignment, 'relay_protocol_violation', code, details)
  }

  /** The attachment is over: what was gathered is told. */
  close(): void {
    this.#refused.flush()
  }
}

/** The channel of the policy that something held back belongs to. */
function channelOf({ channel, direction }: RelayEvent & { type: 'withheld' }): string {
  if (channel === 'rdpdr') return 'file_upload'
  return direction === 'client_to_server' ? 'clipboard_client_to_server' : 'clipboard_server_to_client'
}
