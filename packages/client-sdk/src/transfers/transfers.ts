import type { SideMessage, Transfer } from '@rap/data-plane-protocol'
import type { SessionLimits } from '@rap/session-policy'
import { type BoundSocket, type CloseInfo, errorOfClose } from '../bind.ts'
import { RapError, RapNetworkError } from '../errors.ts'
import type { RunningSha256 } from '../platform/types.ts'
import { EventQueue } from './event-queue.ts'
import { LinkKeeper } from './keeper.ts'
import { Link, LinkLostError } from './link.ts'
import { Slots } from './slots.ts'
import type { UploadSource } from './source.ts'
import { UnheardLimits } from './unheard-limits.ts'
import { refusalOf, Upload, type UploadOptions } from './upload.ts'

/** Uploads that send at a time, and removals that wait for their answer; together well below UPLOAD_WINDOW_CHUNKS messages. */
const MAX_SENDING = 4
const MAX_REMOVING = 8
/** Longest name that is sent, in UTF-16 units. */
const MAX_NAME_LENGTH = 1024
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** The policy of this connection, as the worker told it last. */
export interface ConnectionPolicy {
  /** The channels of the attachment, over all its connections. */
  readonly channels: readonly string[]
  readonly limits: SessionLimits
  /** RFC 3339; null without a limit. */
  readonly sessionEndsAt: string | null
}

/** What a worker says beside the answers to one upload. */
export type TransferNotice = Extract<SideMessage, { readonly type: 'transfers' | 'policy' | 'limit_near' | 'withheld' }>

/**
 * A notice as the worker said it, a change of the connection (it was lost and is looked for, or is there again), or the loss of a file.
 * A reader that is slow misses the oldest of what waits for it.
 */
export type TransferEvent =
  | TransferNotice
  | ({ readonly type: 'lost' } & Pick<CloseInfo, 'reason' | 'detail'>)
  | { readonly type: 'connected' }
  /** A file that was in RAP_Transfers is there no more, and nobody here has asked for that; `error` has the worker's reason. */
  | { readonly type: 'taken_away'; readonly item: Transfer; readonly error: RapError }

/** Uploads of a session into RAP_Transfers, and notices about it, over a connection of their own. */
export interface Transfers {
  /** All uploads of the session, those of other connections too. */
  readonly items: readonly Transfer[]
  /** Whether the target has mounted the drive. */
  readonly driveMounted: boolean
  /** Undefined before the worker's first word, and without the channel `events`. */
  readonly policy: ConnectionPolicy | undefined
  /** False while a lost connection is looked for. */
  readonly connected: boolean
  /**
   * Sends a file and answers its name in RAP_Transfers. Goes on by itself over lost connections, and over an attach of this
   * session. Throws RapError with the refusal's code, detail and remedy; ERR_ABORTED, ERR_FILE_UNREADABLE, and the reason of the
   * end where the connection did not come back.
   */
  upload(file: UploadSource, options?: UploadOptions): Promise<{ name: string }>
  /** Takes a file out of RAP_Transfers, or gives up an upload. Throws RapError, ERR_UPLOAD_UNKNOWN. */
  remove(uploadId: string): Promise<void>
  /** What changes from now on, until the connection ends; first of all the limits that were said to be near while nobody listened. */
  events(): AsyncIterableIterator<TransferEvent, undefined>
  /** Ends the connection. What is under way stops and can be taken up by its upload id. */
  close(): Promise<CloseInfo>
  /** Resolves once, when the connection has ended for good. */
  readonly closed: Promise<CloseInfo>
}

export interface TransfersParts {
  /** Finds a way and binds the side channels that are allowed. Throws RapError. */
  readonly bind: (signal: AbortSignal | undefined) => Promise<BoundSocket>
  readonly newSha256: () => RunningSha256
  /** From the bind to the first list of transfers, in milliseconds. */
  readonly timeoutMs: number
  readonly retryForMs: number
  /** How long a worker that owes an answer may be silent, in milliseconds. */
  readonly silenceMs: number
  readonly sessionId: string
}

