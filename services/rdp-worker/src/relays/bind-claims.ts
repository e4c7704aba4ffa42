import type { CloseReason } from '@rap/data-plane-protocol'
import type { Channel } from '@rap/session-policy'
import type { AssignmentClaims } from '@rap/token-claims'
import type { RuntimePolicy } from '../sessions/runtime-policy.ts'
import type { SideChannels } from '../side/side-channels.ts'
import type { ClientPort, Relay } from './relay.ts'

/** What a transport brings to a relay. */
export interface BoundOptions {
  readonly client: ClientPort
  readonly channels: readonly Channel[]
  readonly clientRequestedProtocols: number
}

/** What a bound client has. */
export interface BoundAttachment {
  readonly relay: Relay
  readonly side: SideChannels
}

/** A warm attachment that one client is being authorised for. */
export interface BindClaim {
  readonly assignment: AssignmentClaims
  /** Makes the relay, which the caller starts; undefined where the attachment ended meanwhile. */
  bound(options: BoundOptions, policy: RuntimePolicy): BoundAttachment | undefined
  /** The bind was refused: the attachment waits on. */
  release(): void
  /** The bind was granted, and the client is gone: the attachment ends. */
  abandon(): void
}

/** An attachment that a connection with side channels alone is being authorised for. */
export interface SideClaim {
  readonly assignment: AssignmentClaims
  /** `onEnded` is called when the attachment is over; undefined where it is over already. */
  bound(
    policy: RuntimePolicy,
    onEnded: (reason: CloseReason) => void,
  ): { readonly channels: SideChannels; left(): void } | undefined
}
