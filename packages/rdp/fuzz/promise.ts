import { CredSspError } from '../src/credssp/errors.ts'
import { WireError } from '../src/errors.ts'

/** One thing that takes bytes of a stranger. */
export interface FuzzTarget {
  /** Takes any bytes. INVARIANT: whatever it throws is a fault of ours. */
  readonly run: (bytes: Uint8Array) => void
  /** Valid input, from which mutations start. */
  readonly seeds: readonly Uint8Array[]
}

/** Lets a refusal pass that carries names and numbers alone; everything else is thrown on. */
export function refusalOnly(error: unknown): void {
  if (error instanceof CredSspError) return
  if (!(error instanceof WireError)) throw error
  for (const fact of Object.values(error.facts)) {
    if (typeof fact !== 'string' && typeof fact !== 'number') throw new Error('a fact is no name and no number')
  }
}

/** A decoder may refuse; what it reads lazily is read to the end. */
export function decoder(decode: (bytes: Uint8Array) => unknown, ...seeds: readonly Uint8Array[]): FuzzTarget {
  const run = (bytes: Uint8Array): void => {
    try {
      const value = decode(bytes)
      if (isGenerator(value)) for (const _ of value);
    } catch (error) {
      refusalOnly(error)
    }
  }
  return { run, seeds }
}

function isGenerator(value: unknown): value is Generator {
  return typeof value === 'object' && value !== null && 'next' in value
}
