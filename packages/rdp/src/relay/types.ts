import type { Channel } from '@rap/session-policy'

/**
 * What the relay core takes from its caller and what it tells it.
 *
 * The caller (the worker's data plane) owns sockets, timers and back-pressure; the relay owns the bytes in between.
 */

/** The target account, put into the Client Info PDU by the relay. */
export interface RelayCredentials {
  readonly username: string
  readonly domain: string
  /** UTF-16LE without a terminator; the caller zeroes it after `credentials_used`. */
  readonly password: Uint8Array
}

export type RenderQualityProfile = 'low' | 'balanced' | 'high'

/** The policy in force for one relay; the narrowest of organization, resource and grant. */
export interface RelayPolicy {
  readonly channels: ReadonlySet<Channel>
  readonly renderQualityProfile: RenderQualityProfile
  /** Longest clipboard text, in bytes of UTF-16LE without its terminator. */
  readonly clipboardBytes: number
}

/** A finished upload as the target sees it in RAP_Transfers. INVARIANT: its content never changes. */
export interface DriveFile {
  /** Identifies it for `read`; never shown to the target. */
  readonly id: string
  /** A safe name (docs/protocols/uploads.md), at most 255 UTF-16 units. */
  readonly name: string
  readonly size: number
  /** Milliseconds of the Unix epoch. */
  readonly modifiedAt: number
}

/** The bytes of a read, or why there are none: `damaged` where they are not those of the upload any more. */
export type ReadResult = Uint8Array | 'damaged' | 'failed'

/** What stands behind the drive RAP_Transfers: this session's finished uploads and nothing else. */
export interface DriveFiles {
  /** As they are now; the same array for as long as nothing changes. */
  list(): readonly DriveFile[]
  /**
   * Reads `length` bytes at `offset`, both inside the file. `done` is called once, now or later. INVARIANT: the relay has one read under way at most.
   */
  read(file: DriveFile, offset: number, length: number, done: (result: ReadResult) => void): void
}

/** Protocol numbers are those of [MS-RDPBCGR] §2.2.1.1.1: SSL 1, HYBRID 2, RDSTLS 4, HYBRID_EX 8. */
export interface RelayOptions {
  /** The protocol that the target chose in its X.224 Connection Confirm. */
  readonly targetSelectedProtocol: number
  /** The protocols that the worker asked the target for in its X.224 Connection Request. */
  readonly targetRequestedProtocols: number
  /** The protocols that the client asked for in its own X.224 request; PROTOCOL_SSL where it sent none. */
  readonly clientRequestedProtocols: number
  /** Undefined: the logon fields are blanked and the target shows its own logon screen. */
  readonly credentials: RelayCredentials | undefined
  readonly policy: RelayPolicy
  /** Where `file_upload` is allowed: what the target finds in RAP_Transfers. */
  readonly drive?: DriveFiles | undefined
}

export type RelayDirection = 'client_to_server' | 'server_to_client'

/** Why something inside a channel was held back. */
export type WithheldCode =
  /** The policy has no clipboard in this direction. */
  | 'ERR_CLIPBOARD_DIRECTION'
  /** Files, images, HTML: anything but Unicode text. */
  | 'ERR_CLIPBOARD_FORMAT'
  | 'ERR_CLIPBOARD_TOO_LARGE'
  | 'ERR_CLIPBOARD_MALFORMED'
  /** Write, rename, delete: anything that would change RAP_Transfers. */
  | 'ERR_DRIVE_READ_ONLY'
  | 'ERR_DRIVE_MALFORMED'
  /** The target asks for more at once than there is room for. */
  | 'ERR_DRIVE_BUSY'

/** What the caller may log and audit; no field ever carries payload bytes, user names or cookies. */
export type RelayEvent =
  /** `packet` is what `toServer` has just been given; the caller zeroes it once it is written. */
  | { readonly type: 'credentials_used'; readonly packet: Uint8Array }
  /** The first Demand Active / Confirm Active exchange is done. Once per relay. */
  | { readonly type: 'active' }
  /** A channel outside docs/protocols/channels.md. Once per kind and name, and for a bounded number of names. */
  | {
      readonly type: 'channel_refused'
      readonly kind: 'static' | 'dynamic' | 'transport'
      readonly name: string
      readonly direction: RelayDirection
    }
  /** Something inside a channel that does pass was held back. Each time; whoever tells of it bounds how often. */
  | {
      readonly type: 'withheld'
      readonly channel: 'cliprdr' | 'rdpdr'
      readonly direction: RelayDirection
      readonly code: WithheldCode
    }
  /** The target has taken the device RAP_Transfers, or refused it. */
  | { readonly type: 'drive'; readonly mounted: boolean }
  | { readonly type: 'save_session_info'; readonly infoType: number }
  | { readonly type: 'set_error_info'; readonly errorInfo: number }
  | { readonly type: 'server_redirection_refused' }
  /** `errorCode` and `stateTransition` are there when the message is a licensing error alert. */
  | {
      readonly type: 'license'
      readonly messageType: number
      readonly errorCode?: number
      readonly stateTransition?: number
    }
  | {
      readonly type: 'logon_error'
      readonly errorNotificationType: number
      readonly errorNotificationData: number
    }

/** Where the relay writes. Called synchronously from within `fromClient` and `fromServer`, never later. */
export interface RelaySink {
  /** `bytes` may be a view of the chunk that was pushed: valid only during the call, unless the caller owns the chunk. */
  toClient(bytes: Uint8Array): void
  /** As `toClient`, towards the target. */
  toServer(bytes: Uint8Array): void
  event(event: RelayEvent): void
}

/** `connect` up to the Client Info PDU, `logon` up to the first Confirm Active, then `active` for good. */
export type RelayPhase = 'connect' | 'logon' | 'active'
