import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ReadResult } from '@rap/rdp'
import { createLogger } from '@rap/service-kit'
import { DEFAULT_LIMITS, type SessionLimits } from '@rap/session-policy'
import { tempDir } from '@rap/testkit'
import type { Test } from 'tap'
import type { SessionUploads, UploadCounts } from '../../src/uploads/session-uploads.ts'
import { UploadStores, type UploadStoresOptions } from '../../src/uploads/stores.ts'

export const LIMITS: SessionLimits = DEFAULT_LIMITS

/** Counts as the metrics of a worker do. */
export class Counts implements UploadCounts {
  bytes = 0
  readonly outcomes: string[] = []
  uploadBytes(bytes: number): void {
    this.bytes += bytes
  }
  uploadEnded(outcome: string): void {
    this.outcomes.push(outcome)
  }
}

/** A private directory that is gone after the test. */
export function place(t: Test): string {
  const dir = tempDir('rap-store-')
  t.teardown(() => dir.remove())
  return dir.path
}

/** Stores of one worker, wiped after the test. */
export async function openStores(
  t: Test,
  options: Partial<UploadStoresOptions> & { dir: string },
): Promise<UploadStores> {
  const stores = await UploadStores.open({
    workerId: randomUUID(),
    maxBytes: 2 ** 32,
    reserveBytes: 0,
    logger: createLogger({ service: 'rdp-worker', level: 'silent' }),
    ...options,
  })
  t.teardown(() => stores.wipeAll())
  return stores
}

export function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

/** Sends a whole file in pieces, and returns its id. */
export async function upload(
  session: SessionUploads,
  {
    name = 'file.bin',
    data = randomBytes(1000),
    piece = 65_536,
  }: { name?: string; data?: Buffer; piece?: number } = {},
): Promise<string> {
  const uploadId = randomUUID()
  await session.begin({ uploadId, name, size: data.length }, LIMITS)
  await send(session, uploadId, data, { piece })
  await session.end(uploadId, sha256(data))
  return uploadId
}

/** Sends pieces from `from` on, all of them before the first is acknowledged. */
export async function send(
  session: SessionUploads,
  uploadId: string,
  data: Buffer,
  { piece = 65_536, from = 0 }: { piece?: number; from?: number } = {},
): Promise<void> {
  const writes: Promise<unknown>[] = []
  for (let offset = from; offset < data.length; offset += piece) {
    writes.push(session.write(uploadId, offset, data.subarray(offset, offset + piece)))
  }
  await Promise.all(writes)
}

/** Reads a range of a file in RAP_Transfers; undefined where it is not had. */
export async function read(
  session: SessionUploads,
  id: string,
  offset: number,
  length: number,
): Promise<Uint8Array | undefined> {
  const result = await ask(session, id, { offset, length })
  return typeof result === 'string' ? undefined : result
}

/** The same as the drive has it. */
export function ask(
  session: SessionUploads,
  id: string,
  { offset, length }: { offset: number; length: number },
): Promise<ReadResult> {
  const file = session.list().find(entry => entry.id === id) ?? { id, name: '', size: 0, modifiedAt: 0 }
  return new Promise(resolve => session.read(file, offset, length, resolve))
}

/** Every file below a directory. */
export function filesIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
}
