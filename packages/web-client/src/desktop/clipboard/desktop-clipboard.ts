/** The desktop's clipboard, without the browser's. */
export interface RemotePort {
  /** Told the text that was copied on the desktop. */
  onText: (text: string) => void
  /** Tells the desktop that there is a text; an empty one takes back what was offered. */
  offer(text: string): Promise<void>
}

/** What may go which way, and how much of it. */
export interface ClipboardRules {
  readonly toDesktop: boolean
  readonly fromDesktop: boolean
  /** Of one text, as UTF-16. */
  readonly maxBytes: number
}

/** From the browser to the desktop: by itself, after one question of the browser, with each press of the button, or not. */
export type ToDesktop = 'off' | 'automatic' | 'ask' | 'manual' | 'denied' | 'unsupported'
/** From the desktop to the browser: nothing there yet, copied, or copied once the person clicks. */
export type FromDesktop = 'off' | 'empty' | 'copied' | 'waiting'

export interface ClipboardState {
  readonly toDesktop: ToDesktop
  readonly fromDesktop: FromDesktop
  /** The text that waits for a click, which can also be copied by hand. */
  readonly waiting?: string | undefined
}

/** How a press of "Paste to the desktop" went. */
export type Pasted = 'sent' | 'same' | 'nothing' | 'too_large' | 'refused'

const PERMISSION = { name: 'clipboard-read' } as unknown as PermissionDescriptor
const OF_PERMISSION: Readonly<Record<PermissionState, ToDesktop>> = {
  granted: 'automatic',
  prompt: 'ask',
  denied: 'denied',
}

/**
 * Keeps the browser's clipboard and the desktop's in step, as far as policy and the browser allow.
 *
 * INVARIANT: the browser's clipboard is never read while the way to the desktop is off, and never written while the other one is.
 */
export class DesktopClipboard {
  /** Told of a text that is over the bound, once for each. */
  onTooLarge: (maxBytes: number) => void = () => undefined
  readonly #remote: RemotePort
  readonly #listeners = new Set<() => void>()
  #rules: ClipboardRules
  #state: ClipboardState
  /** What both clipboards have, as far as is known, so that a text does not come back to where it was copied. */
  #shared: string | undefined
  /** What was copied on the desktop last. */
  #copied: string | undefined
  /** What is on the desktop's clipboard is of this browser. */
  #isOffered = false
  #look: Promise<boolean> | undefined
  #writing: Promise<boolean> | undefined

  constructor(remote: RemotePort, rules: ClipboardRules) {
    this.#remote = remote
    this.#rules = rules
    this.#state = { toDesktop: firstState(rules), fromDesktop: rules.fromDesktop ? 'empty' : 'off' }
    remote.onText = text => void this.#fromDesktop(text)
  }

  get state(): ClipboardState {
    return this.#state
  }

  /** Calls `listener` after each change of the state, until the answer is called. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A policy that changed under the open desktop. */
  setRules(rules: ClipboardRules): void {
    const { toDesktop, fromDesktop } = this.#rules
    this.#rules = rules
    if (!rules.toDesktop) {
      void this.#takeBack()
      this.#set({ toDesktop: 'off' })
    } else if (!toDesktop) this.#set({ toDesktop: firstState(rules) })
    if (!rules.fromDesktop) {
      this.#copied = undefined
      this.#set({ fromDesktop: 'off' })
    } else if (!fromDesktop) this.#set({ fromDesktop: 'empty' })
  }

