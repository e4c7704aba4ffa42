/** The newest output of a program, at most `maxBytes` of it (one chunk more while it grows). */
export class OutputLog {
  readonly #maxBytes: number
  readonly #chunks: Buffer[] = []
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes > this.#maxBytes && this.#chunks.length > 1) this.#bytes -= this.#chunks.shift()?.length ?? 0
  }

  text(): string {
    if (this.#chunks.length > 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks))
    return this.#chunks[0]?.toString('utf8') ?? ''
  }

  /** The last `lines` lines. */
  tail(lines: number): string {
    return this.text().trimEnd().split('\n').slice(-lines).join('\n')
  }
}
