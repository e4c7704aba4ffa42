import { nowMicros, STAMP_OFFSET } from './rdp-script.ts'

const STAMP_END = STAMP_OFFSET + 8
/** Latencies that are kept of one measurement. */
const MAX_SAMPLES = 1_000_000

/** What all streams of one measurement have in common. */
export class Tally {
  frames = 0
  bytes = 0
  readonly #samples = new Float64Array(MAX_SAMPLES)
  #since = 0

  start(): void {
    this.frames = 0
    this.bytes = 0
    this.#since = nowMicros()
  }

  frame(latencyMicros: number): void {
    if (this.frames < MAX_SAMPLES) this.#samples[this.frames] = latencyMicros
    this.frames++
  }

  result() {
    const sorted = this.#samples.slice(0, Math.min(this.frames, MAX_SAMPLES)).sort()
    const quantile = (part: number): number => sorted[Math.floor((sorted.length - 1) * part)] ?? 0
    return {
      frames: this.frames,
      bytes: this.bytes,
      seconds: (nowMicros() - this.#since) / 1e6,
      p50Micros: quantile(0.5),
      p99Micros: quantile(0.99),
    }
  }
}

/** Finds the frames of one stream and their age. */
export class FrameReader {
  readonly #tally: Tally
  readonly #frameBytes: number
  readonly #stamp = Buffer.alloc(8)
  #at = 0

  constructor(tally: Tally, frameBytes: number) {
    this.#tally = tally
    this.#frameBytes = frameBytes
  }

  push(bytes: Buffer, start: number, end: number): void {
    this.#tally.bytes += end - start
    let at = start
    while (at < end) {
      const size = Math.min(end - at, this.#frameBytes - this.#at)
      if (this.#at < STAMP_END && this.#at + size > STAMP_OFFSET) {
        const from = Math.max(STAMP_OFFSET, this.#at)
        const to = Math.min(STAMP_END, this.#at + size)
        bytes.copy(this.#stamp, from - STAMP_OFFSET, at + from - this.#at, at + to - this.#at)
      }
      this.#at += size
      at += size
      if (this.#at === this.#frameBytes) {
        this.#at = 0
        this.#tally.frame(nowMicros() - this.#stamp.readDoubleLE(0))
      }
    }
  }
}

/** Takes server messages apart (RFC 6455 §5.2: no masks, whatever their cut). */
export class Deframer {
  readonly #header = Buffer.alloc(10)
  #headerBytes = 0
  #payloadLeft = 0
  #opcode = 0

  /** Calls `take` with each piece of payload in `bytes`; opcode 0 to 2 is data, 9 a ping. */
  push(bytes: Buffer, start: number, end: number, take: (opcode: number, from: number, to: number) => void): void {
    let at = start
    while (at < end) {
      if (this.#payloadLeft > 0) {
        const size = Math.min(this.#payloadLeft, end - at)
        this.#payloadLeft -= size
        at += size
        take(this.#opcode, at - size, at)
        continue
      }
      this.#header[this.#headerBytes++] = bytes[at++] as number
      if (this.#headerBytes < 2) continue
      const length = (this.#header[1] as number) & 0x7f
      const needed = length < 126 ? 2 : length === 126 ? 4 : 10
      if (this.#headerBytes < needed) continue
      this.#opcode = (this.#header[0] as number) & 0x0f
      this.#payloadLeft =
        length < 126 ? length : length === 126 ? this.#header.readUInt16BE(2) : Number(this.#header.readBigUInt64BE(2))
      this.#headerBytes = 0
      if (this.#payloadLeft === 0) take(this.#opcode, at, at)
    }
  }
}