  /** Follows the browser's permission and its clipboard while the desktop is up. */
  follow(host: HTMLElement, signal: AbortSignal): void {
    void this.#followPermission(signal)
    const look = () => void this.#lookByItself()
    const returned = async () => {
      // What was copied here in the meantime is newer, and stays.
      const isNews = await this.#lookByItself()
      if (!isNews && this.#state.fromDesktop === 'waiting') await this.copyWaiting()
    }
    window.addEventListener('focus', () => void returned(), { signal })
    host.addEventListener('pointerenter', look, { signal })
    host.addEventListener('pointerdown', look, { signal })
    // Ahead of the V of Ctrl+V, and before the RDP client takes the key.
    window.addEventListener('keydown', ({ key }) => (key === 'Control' || key === 'Meta') && look(), {
      capture: true,
      signal,
    })
  }

  /** Sends the browser's clipboard to the desktop, on a click; the browser may ask the person first. */
  async paste(): Promise<Pasted> {
    if (!this.#rules.toDesktop) return 'refused'
    let text: string
    try {
      text = await navigator.clipboard.readText()
    } catch {
      await this.#askPermission()
      return 'refused'
    }
    await this.#askPermission()
    return await this.offer(text)
  }

  /** Sends a text to the desktop. */
  async offer(text: string): Promise<Pasted> {
    if (!this.#rules.toDesktop) return 'refused'
    const refusal = text === '' ? 'nothing' : text.length * 2 > this.#rules.maxBytes ? 'too_large' : undefined
    if (refusal !== undefined) {
      await this.#takeBack()
      return refusal
    }
    const isSame = text === this.#shared
    this.#shared = text
    this.#isOffered = true
    await this.#remote.offer(text)
    return isSame ? 'same' : 'sent'
  }

  /** Puts what was copied on the desktop into the browser's clipboard; false where the browser wants a click for it. */
  async copyWaiting(): Promise<boolean> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined
    })
    return await this.#writing
  }

  async #write(): Promise<boolean> {
    // Of a program that copies faster than the browser writes, the last text counts.
    for (let text = this.#copied; text !== undefined; text = this.#copied) {
      try {
        await navigator.clipboard.writeText(text)
      } catch {
        if (this.#copied !== undefined) this.#set({ fromDesktop: 'waiting' })
        return false
      }
      this.#shared = text
      if (text !== this.#copied) continue
      this.#set({ fromDesktop: 'copied' })
      return true
    }
    return false
  }

  async #fromDesktop(text: string): Promise<void> {
    if (!this.#rules.fromDesktop) return
    this.#copied = text
    this.#isOffered = false
    if (document.hasFocus()) await this.copyWaiting()
    else this.#set({ fromDesktop: 'waiting' })
  }

  /** A text that was copied here since the last look goes to the desktop; answers whether there was one. */
  async #lookByItself(): Promise<boolean> {
    if (this.#state.toDesktop !== 'automatic' || !document.hasFocus()) return false
    this.#look ??= this.#lookOnce().finally(() => {
      this.#look = undefined
    })
    return await this.#look
  }

  async #lookOnce(): Promise<boolean> {
    try {
      const text = await navigator.clipboard.readText()
      // One that comes from the desktop just now is not new, although it is not shared before it is written.
      if (text === this.#shared || (this.#writing !== undefined && text === this.#copied)) return false
      if ((await this.offer(text)) === 'too_large') this.onTooLarge(this.#rules.maxBytes)
      this.#shared = text
      return text !== ''
    } catch {
      // A permission that was just taken back: its change is told by itself.
      return false
    }
  }

  /** What is not on the clipboard here any more is not pasted there: a password that was wiped, or the text before a picture. */
  async #takeBack(): Promise<void> {
    if (!this.#isOffered) return
    this.#isOffered = false
    this.#shared = undefined
    await this.#remote.offer('')
  }

  async #followPermission(signal: AbortSignal): Promise<void> {
    const status = await this.#askPermission()
    status?.addEventListener('change', () => void this.#askPermission(), { signal })
    await this.#lookByItself()
  }

  /** Firefox and Safari do not tell this permission: there each press of the button asks. */
  async #askPermission(): Promise<PermissionStatus | undefined> {
    if (!this.#rules.toDesktop || this.#state.toDesktop === 'unsupported') return undefined
    const status = await navigator.permissions?.query(PERMISSION).catch(() => undefined)
    if (this.#rules.toDesktop) this.#set({ toDesktop: status === undefined ? 'manual' : OF_PERMISSION[status.state] })
    return status
  }

  #set(change: Partial<Omit<ClipboardState, 'waiting'>>): void {
    const before = this.#state
    const { toDesktop, fromDesktop } = { ...before, ...change }
    const waiting = fromDesktop === 'waiting' ? this.#copied : undefined
    if (toDesktop === before.toDesktop && fromDesktop === before.fromDesktop && waiting === before.waiting) return
    this.#state = { toDesktop, fromDesktop, waiting }
    for (const listener of this.#listeners) listener()
  }
}

function firstState({ toDesktop }: ClipboardRules): ToDesktop {
  if (!toDesktop) return 'off'
  // Absent on a page without TLS, and readText in older browsers.
  return typeof navigator.clipboard?.readText === 'function' ? 'manual' : 'unsupported'
}
