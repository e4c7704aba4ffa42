import type { ChannelPacket } from './channel-packet.ts'
import { CliprdrChannel } from './cliprdr-channel.ts'
import { DrdynvcChannel } from './drdynvc-channel.ts'
import { RdpdrChannel } from './rdpdr-channel.ts'
import type { RelayState } from './state.ts'
import type { RelayDirection } from './types.ts'

/** The static channels that the relay looks into; docs/protocols/channels.md is their table. */
export class StaticChannels {
  readonly #state: RelayState
  readonly #drdynvc: DrdynvcChannel
  readonly #cliprdr: CliprdrChannel
  readonly #rdpdr: RdpdrChannel | undefined

  constructor(state: RelayState) {
    this.#state = state
    this.#drdynvc = new DrdynvcChannel(state)
    this.#cliprdr = new CliprdrChannel(state)
    this.#rdpdr = state.drive && new RdpdrChannel(state, state.drive)
  }

  get bufferedBytes(): number {
    return this.#drdynvc.bufferedBytes + this.#cliprdr.bufferedBytes + (this.#rdpdr?.bufferedBytes ?? 0)
  }

  /** One packet on a channel of this kind. Throws WireError. */
  push(kind: 'drdynvc' | 'cliprdr' | 'rdpdr', direction: RelayDirection, packet: ChannelPacket): void {
    switch (kind) {
      case 'drdynvc':
        // Open channels end with the picture that they belong to.
        if (this.#state.policy.channels.has('display')) this.#drdynvc.push(direction, packet)
        else this.#state.counters[direction === 'server_to_client' ? 'droppedFromServer' : 'droppedFromClient']++
        break
      case 'cliprdr':
        this.#cliprdr.push(direction, packet)
        break
      case 'rdpdr':
        this.#rdpdr?.push(packet)
    }
  }

  clientMoved(): void {
    this.#rdpdr?.clientMoved()
  }

  driveChanged(): void {
    this.#rdpdr?.filesChanged()
  }

  policyChanged(): void {
    this.#cliprdr.policyChanged()
    this.#rdpdr?.policyChanged()
  }
}
