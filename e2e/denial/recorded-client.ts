import { waitFor } from '@rap/testkit'
import { RdpClient, type RdpClientOptions } from '../rdp-client.ts'
import { type ChannelMessage, carries } from './target-session.ts'

/** The small RDP client, with all that it was told. */
export class RecordedClient {
  readonly rdp: RdpClient
  readonly messages: ChannelMessage[] = []
  readonly others: { readonly kind: 'share' | 'fast-path' | 'message-channel'; readonly bytes: Buffer }[] = []
  readonly #listeners: ((message: ChannelMessage) => void)[] = []
  /** Why it stopped, where it did. */
  failure: Error | undefined

  constructor(options: Omit<RdpClientOptions, 'onChannel' | 'onOther'>) {
    this.rdp = new RdpClient({
      ...options,
      onChannel: (channel, message) => {
        this.messages.push({ channel, message })
        for (const listener of this.#listeners) listener({ channel, message })
      },
      onOther: (kind, bytes) => this.others.push({ kind, bytes }),
    })
  }

  push(bytes: Uint8Array): void {
    try {
      this.rdp.push(bytes)
    } catch (error) {
      this.failure ??= error as Error
    }
  }

  /** True where these bytes came in anything, also where a text of UTF-16 carried them. */
  saw(word: string): boolean {
    return [...this.others.map(({ bytes }) => bytes), ...this.messages.map(({ message }) => message)].some(bytes =>
      carries(bytes, word),
    )
  }

  onMessage(listener: (message: ChannelMessage) => void): void {
    this.#listeners.push(listener)
  }

  async fence(word: string): Promise<void> {
    await waitFor(() => this.others.some(({ bytes }) => carries(bytes, word)), {
      what: `${word} at the client`,
      intervalMs: 2,
    })
  }

  /** Brings the desktop up. */
  async start(): Promise<void> {
    this.rdp.start()
    await waitFor(() => this.failure !== undefined || this.rdp.isActive, {
      what: 'the desktop',
      timeoutMs: 30_000,
      intervalMs: 5,
    })
    if (this.failure !== undefined) throw this.failure
  }
}
