import { waitFor } from '@rap/testkit'
import { u16, u32 } from '../rdp-capabilities.ts'

/** Component and packet ids, as they stand in the first four bytes. Spec: [MS-RDPEFS] §2.2.1.1. */
const CTYP_CORE = 0x4472
const CTYP_PRN = 0x5052
const PAKID = {
  SERVER_ANNOUNCE: 0x496e,
  CLIENTID_CONFIRM: 0x4343,
  CLIENT_NAME: 0x434e,
  DEVICELIST_ANNOUNCE: 0x4441,
  DEVICE_REPLY: 0x6472,
  DEVICE_IOREQUEST: 0x4952,
  DEVICE_IOCOMPLETION: 0x4943,
  SERVER_CAPABILITY: 0x5350,
  CLIENT_CAPABILITY: 0x4350,
  USER_LOGGEDON: 0x554c,
  PRN_CACHE_DATA: 0x5043,
} as const

/** MajorFunction. Spec: [MS-RDPEFS] §2.2.1.4. */
export const IRP = {
  CREATE: 0x00,
  CLOSE: 0x02,
  READ: 0x03,
  WRITE: 0x04,
  QUERY_INFORMATION: 0x05,
  SET_INFORMATION: 0x06,
  SET_VOLUME_INFORMATION: 0x0b,
  DIRECTORY_CONTROL: 0x0c,
  DEVICE_CONTROL: 0x0e,
} as const

export const DEVICE_TYPE = { SERIAL: 0x01, PARALLEL: 0x02, PRINT: 0x04, FILESYSTEM: 0x08, SMARTCARD: 0x20 } as const

export const STATUS_SUCCESS = 0
const GENERIC_READ = 0x80000000
const GENERIC_WRITE = 0x40000000
const DELETE = 0x00010000
const FILE_OPEN = 1
const FILE_CREATE = 2
const FILE_OVERWRITE_IF = 5
const FILE_DELETE_ON_CLOSE = 0x1000
const FILE_RENAME_INFORMATION = 10
const FILE_DISPOSITION_INFORMATION = 13
const FILE_END_OF_FILE_INFORMATION = 20

export interface Device {
  readonly type: number
  readonly id: number
  readonly dosName: string
  readonly data: Buffer
}

export interface Completion {
  readonly deviceId: number
  readonly ioStatus: number
  readonly output: Buffer
}

/** The server's end of the device channel, written from [MS-RDPEFS] alone; it asks for what it likes. */
export class DevicePeer {
  readonly #send: (message: Uint8Array) => void
  readonly #completions = new Map<number, Completion>()
  #completionId = 100
  readonly devices: Device[] = []
  /** The name that the client gives itself. */
  clientName = ''
  isConfirmed = false

  constructor(send: (message: Uint8Array) => void) {
    this.#send = send
  }

  /** Begins: announce, capabilities, confirmation, logged on. Resolves with the devices that are announced. */
  async begin(): Promise<readonly Device[]> {
    this.#say(PAKID.SERVER_ANNOUNCE, u16(1, 12), u32(1))
    return await waitFor(() => this.devices.length > 0 && this.devices, {
      what: 'a device of the client',
      intervalMs: 5,
    })
  }

