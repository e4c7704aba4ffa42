import { WireError } from '../errors.ts'
import type { RelayOptions, RelayPhase, RelaySink } from './types.ts'

/** The RDP-aware relay between one client and one target, from MCS Connect Initial on. */
export class RdpRelay {
  readonly #options: RelayOptions
  readonly #sink: RelaySink
  #phase: RelayPhase = 'connect'

  constructor(options: RelayOptions, sink: RelaySink) {
    this.#options = options
    this.#sink = sink
  }

  get phase(): RelayPhase {
    return this.#phase
  }

  /** Bytes held back in reassembly, both directions together. */
  get bufferedBytes(): number {
    return 0
  }

  /** Takes the next bytes from the client, cut anywhere. Throws WireError, after which the relay is over. */
  fromClient(chunk: Uint8Array): void {
    this.#refuse(chunk)
  }

  /** Takes the next bytes from the target, cut anywhere. Throws WireError, after which the relay is over. */
  fromServer(chunk: Uint8Array): void {
    this.#refuse(chunk)
  }

  #refuse(chunk: Uint8Array): never {
    void this.#options
    void this.#sink
    throw new WireError('ERR_WIRE_REFUSED', 'relay is not built yet', {
      structure: 'RdpRelay',
      received: chunk.length,
    })
  }
}
