/** Spec: [T.125] §7 part 3 ChannelId. */
const MAX_CHANNEL_ID = 0xffff

/**
 * By which ids the client calls its static channels: by those that it was told, or, as rdesktop does, by those that it expects.
 *
 * rdesktop does not read channelIdArray ([MS-RDPBCGR] §2.2.1.4.4). It counts its channels up from the I/O channel, which is right with servers that are
 * asked for all of them. In the relay some of these ids belong to other channels, so they are translated on the client's side.
 */
export class ClientIds {
  #told: ReadonlyMap<number, number> | undefined
  #called: ReadonlyMap<number, number> | undefined

  /** From now on the client counts; `ids` are the told ones, in the order of its request. */
  count(ioChannelId: number, ids: readonly number[]): void {
    const pairs = ids
      .map((id, index) => [ioChannelId + 1 + index, id] as const)
      .filter(([called]) => called <= MAX_CHANNEL_ID)
    this.#told = new Map(pairs)
    this.#called = new Map(pairs.map(([called, told]) => [told, called]))
  }

  /** The id that stands in the relay for the client's. An id that the client does not count is its own. */
  told(called: number): number {
    return this.#told === undefined ? called : (this.#told.get(called) ?? called)
  }

  /** The id that the client knows for one of the relay's. */
  called(told: number): number {
    return this.#called === undefined ? told : (this.#called.get(told) ?? told)
  }
}
