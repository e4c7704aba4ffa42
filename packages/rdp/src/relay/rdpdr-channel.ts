import { tryDecodeChannelChunk } from '../channel-pdu.ts'
import { type ChannelPacket, encodeChannelPackets } from './channel-packet.ts'
import { Drive } from './drive.ts'
import type { RelayState } from './state.ts'
import type { DriveFiles } from './types.ts'

/** The rdpdr channel between the target and this relay, which is its client: the drive RAP_Transfers. */
export class RdpdrChannel {
  readonly #state: RelayState
  readonly #drive: Drive
  #channelId = 0
  /** The drive waits until the client's own PDU has gone through. */
  #isHeldUp = false

  constructor(state: RelayState, files: DriveFiles) {
    this.#state = state
    this.#drive = new Drive(
      {
        toServer: message => {
          const place = { initiator: state.userId, channelId: this.#channelId, showsProtocol: false }
          state.toServer(encodeChannelPackets('send_data_request', place, message))
        },
        isClear: () => {
          this.#isHeldUp = state.clientLane?.isMidPdu === true
          return !this.#isHeldUp
        },
        withheld: (direction, code) => state.withhold('rdpdr', direction, code),
        mounted: mounted => state.sink.event({ type: 'drive', mounted }),
        passed: bytes => {
          state.counters.driveReadBytes += bytes
        },
      },
      files,
    )
  }

  get bufferedBytes(): number {
    return this.#drive.bufferedBytes
  }

  push({ channelId, userData }: ChannelPacket): void {
    this.#channelId = channelId
    const chunk = tryDecodeChannelChunk(userData)
    if (chunk === undefined) this.#state.withhold('rdpdr', 'server_to_client', 'ERR_DRIVE_MALFORMED')
    else this.#drive.fromServer(chunk)
  }

  /** Bytes of the client have gone through. */
  clientMoved(): void {
    if (!this.#isHeldUp || this.#state.clientLane?.isMidPdu === true) return
    this.#isHeldUp = false
    this.#drive.resume()
  }

  filesChanged(): void {
    this.#drive.changed()
  }

  policyChanged(): void {
    if (!this.#state.policy.channels.has('file_upload')) this.#drive.close()
  }
}
