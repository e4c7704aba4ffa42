import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { requireProgram } from './debian-packages.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { giveTo, type ServerIdentity } from './server-identity.ts'

export interface XDisplay {
  /** Such as `:42`. */
  readonly display: string
  /** What a client of this display needs: DISPLAY and XAUTHORITY. */
  readonly env: Readonly<Record<string, string>>
  readonly process: RunningProcess
}

export interface XDisplayOptions {
  /** A folder of the caller for the cookie file. */
  readonly dir: string
  readonly identity?: ServerIdentity | undefined
  readonly width: number
  readonly height: number
}

/** A wildcard entry of an Xauthority file: FamilyWild, MIT-MAGIC-COOKIE-1 (Xsecurity(7), Xau). */
const FAMILY_WILD = 0xffff

/** An X server without a screen on a free display number, closed to everybody without its cookie. */
export async function startXDisplay(options: XDisplayOptions): Promise<XDisplay> {
  const command = requireProgram('Xvfb')
  // The X server makes this folder only when it runs as root.
  try {
    mkdirSync('/tmp/.X11-unix', { mode: 0o1777 })
  } catch {
    // It is there, or the abstract socket has to do.
  }
  const authority = join(options.dir, 'Xauthority')
  writeFileSync(authority, authorityEntry(randomBytes(16)), { mode: 0o600 })
  giveTo(options.identity, authority)
  const size = `${options.width}x${options.height}x24`
  const process = await startProcess({
    name: 'Xvfb',
    command,
    // It chooses a free number itself and writes it, so that two servers never race for one.
    args: ['-displayfd', '1', '-auth', authority, '-screen', '0', size, '-nolisten', 'tcp', '-noreset'],
    readyWhen: /^\d+\n/m,
    ...options.identity,
  })
  const display = `:${process.log().match(/^(\d+)\n/m)?.[1]}`
  return { display, env: { DISPLAY: display, XAUTHORITY: authority }, process }
}

function authorityEntry(cookie: Buffer): Buffer {
  const counted = (data: Buffer) => Buffer.concat([Buffer.of(data.length >> 8, data.length & 0xff), data])
  const family = Buffer.of(FAMILY_WILD >> 8, FAMILY_WILD & 0xff)
  const none = Buffer.alloc(0)
  return Buffer.concat([family, ...[none, none, Buffer.from('MIT-MAGIC-COOKIE-1'), cookie].map(counted)])
}
