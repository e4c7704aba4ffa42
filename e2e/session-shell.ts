import { spawn } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, statSync } from 'node:fs'
import { canStartXrdp, type XrdpServer } from '@rap/testkit'

/** Where xrdp mounts the drive: it knows the short name alone, the first seven characters of RAP_Transfers. */
export const DRIVE_MOUNT = 'thinclient_drives/RAP_Tra'

/** Why no drive can be seen on xrdp here, or false. */
export function noDriveHere(): string | false {
  const able = canStartXrdp()
  if (!able.ok) return able.reason
  return existsSync('/dev/fuse') ? false : 'there is no /dev/fuse'
}

export interface Ran {
  readonly status: number | null
  readonly out: string
  readonly err: string
}

/** Runs a shell command in the drive, as the user of the session: nobody else may look into the mount. */
export async function onDrive(server: XrdpServer, command: string): Promise<Ran> {
  const { uid, gid } = statSync(server.home)
  const env = { HOME: server.home, PATH: process.env.PATH, LC_ALL: 'C.UTF-8' }
  const child = spawn('sh', ['-c', `cd ${DRIVE_MOUNT} && ${command}`], { uid, gid, cwd: server.home, env })
  const output = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', text => {
    output.out += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    output.err += text
  })
  const [status] = (await once(child, 'close')) as [number | null]
  return { status, ...output }
}

/** What the drive lists, sorted. */
export async function listDrive(server: XrdpServer): Promise<string[]> {
  return (await onDrive(server, 'ls -1A')).out.split('\n').filter(Boolean).sort()
}

/** SHA-256 of a file on the drive, as a program on the desktop finds it. */
export async function sha256OnDrive(server: XrdpServer, name: string): Promise<string> {
  const { out, err } = await onDrive(server, `sha256sum < '${name}'`)
  return out.split(' ')[0] || err
}

/** Bytes of an endless text that is another one for each seed: no two places look alike, and any part can be made again. */
export function endless(seed: string, offset: number, length: number): Buffer {
  const counter = Buffer.alloc(16)
  const block = Math.floor(offset / 16)
  counter.writeBigUInt64BE(BigInt(block), 8)
  const skipped = offset - block * 16
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, counter)
    .update(Buffer.alloc(skipped + length))
    .subarray(skipped)
}

/** SHA-256 of the first `size` bytes of it. */
export function sha256OfEndless(seed: string, size: number): string {
  const hash = createHash('sha256')
  for (let at = 0; at < size; at += 2 ** 20) hash.update(endless(seed, at, Math.min(2 ** 20, size - at)))
  return hash.digest('hex')
}
