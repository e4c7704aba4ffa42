import { Backend } from '@devolutions/iron-remote-desktop-rdp'
import type { RemotePort } from './desktop-clipboard.ts'

const TEXT = 'text/plain'

type RdpSession = Awaited<ReturnType<InstanceType<typeof Backend.SessionBuilder>['connect']>>

/**
 * The clipboard of the desktop as the RDP client carries it, without the browser's.
 *
 * The component would read and write the browser's clipboard by itself, both ways or none, pictures and HTML included. This takes its
 * place: text alone, and each way by itself.
 */
export class RemoteClipboard implements RemotePort {
  onText: (text: string) => void = () => undefined
  #session: RdpSession | undefined
  #offered = ''

  /** The RDP client's module with a session builder that is tied to this clipboard. */
  get module(): typeof Backend {
    const own = this
    class SessionBuilder extends Backend.SessionBuilder {
      constructor() {
        super()
        this.remoteClipboardChangedCallback((data: InstanceType<typeof Backend.ClipboardData>) => own.#received(data))
        // The target waits for a list, be it empty, before it says what it has (MS-RDPECLIP 1.3.2.1).
        this.forceClipboardUpdateCallback(() => void own.#announce())
      }
      override async connect(): Promise<RdpSession> {
        own.#session = await super.connect()
        return own.#session
      }
    }
    return { ...Backend, SessionBuilder }
  }

  /** The text itself is sent when something is pasted there. */
  async offer(text: string): Promise<void> {
    this.#offered = text
    await this.#announce()
  }

  async #announce(): Promise<void> {
    const data = new Backend.ClipboardData()
    if (this.#offered !== '') data.addText(TEXT, this.#offered)
    await this.#session?.onClipboardPaste(data)
  }

  #received(data: InstanceType<typeof Backend.ClipboardData>): void {
    const item = data.items().find(candidate => candidate.mimeType() === TEXT)
    const text: unknown = item?.value()
    if (typeof text === 'string' && text !== '') this.onText(text)
  }
}
