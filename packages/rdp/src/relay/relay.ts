import { checkCredentials } from './client-info-patch.ts'
import { ClientRules } from './client-rules.ts'
import { ConnectSequence } from './connect-sequence.ts'
import { Lane } from './lane.ts'
import { ServerRules } from './server-rules.ts'
import { type RelayCounters, RelayState, type Stage } from './state.ts'
import { StaticChannels } from './static-channels.ts'
import type { RelayOptions, RelayPhase, RelayPolicy, RelaySink } from './types.ts'

const PHASES: Record<Stage, RelayPhase> = {
  settings: 'connect',
  channels: 'connect',
  licensing: 'logon',
  capabilities: 'logon',
  active: 'active',
}

/**
 * The RDP-aware relay between one client and one target, from MCS Connect Initial on.
 *
 * It puts in the credentials, keeps channels to the allow-list, and forwards display and input bytes as they came.
 * Sans I/O: bytes in, bytes out through the sink, synchronously. The sink must not call back into the relay.
 *
 * INVARIANT: nothing reaches the target before a Client Info PDU that this relay wrote, except the settings exchange
 * and channel joins; there is exactly one Client Info PDU; no credential, user name or cookie reaches the client.
 * INVARIANT: `bufferedBytes` stays below 2 MiB and four times the longest clipboard text, whatever either side sends.
 */
export class RdpRelay {
  readonly #state: RelayState
  readonly #channels: StaticChannels
  readonly #rules: readonly [ClientRules, ServerRules]
  readonly #clientLane: Lane
  readonly #serverLane: Lane
  #failure: unknown

  /** Throws TypeError when the credentials do not fit a Client Info PDU: 255 UTF-16 units each. */
  constructor(options: RelayOptions, sink: RelaySink) {
    if (options.credentials !== undefined) checkCredentials(options.credentials)
    const state = new RelayState(options, sink)
    const connect = new ConnectSequence(state)
    this.#state = state
    this.#channels = new StaticChannels(state)
    this.#rules = [new ClientRules(state, connect, this.#channels), new ServerRules(state, connect, this.#channels)]
    this.#clientLane = new Lane(this.#rules[0])
    this.#serverLane = new Lane(this.#rules[1])
    state.clientLane = this.#clientLane
    state.serverLane = this.#serverLane
  }

  get phase(): RelayPhase {
    return PHASES[this.#state.stage]
  }

  /** Bytes held back in reassembly and queues, both directions together. */
  get bufferedBytes(): number {
    return this.#clientLane.bufferedBytes + this.#serverLane.bufferedBytes + this.#channels.bufferedBytes
  }

  /** What was swallowed so far. */
  get counters(): Readonly<RelayCounters> {
    return this.#state.counters
  }

  /** Takes the next bytes from the client, cut anywhere. Throws WireError, after which the relay is over. */
  fromClient(chunk: Uint8Array): void {
    this.#push(this.#clientLane, chunk)
    this.#channels.clientMoved()
  }

  /** Takes the next bytes from the target, cut anywhere. Throws WireError, after which the relay is over. */
  fromServer(chunk: Uint8Array): void {
    this.#push(this.#serverLane, chunk)
  }

  /** Grows with everything that a person does: input, forwarded or not. Programs fetch clipboard texts by themselves. */
  get activity(): number {
    return this.#state.activity
  }

  /** Puts a narrower policy in force, from the next PDU on. Throws TypeError for one with a channel more. */
  setPolicy(policy: RelayPolicy): void {
    const { channels } = this.#state.policy
    for (const channel of policy.channels) if (!channels.has(channel)) throw new TypeError('policy is wider')
    this.#state.policy = policy
    for (const rules of this.#rules) rules.policyChanged()
    this.#channels.policyChanged()
  }

  /** The files of the drive are others now. */
  driveChanged(): void {
    this.#channels.driveChanged()
  }

  #push(lane: Lane, chunk: Uint8Array): void {
    // A relay that has refused one PDU does not look at the next one: it may be the second half of an attack.
    if (this.#failure !== undefined) throw this.#failure
    try {
      lane.push(chunk)
    } catch (error) {
      this.#failure = error
      this.#state.credentials = undefined
      throw error
    }
  }
}

export type { RelayCounters }
