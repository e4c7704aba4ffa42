import { ChannelInbox } from '../channel-inbox.ts'
import type { ChannelChunk } from '../channel-pdu.ts'
import { WireError } from '../errors.ts'
import { ClientSequence } from '../rdpdr/client-sequence.ts'
import { encodeBufferCompletion, encodeCreateCompletion, encodeEmptyCompletion } from '../rdpdr/io-completion.ts'
import { type IoRequest, type IoRequestHeader, IRP_MJ, readIoRequest } from '../rdpdr/io-request.ts'
import { NT_STATUS } from '../rdpdr/nt-status.ts'
import { type PendingRead, ReadQueue } from '../rdpdr/read-queue.ts'
import { decodeRdpdrServerMessage, type RdpdrServerMessage } from '../rdpdr/server-messages.ts'
import { type QueryResult, Volume } from '../rdpdr/volume.ts'
import type { DriveFiles, ReadResult, RelayDirection, WithheldCode } from './types.ts'

/** Where a drive writes. Called from within its methods, and from within `done` of a read. */
export interface DrivePort {
  /** One whole message of the channel rdpdr. */
  toServer(message: Uint8Array): void
  /** False: nothing but a few bytes may be sent now; `resume` tells when. */
  isClear(): boolean
  /** Something was refused or dropped; told each time. */
  withheld(direction: RelayDirection, code: WithheldCode): void
  /** The target has taken the device, has refused it, or has none any more. */
  mounted(mounted: boolean): void
  /** So many bytes of files went to the target. */
  passed(bytes: number): void
}

/** The name of the drive. ASCII, since the target reads bytes. */
export const DRIVE_NAME = 'RAP_Transfers'
const DEVICE_ID = 1
/** 64 KiB bounds one message of the target. Only a write, which is refused in any case, is longer. */
const MAX_MESSAGE_BYTES = 65_536
/** Enough of a longer message to answer it: the header of a request is 24 bytes. */
const HEAD_BYTES = 64
/** 1 MiB bounds one read, and with it what is held; a longer one is answered in part. */
const MAX_READ_BYTES = 1_048_576
/** Requests that wait: for their turn, for a read, for a change. */
const MAX_PENDING = 64
/** Of these, how many wait for a change: so that watchers cannot keep out readers. */
const MAX_NOTIFIES = 16
/** A rough measure of a request that waits. */
const PENDING_BYTES = 256

interface PendingRequest {
  readonly header: IoRequestHeader
  readonly request: IoRequest
}

/** The one read that is under way; `answer` once the bytes are there and cannot be sent yet. */
interface Reading {
  readonly header: IoRequestHeader
  readonly length: number
  isBack?: true
  answer?: Uint8Array
  /** Bytes of the file in the answer. */
  passes: number
}

/**
 * The client of device redirection that ends in the relay: one read-only drive with the files of one session.
 *
 * Spec: [MS-RDPEFS] §3.2. Never throws: input that is malformed is dropped, and answered where its header could be read.
 * INVARIANT: an answer goes out once for each request that is not dropped; nothing but names, sizes, times and content
 * of `files` goes to the target; no request changes anything.
 */
export class Drive {
  readonly #port: DrivePort
  readonly #files: DriveFiles
  readonly #sequence: ClientSequence
  readonly #volume: Volume
  readonly #inbox = new ChannelInbox(
    {
      room: () => MAX_MESSAGE_BYTES,
      whole: message => this.#message(message),
      lost: (head, because) => (because === 'broken' ? this.#malformed() : this.#oversized(head)),
    },
    HEAD_BYTES,
  )
  #isClosed = false

  /** Requests that came while the way was not clear, in order. */
  #waiting: PendingRequest[] = []
  readonly #reads = new ReadQueue()
  #reading: Reading | undefined
  /** Whether a read was given to the files and has not come back; it may be of a request that is cancelled by now. */
  #isFileBusy = false
  #notifies: IoRequestHeader[] = []

  constructor(port: DrivePort, files: DriveFiles) {
    this.#port = port
    this.#files = files
    this.#sequence = new ClientSequence(port, { id: DEVICE_ID, name: DRIVE_NAME })
    this.#volume = new Volume(DRIVE_NAME, files)
  }

  /** Bytes that are held: an unfinished message, requests that wait, and the read under way. */
  get bufferedBytes(): number {
    return this.#inbox.bufferedBytes + this.#pending * PENDING_BYTES + (this.#reading?.length ?? 0)
  }

  fromServer(chunk: ChannelChunk): void {
    this.#inbox.push(chunk)
  }

  /** The list of files changed: those who watch the directory are told to look again. */
  changed(): void {
    const notifies = this.#notifies
    this.#notifies = []
    for (const header of notifies) this.#complete(header, NT_STATUS.NOTIFY_ENUM_DIR)
  }

