import type { Duplex } from 'node:stream'
import { tcpFailure } from './dial.ts'
import { TargetFailure } from './failure.ts'

/** Largest frame of the logon, in bytes; a TSRequest is the largest of them. */
const MAX_FRAME_BYTES = 64 * 1024

/**
 * Reads the handshake of a target frame by frame, and gives back what came after the last one.
 *
 * It pulls from a paused stream, so that not one byte of the next phase is lost when the socket is handed on.
 */
export class FrameReader {
  readonly #stream: Duplex
  readonly #signal: AbortSignal
  #buffered: Buffer = Buffer.alloc(0)

  constructor(stream: Duplex, signal: AbortSignal) {
    this.#stream = stream
    this.#signal = signal
  }

  /** The next frame, as `sizeOf` measures it. Throws TargetFailure, WireError, or the signal's reason. */
  async next(sizeOf: (buffered: Uint8Array) => number | undefined): Promise<Buffer> {
    for (;;) {
      const size = this.#buffered.length === 0 ? undefined : sizeOf(this.#buffered)
      if (size !== undefined && size > MAX_FRAME_BYTES)
        throw new TargetFailure('ERR_TARGET_PROTOCOL', { frame_bytes: size })
      if (size !== undefined && size <= this.#buffered.length) {
        const frame = this.#buffered.subarray(0, size)
        this.#buffered = this.#buffered.subarray(size)
        return frame
      }
      if (this.#buffered.length > MAX_FRAME_BYTES)
        throw new TargetFailure('ERR_TARGET_PROTOCOL', { frame_bytes: this.#buffered.length })
      this.#buffered = Buffer.concat([this.#buffered, await this.#read()])
    }
  }

  /** What was read and not used; the next phase begins with it. */
  rest(): Buffer {
    return this.#buffered
  }

  async #read(): Promise<Buffer> {
    const stream = this.#stream
    this.#signal.throwIfAborted()
    const ready: Buffer | null = stream.read()
    if (ready !== null) return ready
    if (stream.errored) throw tcpFailure(stream.errored)
    if (stream.readableEnded || stream.destroyed) throw new TargetFailure('ERR_TARGET_CLOSED')
    return await new Promise<Buffer>((resolve, reject) => {
      const done = (settle: () => void): void => {
        stream.off('readable', onReadable).off('end', onEnd).off('close', onEnd).off('error', onError)
        this.#signal.removeEventListener('abort', onAbort)
        settle()
      }
      const onReadable = (): void => {
        const chunk: Buffer | null = stream.read()
        if (chunk !== null) done(() => resolve(chunk))
      }
      const onEnd = (): void => done(() => reject(new TargetFailure('ERR_TARGET_CLOSED')))
      const onError = (error: Error): void => done(() => reject(tcpFailure(error)))
      const onAbort = (): void => done(() => reject(this.#signal.reason))
      stream.on('readable', onReadable).once('end', onEnd).once('close', onEnd).once('error', onError)
      this.#signal.addEventListener('abort', onAbort, { once: true })
    })
  }
}
