import type { Session, Transfer, TransferEvent, Transfers } from '@rap/client-sdk'
import { type Explanation, explain } from '../auth/auth.tsx'

/** The connection beside the desktop, as the page shows it. */
export interface SideState {
  /** `none` where the policy allows nothing on it. */
  readonly step: 'none' | 'opening' | 'open' | 'failed'
  readonly failure: Explanation | undefined
  /** Whether it is looked for after it was lost. */
  readonly isLost: boolean
  readonly items: readonly Transfer[]
  /** Whether the desktop has taken the drive with the files. */
  readonly driveMounted: boolean
}

/** Before there is a connection, and where none is allowed. */
export const NOTHING: SideState = { step: 'none', failure: undefined, isLost: false, items: [], driveMounted: false }
const SIDE_CHANNELS: readonly string[] = ['file_upload', 'events']

/** The second connection of a session: its files, and what the worker has to say. The desktop does without it. */
export class SideConnection {
  /** Told what the worker says, but for lists of files, which are in the state, and the policy. */
  onNotice: (notice: Extract<TransferEvent, { type: 'limit_near' | 'withheld' }>) => void = () => undefined
  onTakenAway: (event: Extract<TransferEvent, { type: 'taken_away' }>) => void = () => undefined
  onPolicy: (policy: Extract<TransferEvent, { type: 'policy' }>) => void = () => undefined
  readonly #session: Session
  readonly #path: 'direct' | 'gateway'
  readonly #signal: AbortSignal
  readonly #listeners = new Set<() => void>()
  #transfers: Transfers | undefined
  #state: SideState = NOTHING
  readonly #reason = Promise.withResolvers<string>()

  constructor(session: Session, options: { readonly path: 'direct' | 'gateway'; readonly signal: AbortSignal }) {
    this.#session = session
    this.#path = options.path
    this.#signal = options.signal
    options.signal.addEventListener('abort', () => void this.#transfers?.close().catch(() => undefined), { once: true })
  }

  get sessionId(): string {
    return this.#session.id
  }

  get state(): SideState {
    return this.#state
  }

  /** What sends the files; undefined while there is no connection. */
  get transfers(): Transfers | undefined {
    return this.#state.step === 'open' ? this.#transfers : undefined
  }

  /** Resolves with the stable reason for which the worker closed a connection, once it has given one. */
  get reason(): Promise<string> {
    return this.#reason.promise
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async open(): Promise<void> {
    const isAllowed = this.#session.attachment.allowed_channels.some(channel => SIDE_CHANNELS.includes(channel))
    if (!isAllowed || this.#signal.aborted || this.#state.step === 'opening') return
    this.#set({ ...NOTHING, step: 'opening' })
    try {
      const transfers = await this.#session.transfers({ path: this.#path, signal: this.#signal })
      this.#transfers = transfers
      this.#set({ ...NOTHING, step: 'open', items: transfers.items, driveMounted: transfers.driveMounted })
      void this.#listen(transfers)
      const { reason, detail } = await transfers.closed
      this.#closedFor(reason)
      this.#set({
        ...this.#state,
        step: 'failed',
        failure: { title: 'The connection for files was closed', detail, code: reason || 'ERR_CONNECTION_LOST' },
      })
    } catch (error) {
      if (!this.#signal.aborted) this.#set({ ...NOTHING, step: 'failed', failure: explain(error) })
    }
  }

  async #listen(transfers: Transfers): Promise<void> {
    for await (const event of transfers.events()) {
      const { items, driveMounted } = transfers
      if (event.type === 'transfers') this.#set({ ...this.#state, items, driveMounted })
      else if (event.type === 'policy') this.onPolicy(event)
      else if (event.type === 'connected' || event.type === 'lost') this.#connected(event)
      else if (event.type === 'taken_away') this.onTakenAway(event)
      else this.onNotice(event)
    }
  }

  #connected(event: Extract<TransferEvent, { type: 'connected' | 'lost' }>): void {
    this.#set({ ...this.#state, isLost: event.type === 'lost' })
    if (event.type === 'lost') this.#closedFor(event.reason)
  }

  #closedFor(reason: string): void {
    if (reason !== '') this.#reason.resolve(reason)
  }

  #set(state: SideState): void {
    this.#state = state
    for (const listener of this.#listeners) listener()
  }
}
