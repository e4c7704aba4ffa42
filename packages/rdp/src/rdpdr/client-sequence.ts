import {
  encodeClientAnnounceReply,
  encodeClientCapabilities,
  encodeClientName,
  encodeDeviceListAnnounce,
  encodeDeviceListRemove,
} from './client-messages.ts'
import { NT_STATUS } from './nt-status.ts'
import { EXTENDED_PDU, type RdpdrServerMessage } from './server-messages.ts'

/** What a target is told of the client's name: nothing of this machine. */
const COMPUTER_NAME = 'RAP'

export interface ClientSequencePort {
  toServer(message: Uint8Array): void
  mounted(mounted: boolean): void
}

/** Messages of the server that belong to the sequence. */
export type SequenceMessage = Exclude<RdpdrServerMessage, { type: 'io_request' }>

/**
 * From the Server Announce to the answer about the one device. Spec: [MS-RDPEFS] §1.3.1, §3.2.5.1.
 *
 * INVARIANT: the device is announced once in a sequence, and `mounted` is told once for each change.
 */
export class ClientSequence {
  readonly #port: ClientSequencePort
  readonly #device: { readonly id: number; readonly name: string }
  #isAnnounced = false
  #hasCapabilities = false
  #isConfirmed = false
  #isLoggedOn = false
  #serverFlags = 0
  #isListed = false
  #awaitsReply = false
  #isMounted = false
  #isRemoved = false

  constructor(port: ClientSequencePort, device: { readonly id: number; readonly name: string }) {
    this.#port = port
    this.#device = device
  }

  /** Whether the server has begun a sequence. */
  get isAnnounced(): boolean {
    return this.#isAnnounced
  }

  /** Whether the server knows of the device. */
  get isListed(): boolean {
    return this.#isListed
  }

  /** False for a message that is out of sequence, and was dropped. */
  take(message: SequenceMessage): boolean {
    if (message.type === 'server_announce') {
      this.#begin(message.clientId)
      return true
    }
    if (!this.#isAnnounced) return false
    switch (message.type) {
      case 'capability_request':
        this.#serverFlags = message.extendedPdu
        this.#hasCapabilities = true
        this.#port.toServer(encodeClientCapabilities())
        break
      case 'client_id_confirm':
        this.#isConfirmed = true
        break
      case 'user_logged_on':
        this.#isLoggedOn = true
        break
      case 'device_reply':
        return this.#deviceReply(message.deviceId, message.resultCode)
    }
    this.#listDevice()
    return true
  }

  /** Takes the device away for good; the server is told if it knows how to be told. */
  remove(): void {
    this.#isRemoved = true
    if (this.#isListed && (this.#serverFlags & EXTENDED_PDU.DEVICE_REMOVE) !== 0) {
      this.#port.toServer(encodeDeviceListRemove(this.#device.id))
    }
    this.#forgetDevice()
  }

  /** Spec: §3.2.5.1.2: whatever was before, the server has forgotten it. */
  #begin(clientId: number): void {
    this.#forgetDevice()
    this.#isAnnounced = true
    this.#hasCapabilities = false
    this.#isConfirmed = false
    this.#isLoggedOn = false
    this.#serverFlags = 0
    this.#port.toServer(encodeClientAnnounceReply(clientId))
    this.#port.toServer(encodeClientName(COMPUTER_NAME))
  }

  /**
   * Once the capabilities are exchanged, the client is confirmed, and the user is logged on where the server tells of it:
   * Windows does so last of all, xrdp first of all.
   */
  #listDevice(): void {
    const awaitsLogon = (this.#serverFlags & EXTENDED_PDU.USER_LOGGEDON) !== 0 && !this.#isLoggedOn
    if (this.#isRemoved || this.#isListed || !this.#hasCapabilities || !this.#isConfirmed || awaitsLogon) return
    this.#isListed = true
    this.#awaitsReply = true
    this.#port.toServer(encodeDeviceListAnnounce(this.#device.id, this.#device.name))
  }

  #deviceReply(deviceId: number, resultCode: number): boolean {
    if (deviceId !== this.#device.id || !this.#awaitsReply) return false
    this.#awaitsReply = false
    this.#isMounted = resultCode === NT_STATUS.SUCCESS
    this.#port.mounted(this.#isMounted)
    return true
  }

  #forgetDevice(): void {
    this.#isListed = false
    this.#awaitsReply = false
    if (!this.#isMounted) return
    this.#isMounted = false
    this.#port.mounted(false)
  }
}
