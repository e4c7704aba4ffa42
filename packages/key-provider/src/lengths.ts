import { KeyProviderError } from './errors.ts'

/** Throws KeyProviderError ERR_KEY_INPUT_LENGTH where a length is out of its bounds. */
export function assertLength(what: string, received: number, min: number, max: number): void {
  if (received >= min && received <= max) return
  throw new KeyProviderError('ERR_KEY_INPUT_LENGTH', `${what} has a wrong length`, { received, min, max })
}
