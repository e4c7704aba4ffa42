import { FLOW_MARKER, PACKET_COMPRESSED, PDUTYPE, PDUTYPE2, SHARE_DATA_BYTES } from '../share.ts'

/** Offset of the MCS PDU behind TPKT (4) and X.224 (3). */
const MCS_OFFSET = 7
const USER_ID_BASE = 1001

/**
 * Reads the first bytes of a slow-path PDU without allocating: the hot path's view of a Send Data PDU.
 *
 * It never throws: what it does not recognise is left to the codecs, which say what is wrong.
 */
export class SendDataHeader {
  initiator = 0
  channelId = 0
  /** Offset of the user data in the bytes that were read. */
  userData = 0
  userDataBytes = 0
  readonly #choice: number

  /** `choice` is MCS.SEND_DATA_REQUEST or MCS.SEND_DATA_INDICATION. */
  constructor(choice: number) {
    this.#choice = choice
  }

  /** True when the PDU of `size` bytes at `start` is a Send Data PDU whose lengths agree. */
  read(bytes: Uint8Array, start: number, size: number): boolean {
    const mcs = start + MCS_OFFSET
    if (size < MCS_OFFSET + 8 || bytes[start + 4] !== 0x02 || bytes[start + 5] !== 0xf0 || bytes[start + 6] !== 0x80) {
      return false
    }
    if ((bytes[mcs] as number) >> 2 !== this.#choice) return false
    this.initiator = u16be(bytes, mcs + 1) + USER_ID_BASE
    this.channelId = u16be(bytes, mcs + 3)
    const length = bytes[mcs + 6] as number
    if (length < 0x80) {
      this.userData = mcs + 7
      this.userDataBytes = length
    } else {
      this.userData = mcs + 8
      this.userDataBytes = ((length & 0x7f) << 8) | (bytes[mcs + 7] as number)
    }
    return this.userData + this.userDataBytes === start + size
  }

  /** The flags of the security header that the user data begins with; -1 when it is too short for one. */
  securityFlags(bytes: Uint8Array): number {
    return this.userDataBytes < 4 ? -1 : u16le(bytes, this.userData)
  }

  /** True when the user data is a share data PDU with input of a person. */
  isInput(bytes: Uint8Array): boolean {
    return this.userDataBytes >= SHARE_DATA_BYTES && bytes[this.userData + 14] === PDUTYPE2.INPUT
  }

  /** True when the user data is exactly one uncompressed share data PDU of a type that `passable` marks with 1. */
  isPassable(bytes: Uint8Array, passable: Uint8Array): boolean {
    const share = this.userData
    return (
      this.userDataBytes >= SHARE_DATA_BYTES &&
      this.userDataBytes !== FLOW_MARKER &&
      u16le(bytes, share) === this.userDataBytes &&
      ((bytes[share + 2] as number) & 0xf) === PDUTYPE.DATA &&
      passable[bytes[share + 14] as number] === 1 &&
      ((bytes[share + 15] as number) & PACKET_COMPRESSED) === 0
    )
  }
}

function u16be(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

function u16le(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8)
}