  /** The way is clear again. */
  resume(): void {
    this.#sendAnswer()
    while (this.#waiting.length > 0 && this.#port.isClear()) {
      const { header, request } = this.#waiting.shift() as PendingRequest
      this.#perform(header, request)
    }
    this.#readOn()
  }

  /** Takes the drive away for good: what is pending fails, and so does everything after. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const header of this.#takePending()) this.#complete(header, NT_STATUS.DEVICE_REMOVED)
    this.#volume.closeAll()
    this.#sequence.remove()
  }

  get #pending(): number {
    return this.#waiting.length + this.#reads.size + this.#notifies.length + (this.#reading === undefined ? 0 : 1)
  }

  #message(bytes: Uint8Array): void {
    const message = orUndefined(() => decodeRdpdrServerMessage(bytes))
    if (message?.type === 'io_request') {
      this.#ioRequest(message)
      return
    }
    if (message?.type === 'server_announce') {
      this.#takePending()
      this.#volume.closeAll()
    }
    if (message === undefined || !this.#sequence.take(message)) this.#malformed()
  }

  #ioRequest({ header, reader }: RdpdrServerMessage & { type: 'io_request' }): void {
    if (!this.#isOurs(header)) return
    const request = orUndefined(() => readIoRequest(reader, header))
    if (request === undefined) this.#refuseMalformed(header)
    else if (this.#pending >= MAX_PENDING) this.#refuseBusy(header)
    else if (this.#waiting.length > 0 || !this.#port.isClear()) this.#waiting.push({ header, request })
    else this.#perform(header, request)
  }

  /** A message that was not kept: a write is refused as every write, and nothing else is as long. */
  #oversized(head: Uint8Array): void {
    const message = orUndefined(() => decodeRdpdrServerMessage(head))
    if (message?.type !== 'io_request') this.#malformed()
    else if (this.#isOurs(message.header)) {
      const { header } = message
      if (header.majorFunction === IRP_MJ.WRITE) this.#perform(header, { type: 'write' })
      else this.#refuseMalformed(header)
    }
  }

  /** Spec: [MS-RDPEFS] §3.1.5.2: a request for a device that was never announced is ignored. */
  #isOurs(header: IoRequestHeader): boolean {
    if (header.deviceId === DEVICE_ID && this.#isClosed && this.#sequence.isAnnounced) {
      this.#complete(header, NT_STATUS.DEVICE_REMOVED)
      return false
    }
    if (header.deviceId === DEVICE_ID && this.#sequence.isListed) return true
    this.#malformed()
    return false
  }

  #perform(header: IoRequestHeader, request: IoRequest): void {
    const { fileId } = header
    switch (request.type) {
      case 'create':
        this.#create(header, request)
        return
      case 'close':
        this.#close(header)
        return
      case 'read':
        this.#reads.add({ header, offset: request.offset, length: request.length })
        this.#readOn()
        return
      case 'query_information':
        this.#answer(header, this.#volume.queryInformation(fileId, request.informationClass))
        return
      case 'query_volume':
        this.#answer(header, this.#volume.queryVolume(fileId, request.informationClass))
        return
      case 'query_directory':
        this.#answer(header, this.#volume.queryDirectory(fileId, request))
        return
      case 'notify':
        if (!this.#volume.has(fileId)) this.#complete(header, NT_STATUS.UNSUCCESSFUL)
        else if (this.#notifies.length >= MAX_NOTIFIES) this.#refuseBusy(header)
        else this.#notifies.push(header)
        return
      case 'write':
        this.#refuseChange(header, NT_STATUS.MEDIA_WRITE_PROTECTED)
        return
      case 'set_volume':
        this.#refuseChange(header, NT_STATUS.MEDIA_WRITE_PROTECTED, request.length)
        return
      case 'set_information':
        // xrdp makes "Permission denied" of this one alone.
        this.#refuseChange(header, NT_STATUS.ACCESS_DENIED, request.length)
        return
      case 'lock':
        // Nobody can change a file, so that every lock holds.
        this.#complete(header, this.#volume.has(fileId) ? NT_STATUS.SUCCESS : NT_STATUS.UNSUCCESSFUL)
        return
      case 'control':
        this.#complete(header, NT_STATUS.INVALID_DEVICE_REQUEST)
    }
  }

  #create(header: IoRequestHeader, request: IoRequest & { type: 'create' }): void {
    const { status, fileId, information, isChange } = this.#volume.create(request)
    if (status === NT_STATUS.SUCCESS) this.#port.toServer(encodeCreateCompletion(header, fileId, information))
    else if (isChange) this.#refuseChange(header, status)
    else if (status === NT_STATUS.INSUFFICIENT_RESOURCES) this.#refuseBusy(header)
    else this.#complete(header, status)
  }

  /** Spec: [MS-RDPEFS] §3.2.5.2.5, §3.2.5.2.24: reads of the file are cancelled, and who watches it is told of no change. */
  #close(header: IoRequestHeader): void {
    const { fileId } = header
    const isOfFile = (other: IoRequestHeader) => other.fileId === fileId
    const reading = this.#reading
    if (reading !== undefined && isOfFile(reading.header)) {
      this.#reading = undefined
      this.#complete(reading.header, NT_STATUS.CANCELLED)
    }
    for (const read of this.#reads.take(fileId)) this.#complete(read.header, NT_STATUS.CANCELLED)
    const notifies = this.#notifies.filter(isOfFile)
    this.#notifies = this.#notifies.filter(other => !isOfFile(other))
    for (const notify of notifies) this.#complete(notify, NT_STATUS.SUCCESS)
    this.#complete(header, this.#volume.close(fileId) ? NT_STATUS.SUCCESS : NT_STATUS.UNSUCCESSFUL)
    this.#readOn()
  }

  /** Begins the next read, if none is under way and its answer can be sent. */
  #readOn(): void {
    while (this.#reading === undefined && !this.#isFileBusy && this.#reads.size > 0 && this.#port.isClear()) {
      const { header, offset, length } = this.#reads.next() as PendingRead
      const plan = this.#volume.planRead(header.fileId, offset, length, MAX_READ_BYTES)
      if (typeof plan === 'number') this.#complete(header, plan)
      else if (plan.length === 0) this.#complete(header, NT_STATUS.SUCCESS)
      else {
        const reading: Reading = { header, length: plan.length, passes: 0 }
        this.#reading = reading
        this.#isFileBusy = true
        this.#files.read(plan.file, plan.offset, plan.length, result => this.#hasRead(reading, result))
      }
    }
  }

  #hasRead(reading: Reading, result: ReadResult): void {
    if (reading.isBack) return
    reading.isBack = true
    this.#isFileBusy = false
    // Otherwise it was cancelled in the meantime, and is answered.
    if (this.#reading === reading) {
      const isWhole = typeof result !== 'string' && result.length === reading.length
      reading.passes = isWhole ? reading.length : 0
      reading.answer = isWhole
        ? encodeBufferCompletion(reading.header, result)
        : encodeEmptyCompletion(
            reading.header,
            result === 'damaged' ? NT_STATUS.CRC_ERROR : NT_STATUS.UNEXPECTED_IO_ERROR,
          )
      this.#sendAnswer()
    }
    this.#readOn()
  }

  /** Sends the answer of the read under way, if it is there and the way is clear. */
  #sendAnswer(): void {
    const reading = this.#reading
    if (reading?.answer === undefined || !this.#port.isClear()) return
    this.#reading = undefined
    this.#port.toServer(reading.answer)
    if (reading.passes > 0) this.#port.passed(reading.passes)
  }

  #answer(header: IoRequestHeader, result: QueryResult): void {
    if (result === NT_STATUS.INSUFFICIENT_RESOURCES) this.#refuseBusy(header)
    else if (typeof result === 'number') this.#complete(header, result)
    else this.#port.toServer(encodeBufferCompletion(header, result))
  }

  #complete(header: IoRequestHeader, status: number, length = 0): void {
    this.#port.toServer(encodeEmptyCompletion(header, status, length))
  }

  #refuseChange(header: IoRequestHeader, status: number, length = 0): void {
    this.#port.withheld('server_to_client', 'ERR_DRIVE_READ_ONLY')
    this.#complete(header, status, length)
  }

  #refuseBusy(header: IoRequestHeader): void {
    this.#port.withheld('server_to_client', 'ERR_DRIVE_BUSY')
    this.#complete(header, NT_STATUS.INSUFFICIENT_RESOURCES)
  }

  #refuseMalformed(header: IoRequestHeader): void {
    this.#malformed()
    this.#complete(header, NT_STATUS.INVALID_PARAMETER)
  }

  #malformed(): void {
    this.#port.withheld('server_to_client', 'ERR_DRIVE_MALFORMED')
  }

  /** Takes out everything that waits; a read that comes back later goes nowhere. */
  #takePending(): IoRequestHeader[] {
    const headers = [
      ...(this.#reading === undefined ? [] : [this.#reading.header]),
      ...this.#reads.takeAll().map(({ header }) => header),
      ...this.#waiting.map(({ header }) => header),
      ...this.#notifies,
    ]
    this.#reading = undefined
    this.#waiting = []
    this.#notifies = []
    return headers
  }
}

function orUndefined<Value>(decode: () => Value): Value | undefined {
  try {
    return decode()
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}
