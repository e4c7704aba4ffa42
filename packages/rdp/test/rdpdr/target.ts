import { CHANNEL_FLAG, type ChannelChunk } from '../../src/channel-pdu.ts'
import { Reader, Writer } from '../../src/cursor.ts'
import { IRP_MJ } from '../../src/rdpdr/io-request.ts'
import { Drive } from '../../src/relay/drive.ts'
import type { DriveFile, DriveFiles, ReadResult } from '../../src/relay/types.ts'
import { utf16 } from '../../src/utf16.ts'
import { concat, hex } from '../helper.ts'

/** One chunk that is a whole message. */
export function whole(message: Uint8Array): ChannelChunk {
  return { length: message.length, flags: CHANNEL_FLAG.FIRST | CHANNEL_FLAG.LAST, data: message }
}

/** A message in chunks of at most `size` bytes. */
export function chunks(message: Uint8Array, size = 1600): ChannelChunk[] {
  const cut: ChannelChunk[] = []
  for (let at = 0; at < message.length; at += size) {
    const data = message.subarray(at, at + size)
    const first = at === 0 ? CHANNEL_FLAG.FIRST : 0
    const last = at + data.length === message.length ? CHANNEL_FLAG.LAST : 0
    cut.push({ length: message.length, flags: first | last, data })
  }
  return cut
}

/** Server Announce, Client ID Confirm, User Logged On and Server Core Capability Request of [MS-RDPEFS] §4.3 to §4.8. */
export const SERVER_ANNOUNCE = hex('72446e49 0100 0c00 01000000')
export const CLIENT_ID_CONFIRM = hex('72444343 0100 0c00 01000000')
export const USER_LOGGED_ON = hex('72444c55')
export const CAPABILITY_REQUEST = hex(`
  72445053 0500 0000 0100 2c00 02000000 02000000 00000000 0100 0c00 ffff0000 00000000 07000000 00000000 00000000 02000000
  0200 0800 01000000 0300 0800 01000000 0400 0800 02000000 0500 0800 01000000`)
export const DEVICE_ACCEPTED = hex('72447264 01000000 00000000')

export interface Completion {
  readonly completionId: number
  readonly status: number
  readonly body: Uint8Array
}

/** Files in memory; reads wait until `answerRead` unless `isPrompt`. */
export class MemoryFiles implements DriveFiles {
  files: DriveFile[]
  isPrompt = true
  readonly #contents: ReadonlyMap<string, Uint8Array>
  readonly reads: (() => void)[] = []
  /** What was read: id, offset, length. */
  readonly asked: (readonly [id: string, offset: number, length: number])[] = []

  constructor(contents: Readonly<Record<string, Uint8Array>> = {}) {
    this.#contents = new Map(Object.entries(contents).map(([name, bytes]) => [`id of ${name}`, bytes]))
    this.files = Object.entries(contents).map(([name, bytes]) => ({
      id: `id of ${name}`,
      name,
      size: bytes.length,
      modifiedAt: 1_767_323_045_000,
    }))
  }

  list(): readonly DriveFile[] {
    return this.files
  }

  read(file: DriveFile, offset: number, length: number, done: (result: ReadResult) => void): void {
    this.asked.push([file.id, offset, length])
    const answer = () => done(this.#contents.get(file.id)?.subarray(offset, offset + length) ?? 'failed')
    if (this.isPrompt) answer()
    else this.reads.push(answer)
  }
}

/** The other side of a drive: a target that asks, and what it was told. */
export class Target {
  readonly drive: Drive
  readonly files: MemoryFiles
  readonly sent: Uint8Array[] = []
  readonly told: string[] = []
  readonly mounts: boolean[] = []
  isClear = true
  passed = 0
  #completionId = 0

  constructor(files = new MemoryFiles()) {
    this.files = files
    this.drive = new Drive(
      {
        toServer: message => this.sent.push(Uint8Array.from(message)),
        isClear: () => this.isClear,
        withheld: (direction, code) => this.told.push(`${direction} ${code}`),
        mounted: mounted => this.mounts.push(mounted),
        passed: bytes => {
          this.passed += bytes
        },
      },
      files,
    )
  }

  /** Says whole messages. */
  say(...messages: readonly Uint8Array[]): this {
    for (const message of messages) this.drive.fromServer(whole(message))
    return this
  }

  /** Goes through the sequence as Windows does. */
  mount(): this {
    this.say(SERVER_ANNOUNCE, CAPABILITY_REQUEST, CLIENT_ID_CONFIRM, USER_LOGGED_ON, DEVICE_ACCEPTED)
    this.sent.length = 0
    return this
  }

