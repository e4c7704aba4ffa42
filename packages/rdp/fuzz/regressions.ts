import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const FOLDER = join(import.meta.dirname, 'regressions')

/** An input that crashed a decoder once. */
export interface Regression {
  readonly file: string
  /** Its name in the table of decoders. */
  readonly decoder: string
  readonly bytes: Uint8Array
}

/** Every crash that was ever found; each is fixed, or its test fails. */
export function readRegressions(): Regression[] {
  return readdirSync(FOLDER)
    .filter(file => file.endsWith('.bin'))
    .sort()
    .map(file => ({
      file,
      decoder: file.slice(0, file.lastIndexOf('-')).replace('.', '/'),
      bytes: new Uint8Array(readFileSync(join(FOLDER, file))),
    }))
}

/** Writes `<decoder>-<hash>.bin`, and returns its path. */
export function writeRegression(decoder: string, bytes: Uint8Array): string {
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12)
  const path = join(FOLDER, `${decoder.replace('/', '.')}-${hash}.bin`)
  writeFileSync(path, bytes)
  return path
}