/** A cancel that is under way; `over` settles as its answer says, after as many links as it takes. */
interface Removal {
  readonly resolve: () => void
  readonly reject: (error: RapError) => void
  readonly over: Promise<void>
}

type PolicyNotice = Extract<SideMessage, { readonly type: 'policy' }>
type UploadAnswer = Extract<SideMessage, { readonly upload_id: string }>

/** Transfers as the session holds them. */
export class SessionTransfers implements Transfers {
  readonly #parts: TransfersParts
  readonly #keeper: LinkKeeper
  readonly #slots = new Slots(MAX_SENDING)
  readonly #removalSlots = new Slots(MAX_REMOVING)
  readonly #uploads = new Map<string, Upload>()
  readonly #removals = new Map<string, Removal>()
  readonly #queues = new Set<EventQueue<TransferEvent>>()
  readonly #unheard = new UnheardLimits()
  #items: readonly Transfer[] = []
  #driveMounted = false
  #policy: ConnectionPolicy | undefined
  /** On the link that is up: the policy took the channel away after the bind. */
  #uploadsAreOff = false

  /** Connects once; later connections are its own business. Throws RapError. */
  static async open(parts: TransfersParts, signal: AbortSignal | undefined): Promise<SessionTransfers> {
    let transfers: SessionTransfers | undefined
    const early: SideMessage[] = []
    const take = (message: SideMessage) => {
      if (transfers === undefined) early.push(message)
      else transfers.#take(message)
    }
    const open = (given: AbortSignal | undefined) => openLink(parts, take, given)
    const first = await open(signal)
    transfers = new SessionTransfers(parts, first, open)
    for (const message of early) transfers.#take(message)
    return transfers
  }