  take(message: Buffer): void {
    if (message.length < 4 || message.readUInt16LE(0) !== CTYP_CORE) return
    switch (message.readUInt16LE(2)) {
      case PAKID.CLIENT_NAME:
        this.clientName = message.subarray(16).toString('utf16le').replace(/\0.*$/s, '')
        this.#say(PAKID.SERVER_CAPABILITY, ...SERVER_CAPABILITIES)
        this.#say(PAKID.CLIENTID_CONFIRM, u16(1, 12), u32(1))
        return
      case PAKID.CLIENT_CAPABILITY:
        this.isConfirmed = true
        this.#say(PAKID.USER_LOGGEDON)
        return
      case PAKID.DEVICELIST_ANNOUNCE:
        for (const device of readDevices(message)) {
          this.devices.push(device)
          this.#say(PAKID.DEVICE_REPLY, u32(device.id, STATUS_SUCCESS))
        }
        return
      case PAKID.DEVICE_IOCOMPLETION:
        this.#completions.set(message.readUInt32LE(8), {
          deviceId: message.readUInt32LE(4),
          ioStatus: message.readUInt32LE(12),
          output: message.subarray(16),
        })
        return
      default:
    }
  }

  /** Sends a request to a device and waits for its completion. */
  async request(
    deviceId: number,
    fileId: number,
    major: number,
    ...parameters: readonly Uint8Array[]
  ): Promise<Completion> {
    const completionId = this.#completionId++
    this.#say(PAKID.DEVICE_IOREQUEST, u32(deviceId, fileId, completionId, major, 0), ...parameters)
    return await waitFor(() => this.#completions.get(completionId), {
      what: `completion of the request ${major}`,
      intervalMs: 5,
    })
  }

  /** Opens a path; the file's id is the first number of the output. */
  async create(deviceId: number, path: string, how: Partial<CreateOptions> = {}): Promise<Completion> {
    const { access = GENERIC_READ, disposition = FILE_OPEN, options = 0 } = how
    const name = Buffer.from(`${path}\0`, 'utf16le')
    const fixed = u32(access, 0, 0, 0, 7, disposition, options, name.length)
    return await this.request(deviceId, 0, IRP.CREATE, fixed, name)
  }

  async read(deviceId: number, fileId: number, offset: number, length: number): Promise<Completion> {
    return await this.request(deviceId, fileId, IRP.READ, u32(length, offset, 0), Buffer.alloc(20))
  }

  async close(deviceId: number, fileId: number): Promise<Completion> {
    return await this.request(deviceId, fileId, IRP.CLOSE, Buffer.alloc(32))
  }

  /** Everything that would change a drive; `fileId` is a file that is open for reading. */
  async changes(
    deviceId: number,
    fileId: number,
    path: string,
    word: string,
  ): Promise<ReadonlyMap<string, Completion>> {
    const bytes = Buffer.from(word)
    const set = (fileInformationClass: number, ...data: readonly Uint8Array[]) => {
      const buffer = Buffer.concat(data)
      return [u32(fileInformationClass, buffer.length), Buffer.alloc(24), buffer]
    }
    const target = Buffer.from('\\renamed.txt\0', 'utf16le')
    const attempts: readonly (readonly [string, () => Promise<Completion>])[] = [
      ['open a file for writing', () => this.create(deviceId, path, { access: GENERIC_WRITE })],
      [
        'open a file to be deleted',
        () => this.create(deviceId, path, { access: DELETE, options: FILE_DELETE_ON_CLOSE }),
      ],
      ['make a file', () => this.create(deviceId, `\\${word}`, { access: GENERIC_WRITE, disposition: FILE_CREATE })],
      [
        'overwrite a file',
        () => this.create(deviceId, path, { access: GENERIC_WRITE, disposition: FILE_OVERWRITE_IF }),
      ],
      ['make a folder', () => this.create(deviceId, `\\${word}`, { disposition: FILE_CREATE, options: 1 })],
      ['write', () => this.request(deviceId, fileId, IRP.WRITE, u32(bytes.length, 0, 0), Buffer.alloc(20), bytes)],
      [
        'rename',
        () =>
          this.request(
            deviceId,
            fileId,
            IRP.SET_INFORMATION,
            ...set(FILE_RENAME_INFORMATION, Uint8Array.of(1, 0), u32(target.length), target),
          ),
      ],
      [
        'delete',
        () =>
          this.request(deviceId, fileId, IRP.SET_INFORMATION, ...set(FILE_DISPOSITION_INFORMATION, Uint8Array.of(1))),
      ],
      [
        'truncate',
        () => this.request(deviceId, fileId, IRP.SET_INFORMATION, ...set(FILE_END_OF_FILE_INFORMATION, u32(0, 0))),
      ],
      ['rename the volume', () => this.request(deviceId, fileId, IRP.SET_VOLUME_INFORMATION, ...set(2, target))],
    ]
    const outcomes = new Map<string, Completion>()
    for (const [what, attempt] of attempts) outcomes.set(what, await attempt())
    return outcomes
  }

  /** Tells a client to keep this in the cache of its printer. */
  sayPrinterCache(word: string): void {
    this.#send(Buffer.concat([u16(CTYP_PRN, PAKID.PRN_CACHE_DATA), u32(1), Buffer.from(word)]))
  }

  #say(packetId: number, ...parts: readonly Uint8Array[]): void {
    this.#send(Buffer.concat([u16(CTYP_CORE, packetId), ...parts]))
  }
}

interface CreateOptions {
  readonly access: number
  readonly disposition: number
  readonly options: number
}

/** A server that would take devices of every kind. Spec: [MS-RDPEFS] §2.2.2.7. */
const SERVER_CAPABILITIES: readonly Buffer[] = [
  u16(5, 0),
  // General: every request, PDUs of every kind, asynchronous requests, special devices of every number.
  Buffer.concat([u16(1, 44), u32(2, 2, 0), u16(1, 12), u32(0xffff, 0, 7, 1, 0, 2)]),
  // Printer, port, drive, smart card.
  Buffer.concat([u16(2, 8), u32(1)]),
  Buffer.concat([u16(3, 8), u32(1)]),
  Buffer.concat([u16(4, 8), u32(2)]),
  Buffer.concat([u16(5, 8), u32(1)]),
]

function readDevices(message: Buffer): Device[] {
  const devices: Device[] = []
  let at = 8
  for (let left = message.readUInt32LE(4); left > 0; left--) {
    const dataLength = message.readUInt32LE(at + 16)
    devices.push({
      type: message.readUInt32LE(at),
      id: message.readUInt32LE(at + 4),
      dosName: message
        .subarray(at + 8, at + 16)
        .toString('latin1')
        .replace(/\0.*$/s, ''),
      data: message.subarray(at + 20, at + 20 + dataLength),
    })
    at += 20 + dataLength
  }
  return devices
}

/** What a client says that wants to show its own devices. */
export function ownDevices(word: string): Buffer {
  const name = Buffer.alloc(8)
  name.write(word.slice(0, 7), 'latin1')
  const data = Buffer.from(`${word}\0`, 'utf16le')
  const device = (type: number, id: number) => Buffer.concat([u32(type, id), name, u32(data.length), data])
  const devices = [
    device(DEVICE_TYPE.FILESYSTEM, 1),
    device(DEVICE_TYPE.PRINT, 2),
    device(DEVICE_TYPE.SMARTCARD, 3),
    device(DEVICE_TYPE.SERIAL, 4),
  ]
  return Buffer.concat([u16(CTYP_CORE, PAKID.DEVICELIST_ANNOUNCE), u32(devices.length), ...devices])
}
