import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import { WireError, type WireErrorCode } from '../src/errors.ts'

/** Bytes from hexadecimal text; blanks don't count. */
export function hex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))
}

/** A structure from vectors/, whose README tells where each comes from. */
export function vector(name: string): Uint8Array {
  return hex(readFileSync(new URL(`../vectors/${name}.hex`, import.meta.url), 'utf8'))
}

export interface RecordedRead {
  readonly from: 'client' | 'server'
  readonly bytes: Uint8Array
}

/** A recorded session from vectors/: what each side sent, read by read. */
export function recording(name: 'recorded-shadow' | 'recorded-xrdp'): RecordedRead[] {
  const text = readFileSync(new URL(`../vectors/${name}.txt`, import.meta.url), 'utf8')
  return text
    .trim()
    .split('\n')
    .map(line => {
      const [from = '', bytes = ''] = line.split(' ')
      return { from: from === 'client' ? 'client' : 'server', bytes: hex(bytes) }
    })
}

export function utf16le(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'utf16le'))
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts))
}

export function contains(bytes: Uint8Array, part: Uint8Array): boolean {
  return Buffer.from(bytes).includes(Buffer.from(part))
}

/** A copy with some bytes replaced. */
export function changed(bytes: Uint8Array, at: number, ...values: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy.set(values, at)
  return copy
}

/** Asserts that `action` throws a WireError of this code. */
export function refuses(t: Test, action: () => unknown, code: WireErrorCode, what?: string): void {
  try {
    action()
  } catch (error) {
    if (!(error instanceof WireError)) throw error
    t.equal(error.code, code, what ?? `refused with ${code}`)
    return
  }
  t.fail(`not refused: ${what ?? code}`)
}

/** Asserts that every proper prefix is refused as truncated, but for those that end in front of an optional part. */
export function refusesPrefixes(
  t: Test,
  bytes: Uint8Array,
  decode: (bytes: Uint8Array) => unknown,
  optionalFrom: readonly number[] = [],
): void {
  const surprises: string[] = []
  for (let size = 0; size < bytes.length; size++) {
    const expected = optionalFrom.includes(size) ? 'read' : 'ERR_WIRE_TRUNCATED'
    let got = 'read'
    try {
      decode(bytes.subarray(0, size))
    } catch (error) {
      if (!(error instanceof WireError)) throw error
      got = error.code
    }
    if (got !== expected) surprises.push(`${size} bytes: ${got}`)
  }
  t.same(surprises, [], `every prefix of ${bytes.length} bytes`)
}
