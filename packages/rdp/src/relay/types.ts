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

/** A channel of the data-plane token that an RDP connection can carry or use. */
export type RelayChannel =
  | 'display'
  | 'input'
  | 'clipboard_client_to_server'
  | 'clipboard_server_to_client'
  | 'file_upload'
  | 'events'

export type RenderQualityProfile = 'low' | 'balanced' | 'high'

/** The policy in force for one relay; the narrowest of organization, resource and grant. */
export interface RelayPolicy {
  readonly channels: ReadonlySet<RelayChannel>
  readonly renderQualityProfile: RenderQualityProfile
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
}

export type RelayDirection = 'client_to_server' | 'server_to_client'

/** What the caller may log and audit; no field ever carries payload bytes, user names or cookies. */
export type RelayEvent =
  /** `packet` is what `toServer` has just been given; the caller zeroes it once it is written. */
  | { readonly type: 'credentials_used'; readonly packet: Uint8Array }
  /** The first Demand Active / Confirm Active exchange is done. Once per relay. */
  | { readonly type: 'active' }
  /** A channel outside docs/protocols/channels.md. Once per kind and name, and for a bounded number of names. */
  | {
      readonly type: 'channel_refused'
      readonly kind: 'static' | 'dynamic'
      readonly name: string
      readonly direction: RelayDirection
    }
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
