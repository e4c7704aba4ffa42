import { randomBytes } from 'node:crypto'
import { writeSync } from 'node:fs'
import { openPkcs11Source } from '../../src/pkcs11/index.ts'

/** A second process of the tests: with bytes to open it wraps a hundred data keys, without it makes the key. */
const [options = '', wrapped] = process.argv.slice(2)
const source = await openPkcs11Source(JSON.parse(options))
const key = source.key(source.name)
const say = (line: string): void => void writeSync(1, `${line}\n`)
try {
  if (wrapped === undefined) {
    await source.create?.()
    say('created')
  } else {
    await key?.unwrap(Buffer.from(wrapped, 'hex'), Buffer.from('row 0'))
    for (let at = 0; at < 100; at++)
      say((await key?.wrap(randomBytes(32), Buffer.from(`row ${at}`)))?.toString('hex') ?? '')
  }
} catch (error) {
  say((error as { code: string }).code)
  process.exitCode = 1
} finally {
  source.destroy()
}