  /** Takes what was sent so far. */
  take(): Uint8Array[] {
    return this.sent.splice(0)
  }

  /** The completions among what was sent so far. */
  completions(): Completion[] {
    return this.take().map(decodeCompletion)
  }

  /** Asks, and returns the completion id. */
  ask(majorFunction: number, fileId: number, body: Uint8Array, minorFunction = 0): number {
    const completionId = ++this.#completionId
    this.say(ioRequest({ majorFunction, minorFunction, fileId, completionId }, body))
    return completionId
  }

  /** Asks for what is answered at once. */
  answer(majorFunction: number, fileId: number, body: Uint8Array, minorFunction = 0): Completion {
    const completionId = this.ask(majorFunction, fileId, body, minorFunction)
    const completions = this.completions()
    const [completion] = completions
    if (completions.length !== 1 || completion?.completionId !== completionId) {
      throw new Error(`${completions.length} answers to one request`)
    }
    return completion
  }

  create(path: string, changes: Partial<Create> = {}): Completion {
    return this.answer(IRP_MJ.CREATE, 0, createBody({ ...OPEN_TO_READ, ...changes, path }))
  }

  /** Opens and returns the file id. */
  open(path: string, changes: Partial<Create> = {}): number {
    const { status, body } = this.create(path, changes)
    if (status !== 0) throw new Error(`open says ${status.toString(16)}`)
    return new Reader(body, 'test').u32le('FileId')
  }

  read(fileId: number, offset: number | bigint, length: number): number {
    return this.ask(IRP_MJ.READ, fileId, readBody(offset, length))
  }
}

interface Create {
  readonly desiredAccess: number
  readonly createDisposition: number
  readonly createOptions: number
  readonly path: string
}

/** FILE_READ_DATA, FILE_READ_ATTRIBUTES and SYNCHRONIZE; FILE_OPEN. */
const OPEN_TO_READ = { desiredAccess: 0x00100081, createDisposition: 1, createOptions: 0 }

export function createBody({ desiredAccess, createDisposition, createOptions, path }: Create): Uint8Array {
  const name = utf16(`${path}\0`)
  return new Writer()
    .u32le(desiredAccess)
    .zeros(12) // AllocationSize, FileAttributes
    .u32le(7) // SharedAccess
    .u32le(createDisposition)
    .u32le(createOptions)
    .u32le(name.length)
    .bytes(name)
    .finish()
}

export function readBody(offset: number | bigint, length: number): Uint8Array {
  return new Writer().u32le(length).u64le(BigInt(offset)).zeros(20).finish()
}

export function queryBody(informationClass: number): Uint8Array {
  return new Writer().u32le(informationClass).u32le(0).zeros(24).finish()
}

export function directoryBody(informationClass: number, path: string | undefined): Uint8Array {
  const name = path === undefined ? new Uint8Array() : utf16(`${path}\0`)
  return new Writer()
    .u32le(informationClass)
    .u8(path === undefined ? 0 : 1)
    .u32le(name.length)
    .zeros(23)
    .bytes(name)
    .finish()
}

export function ioRequest(
  header: {
    readonly majorFunction: number
    readonly minorFunction?: number
    readonly fileId: number
    readonly completionId: number
    readonly deviceId?: number
  },
  body: Uint8Array,
): Uint8Array {
  const { majorFunction, minorFunction = 0, fileId, completionId, deviceId = 1 } = header
  const head = new Writer().u32le(0x49524472).u32le(deviceId).u32le(fileId).u32le(completionId)
  return concat(head.u32le(majorFunction).u32le(minorFunction).finish(), body)
}

export function decodeCompletion(message: Uint8Array): Completion {
  const reader = new Reader(message, 'DR_DEVICE_IOCOMPLETION')
  if (reader.u32le('Header') !== 0x49434472) throw new Error('no completion')
  if (reader.u32le('DeviceId') !== 1) throw new Error('another device')
  const completionId = reader.u32le('CompletionId')
  const status = reader.u32le('IoStatus')
  return { completionId, status, body: reader.take(reader.remaining, 'body') }
}

/** What a query or a read has brought. */
export function buffer({ body }: Completion): Uint8Array {
  const reader = new Reader(body, 'Buffer')
  const length = reader.u32le('Length')
  const bytes = reader.take(length, 'Buffer')
  reader.end()
  return bytes
}
