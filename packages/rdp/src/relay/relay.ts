import { checkCredentials } from './client-info-patch.ts'
import { ClientRules } from './client-rules.ts'
import { ConnectSequence } from './connect-sequence.ts'
import { Lane } from './lane.ts'
import { ServerRules } from './server-rules.ts'
import { type RelayCounters, RelayState, type Stage } from './state.ts'
import type { RelayOptions, RelayPhase, RelaySink } from './types.ts'
import { DrdynvcChannel } from './virtual-channel.ts'

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
 * INVARIANT: `bufferedBytes` stays below 400 KiB, whatever either side sends.
 */
export class RdpRelay {
  readonly #state: RelayState
  readonly #drdynvc: DrdynvcChannel
  readonly #clientLane: Lane
  readonly #serverLane: Lane
  #failure: unknown

  /** Throws TypeError when the credentials do not fit a Client Info PDU: 255 UTF-16 units each. */
  constructor(options: RelayOptions, sink: RelaySink) {
    if (options.credentials !== undefined) checkCredentials(options.credentials)
    const state = new RelayState(options, sink)
    const connect = new ConnectSequence(state)
    this.#state = state
    this.#drdynvc = new DrdynvcChannel(state)
    this.#clientLane = new Lane(new ClientRules(state, connect, this.#drdynvc))
    this.#serverLane = new Lane(new ServerRules(state, connect, this.#drdynvc))
    state.clientLane = this.#clientLane
    state.serverLane = this.#serverLane
  }

  get phase(): RelayPhase {
    return PHASES[this.#state.stage]
  }

  /** Bytes held back in reassembly and queues, both directions together. */
  get bufferedBytes(): number {
    return this.#clientLane.bufferedBytes + this.#serverLane.bufferedBytes + this.#drdynvc.bufferedBytes
  }

  /** What was swallowed so far. */
  get counters(): Readonly<RelayCounters> {
    return this.#state.counters
  }

  /** Takes the next bytes from the client, cut anywhere. Throws WireError, after which the relay is over. */
  fromClient(chunk: Uint8Array): void {
    this.#push(this.#clientLane, chunk)
  }

  /** Takes the next bytes from the target, cut anywhere. Throws WireError, after which the relay is over. */
  fromServer(chunk: Uint8Array): void {
    this.#push(this.#serverLane, chunk)
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
