/** One step of a conversation that is written as bytes, so that the same mutations work on it as on a message. */
export interface Step {
  readonly op: number
  readonly bytes: Uint8Array
}

/** Spec: op (1) · size (2, little-endian) · bytes; a step that is cut off ends early. */
export function* stepsOf(program: Uint8Array): Generator<Step> {
  for (let at = 0; at + 3 <= program.length; ) {
    const op = program[at] as number
    const size = (program[at + 1] as number) + (program[at + 2] as number) * 256
    yield { op, bytes: program.subarray(at + 3, at + 3 + size) }
    at += 3 + size
  }
}

/** The steps as bytes, behind `head`. */
export function program(head: readonly number[], ...steps: readonly (readonly [op: number, bytes?: Uint8Array])[]) {
  const parts = steps.flatMap(([op, bytes = new Uint8Array()]) => [
    Uint8Array.of(op, bytes.length & 0xff, bytes.length >> 8),
    bytes,
  ])
  return new Uint8Array(Buffer.concat([Uint8Array.from(head), ...parts]))
}