  private constructor(parts: TransfersParts, first: Link, open: (signal: AbortSignal) => Promise<Link>) {
    this.#parts = parts
    this.#keeper = new LinkKeeper(first, {
      open,
      retryForMs: parts.retryForMs,
      onChange: (link, why) => {
        this.#tell(why === undefined ? { type: 'connected' } : { type: 'lost', reason: why.reason, detail: why.detail })
        if (link === undefined) this.#uploadsAreOff = false
      },
    })
    this.#keeper.closed.then(() => this.#finish())
  }

  get items(): readonly Transfer[] {
    return this.#items
  }

  get driveMounted(): boolean {
    return this.#driveMounted
  }

  get policy(): ConnectionPolicy | undefined {
    return this.#policy
  }

  get connected(): boolean {
    return this.#keeper.current !== undefined
  }

  get closed(): Promise<CloseInfo> {
    return this.#keeper.closed
  }

  async upload(source: UploadSource, options: UploadOptions = {}): Promise<{ name: string }> {
    const { name = source.name, uploadId = crypto.randomUUID(), signal, onProgress } = options
    if (name === undefined || name === '') throw optionInvalid('file has no name')
    if (name.length > MAX_NAME_LENGTH) throw refusalOf('ERR_UPLOAD_NAME')
    if (!UUID.test(uploadId)) throw optionInvalid('upload id is not a UUID in lower case')
    // The answer to a cancel that is under way would end the new one.
    if (this.#uploads.has(uploadId) || this.#removals.has(uploadId)) throw optionInvalid('upload id is in use')
    if (!Number.isSafeInteger(source.size) || source.size < 0) throw optionInvalid('size is not a number of bytes')
    const upload = new Upload({ id: uploadId, name, source, hash: this.#parts.newSha256(), onProgress })
    this.#uploads.set(uploadId, upload)
    const onAbort = () => {
      upload.fail(new RapError('ERR_ABORTED', 'upload was given up', { detail: 'The upload was cancelled.' }))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      if (signal?.aborted) onAbort()
      return { name: await this.#run(upload) }
    } catch (error) {
      // A connection that has ended keeps what was sent, for whoever takes the upload up again.
      if (!upload.isOverThere && this.#keeper.end === undefined) this.#cancel(upload)
      throw error
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#uploads.delete(uploadId)
    }
  }

  async remove(uploadId: string): Promise<void> {
    if (!UUID.test(uploadId)) throw optionInvalid('upload id is not a UUID in lower case')
    this.#uploads.get(uploadId)?.fail(refusalOf('ERR_UPLOAD_CANCELLED'), { isOverThere: true })
    await this.#takeAway(uploadId)
  }

  events(): AsyncIterableIterator<TransferEvent, undefined> {
    const queue = new EventQueue<TransferEvent>(done => this.#queues.delete(done))
    if (this.#keeper.end === undefined) {
      for (const near of this.#unheard.take(performance.now())) queue.push(near)
      this.#queues.add(queue)
    } else queue.end()
    return queue
  }

  async close(): Promise<CloseInfo> {
    return await this.#keeper.close()
  }

  /** Before the session is attached again: what comes next is bound to the new attachment. */
  hold(): void {
    this.#keeper.hold()
  }

  release(): void {
    this.#keeper.release()
  }

  /** Ends it for good: a newer connection of this session has the channels. */
  replace(): void {
    this.#keeper.replace()
  }

  async #run(upload: Upload): Promise<string> {
    const turn = this.#slots.take()
    try {
      await upload.orFailed(turn)
      for (;;) {
        const link = await upload.orFailed(this.#linkForUploads())
        try {
          return await upload.run(link)
        } catch (error) {
          if (!(error instanceof LinkLostError)) throw error
        }
      }
    } finally {
      turn.then(giveBack => giveBack())
    }
  }

  /** Cancels once, however many ask for it. */
  #takeAway(uploadId: string): Promise<void> {
    const known = this.#removals.get(uploadId)
    if (known !== undefined) return known.over
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    promise.catch(() => {})
    const over = this.#sendCancel(uploadId, promise).finally(() => this.#removals.delete(uploadId))
    this.#removals.set(uploadId, { resolve, reject, over })
    return over
  }

  async #sendCancel(uploadId: string, answer: Promise<void>): Promise<void> {
    const turn = this.#removalSlots.take()
    try {
      await turn
      for (let isRepeated = false; ; isRepeated = true) {
        const link = await this.#linkForUploads()
        try {
          await link.send({ type: 'upload_cancel', upload_id: uploadId })
          return await link.owed(answer)
        } catch (error) {
          // The answer to the first try was lost with its link.
          if (isRepeated && error instanceof RapError && error.code === 'ERR_UPLOAD_UNKNOWN') return
          if (!(error instanceof LinkLostError)) throw error
        }
      }
    } finally {
      turn.then(giveBack => giveBack())
    }
  }

  async #linkForUploads(): Promise<Link> {
    const link = await this.#keeper.link()
    if (link === undefined) throw this.#errorOfEnd()
    if (!this.#mayUpload(link)) throw refusalOf('ERR_UPLOAD_NOT_ALLOWED')
    return link
  }

  #mayUpload(link: Link): boolean {
    return link.bound.allowed_channels.includes('file_upload') && !this.#uploadsAreOff
  }

  /** Gives an upload up on the worker, in its own time; what cannot be said any more ends with the session. */
  #cancel({ id, hasBegun }: Upload): void {
    const isThere = hasBegun || this.#items.some(item => item.upload_id === id)
    if (isThere) this.#takeAway(id).catch(() => {})
  }

  #take(message: SideMessage): void {
    if ('upload_id' in message) {
      this.#takeUpload(message)
      return
    }
    if (message.type === 'transfers') this.#takeList(message.items, message.drive_mounted)
    else if (message.type === 'policy') this.#takePolicy(message)
    if (this.#queues.size === 0) this.#unheard.keep(message, performance.now())
    this.#tell(message)
  }

  #takeUpload(message: UploadAnswer): void {
    const { upload_id: id } = message
    if (message.type === 'upload_refused') this.#takeRefusal(id, message)
    else
      this.#items = this.#items.map(item => (item.upload_id === id ? { ...item, ...progressOf(item, message) } : item))
    this.#uploads.get(id)?.take(message)
  }

  #takeList(items: readonly Transfer[], driveMounted: boolean): void {
    this.#items = items
    this.#driveMounted = driveMounted
    for (const { upload_id: id, state, name, size } of items) {
      const upload = this.#uploads.get(id)
      if (state === 'ready' && upload?.size === size) upload.finish(name)
    }
  }

  #takePolicy({ allowed_channels: channels, limits, session_ends_at: sessionEndsAt }: PolicyNotice): void {
    this.#policy = { channels, limits, sessionEndsAt }
    this.#uploadsAreOff = !channels.includes('file_upload')
    if (!this.#uploadsAreOff) return
    for (const upload of this.#uploads.values()) upload.fail(refusalOf('ERR_UPLOAD_NOT_ALLOWED'))
  }

  /** A file that was taken away is refused as cancelled: that is what was asked for. */
  #takeRefusal(uploadId: string, message: Extract<UploadAnswer, { type: 'upload_refused' }>): void {
    const item = this.#items.find(({ upload_id }) => upload_id === uploadId)
    const removal = this.#removals.get(uploadId)
    const isCancelled = message.code === 'ERR_UPLOAD_CANCELLED'
    const isLoss = item?.state === 'ready' && message.code === 'ERR_UPLOAD_DAMAGED'
    // After other refusals the next list tells what is left.
    if (isCancelled || isLoss) this.#items = this.#items.filter(other => other !== item)
    if (isCancelled) removal?.resolve()
    else if (!isLoss) removal?.reject(refusalOf(message.code, message))
    if (isLoss) this.#tell({ type: 'taken_away', item, error: refusalOf(message.code, message) })
  }

  #tell(event: TransferEvent): void {
    for (const queue of this.#queues) queue.push(event)
  }

  #errorOfEnd(): RapError {
    const { end } = this.#keeper
    return end === undefined
      ? new RapError('ERR_DATA_PLANE_CLOSED', 'connection is closed')
      : errorOfClose(end, this.#parts.sessionId)
  }

  #finish(): void {
    for (const upload of this.#uploads.values()) upload.fail(this.#errorOfEnd())
    for (const { reject } of this.#removals.values()) reject(this.#errorOfEnd())
    for (const queue of this.#queues) queue.end()
    this.#queues.clear()
  }
}

/** What an answer says of an item before the next list does. */
function progressOf(item: Transfer, message: Exclude<UploadAnswer, { type: 'upload_refused' }>): Partial<Transfer> {
  if (message.type === 'upload_done') return { name: message.name, offset: item.size, state: 'ready' }
  return { offset: Math.min(Math.max(item.offset, message.offset), item.size) }
}

/** Binds, and waits for the worker's list where there will be one. Throws RapError. */
async function openLink(
  parts: TransfersParts,
  take: (message: SideMessage) => void,
  signal: AbortSignal | undefined,
): Promise<Link> {
  const listed = Promise.withResolvers<void>()
  const link = new Link(
    await parts.bind(signal),
    message => {
      take(message)
      if (message.type === 'transfers') listed.resolve()
    },
    parts.silenceMs,
  )
  if (!link.bound.allowed_channels.includes('file_upload')) return link
  const timer = setTimeout(() => listed.reject(new RapNetworkError('timeout', 'worker sent no list')), parts.timeoutMs)
  const onAbort = () => listed.reject(new RapError('ERR_ABORTED', 'connecting was aborted'))
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    if (signal?.aborted) onAbort()
    await link.owed(listed.promise)
    return link
  } catch (error) {
    link.lose()
    throw error instanceof LinkLostError ? errorOfClose(await link.over, parts.sessionId) : error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
}

function optionInvalid(message: string): RapError {
  return new RapError('ERR_OPTION_INVALID', message)
}
